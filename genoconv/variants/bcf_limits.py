"""What BCF cannot hold: asked of every record before it is written, because htslib rounds, drops or blanks it."""

import math
import re
import struct
from collections.abc import Callable, Container, Sequence

from genoconv.errors import OutputError
from genoconv.lines import shortened
from genoconv.variants.header import declared, escaped
from genoconv.variants.reserved import FLOAT, INTEGER, LEAST, MISSING, MOST
from genoconv.wording import count

_GENOTYPE = re.compile(r"[|/]?(?:\.|[0-9]{1,6})(?:[|/](?:\.|[0-9]{1,6}))*")
_SURELY_EXACT = 7

Check = Callable[[str], str | None]
"""Why a value cannot be held; None where it can."""


def integer(value: str) -> str | None:
    """:data:`Check` of one 32-bit integer."""
    if value in MISSING:
        return None
    if not INTEGER.fullmatch(value):
        return "is not an integer, as the header declares it"
    return None if LEAST <= int(value) <= MOST else "is beyond 32 bits"


def floating(value: str) -> str | None:
    """:data:`Check` of one 32-bit float: all digits as written must come back."""
    if value in MISSING:
        return None
    if not FLOAT.fullmatch(value):
        return "is not a number, as the header declares it"
    if len(value) <= _SURELY_EXACT and "e" not in value and "E" not in value:
        return None
    number = float(value)
    try:
        (held,) = struct.unpack("<f", struct.pack("<f", number))
    except OverflowError:
        return "is beyond 32-bit floats"
    digits = len(re.sub(r"[eE].*|[^0-9]", "", value).lstrip("0"))
    if not digits:  # zero, infinity, not a number
        return None
    if math.isinf(held):
        return "is beyond 32-bit floats"
    if held == 0:
        return "is closer to 0 than 32-bit floats come"
    if f"{held:.{digits}g}" != f"{number:.{digits}g}":
        return "has more digits than fit into a 32-bit float"
    return None


def genotype(value: str) -> str | None:
    """:data:`Check` of a GT."""
    return None if _GENOTYPE.fullmatch(value) else "is not a genotype"


_CHECKS: dict[str, Check] = {"Integer": integer, "Float": floating}


class BcfCheck:
    """Refuses records that would come out of a BCF other than they went in.

    Args:
        header: all lines of the output's header.
        source: what messages call the input.

    Raises:
        OutputError: two samples have one name.
    """

    def __init__(self, header: Sequence[str], *, source: str = "") -> None:
        self._source = f"{source}: " if source else ""
        known = declared(header)
        self._info = {key: _CHECKS.get(fields.get("Type", "")) for key, fields in known["INFO"].items()}
        self._format = {key: _CHECKS.get(fields.get("Type", "")) for key, fields in known["FORMAT"].items()}
        self._format["GT"] = genotype
        self._filters = {"PASS", ".", "", *known["FILTER"]}
        self._contigs = known["contig"]
        samples = header[-1].split("\t")[9:]
        self._samples = len(samples)
        twice = next((name for number, name in enumerate(samples) if name in samples[:number]), None)
        if twice is not None:
            raise OutputError(
                f"{self._source}two samples are named {shortened(twice)}, which BCF does not allow; write VCF instead:"
                " -O z"
            )

    def __call__(self, line: str) -> None:
        """Look at a record.

        Raises:
            OutputError: BCF cannot hold it; record, key and value are named.
        """
        columns = line.split("\t")
        self._require(columns, "QUAL", columns[5], floating(columns[5]))
        self._declared(columns, "contig", columns[0], self._contigs)
        if columns[6] not in self._filters:
            for name in columns[6].split(";"):
                self._declared(columns, "FILTER", name, self._filters)
        if columns[7] != ".":
            for item in filter(None, columns[7].split(";")):
                key, equals, value = item.partition("=")
                self._declared(columns, "INFO key", key, self._info)
                check = self._info.get(key)
                if check and equals:
                    self._values(columns, f"INFO/{key}", value, check)
        if len(columns) > 8:
            self._check_samples(columns)

    def _check_samples(self, columns: list[str]) -> None:
        keys = columns[8].split(":")
        twice = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
        if twice is not None:
            raise self._refused(columns, f"FORMAT has the key {shortened(twice)} twice")
        if len(columns) - 9 != self._samples:
            raise self._refused(
                columns, f"{count(len(columns) - 9, 'sample column')} but the header has {self._samples}"
            )
        for key in keys:
            self._declared(columns, "FORMAT key", key, self._format)
        checks = [(key, self._format.get(key)) for key in keys]
        for sample, column in enumerate(columns[9:], 1):
            values = column.split(":")
            if len(values) > len(keys):
                raise self._refused(columns, f"sample {sample} has {len(values)} values for {len(keys)} keys in FORMAT")
            for (key, check), value in zip(checks, values, strict=False):
                if check is genotype:
                    self._require(columns, f"sample {sample}, GT", value, check(value))
                elif check:
                    self._values(columns, f"sample {sample}, {key}", value, check)

    def _declared(self, columns: list[str], what: str, name: str, known: Container[str]) -> None:
        if name not in known and escaped(name) not in known:
            raise self._refused(columns, f"the {what} {shortened(name)} is not declared in the header")

    def _values(self, columns: list[str], where: str, value: str, check: Check) -> None:
        for one in value.split(","):
            self._require(columns, where, one, check(one))

    def _require(self, columns: list[str], where: str, value: str, why: str | None) -> None:
        if why:
            raise self._refused(columns, f"{where} {shortened(value)} {why}")

    def _refused(self, columns: list[str], why: str) -> OutputError:
        place = shortened(":".join(columns[:2]))[1:-1]
        return OutputError(f"{self._source}{place} cannot be written as BCF: {why}; write VCF instead: -O z")
