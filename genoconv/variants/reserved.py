"""Keys that the VCF specification gives a type, and how the values of a type are written."""

import re
from collections.abc import Collection

# Keys with a meaning of their own in VCF 4.4 (sections 1.6.1, 1.6.2 and 3), as (Number, Type).
RESERVED_INFO = {
    "AA": ("1", "String"), "AC": ("A", "Integer"), "AD": ("R", "Integer"), "ADF": ("R", "Integer"),
    "ADR": ("R", "Integer"), "AF": ("A", "Float"), "AN": ("1", "Integer"), "BQ": ("1", "Float"),
    "CIGAR": ("A", "String"), "DB": ("0", "Flag"), "DP": ("1", "Integer"), "END": ("1", "Integer"),
    "H2": ("0", "Flag"), "H3": ("0", "Flag"), "MQ": ("1", "Float"), "MQ0": ("1", "Integer"),
    "NS": ("1", "Integer"), "SB": (".", "Integer"), "SOMATIC": ("0", "Flag"), "VALIDATED": ("0", "Flag"),
    "1000G": ("0", "Flag"), "IMPRECISE": ("0", "Flag"), "NOVEL": ("0", "Flag"), "SVTYPE": ("1", "String"),
    "SVLEN": (".", "Integer"), "CIPOS": (".", "Integer"), "CIEND": (".", "Integer"), "HOMLEN": (".", "Integer"),
    "HOMSEQ": (".", "String"), "BKPTID": (".", "String"), "MEINFO": (".", "String"), "METRANS": (".", "String"),
    "MATEID": (".", "String"), "PARID": (".", "String"), "EVENT": (".", "String"), "CILEN": (".", "Integer"),
    "CN": (".", "Float"), "CICN": (".", "Float"),
}  # fmt: skip
RESERVED_FORMAT = {
    "GT": ("1", "String"), "AD": ("R", "Integer"), "ADF": ("R", "Integer"), "ADR": ("R", "Integer"),
    "DP": ("1", "Integer"), "EC": ("A", "Integer"), "FT": ("1", "String"), "GL": ("G", "Float"),
    "GP": ("G", "Float"), "GQ": ("1", "Integer"), "HQ": ("2", "Integer"), "MQ": ("1", "Integer"),
    "PL": ("G", "Integer"), "PQ": ("1", "Integer"), "PS": ("1", "Integer"), "CN": ("1", "Float"),
}  # fmt: skip

INTEGER = re.compile(r"[-+]?[0-9]{1,10}")
FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?|[-+]?(?i:nan|inf|infinity)")
MISSING = ("", ".")
# BCF keeps the eight smallest 32-bit integers for itself (VCF specification, section 6.3.3).
LEAST, MOST = -(2**31) + 8, 2**31 - 1


class Unlike:
    """Finds reserved keys that a header does not declare and whose values are not of the type they should have.

    Args:
        info, format_: keys that the header declares.

    Attributes:
        found: those keys, as ``("INFO", "SB")``.
    """

    def __init__(self, info: Collection[str], format_: Collection[str]) -> None:
        self.found: set[tuple[str, str]] = set()
        self._info, self._format = (
            {key: type_ for key, (_, type_) in reserved.items() if type_ != "String" and key not in known}
            for reserved, known in ((RESERVED_INFO, info), (RESERVED_FORMAT, format_))
        )

    def look(self, columns: list[str], *, info: Collection[str], layout: str) -> None:
        """Look at a record.

        Args:
            columns: CHROM to INFO, and the rest of the line as a ninth item where there is one.
            info: keys of any INFO so far.
            layout: FORMAT of the record.
        """
        if not self._info.keys().isdisjoint(info):
            for item in columns[7].split(";"):
                key, equals, value = item.partition("=")
                if equals and key in self._info and not _is(self._info[key], value):
                    self.found.add(("INFO", key))
                    del self._info[key]
        keys = layout.split(":")
        if self._format.keys().isdisjoint(keys):
            return
        for sample in columns[8].split("\t")[1:]:
            for key, value in zip(keys, sample.split(":"), strict=False):
                if key in self._format and not _is(self._format[key], value):
                    self.found.add(("FORMAT", key))
                    del self._format[key]


def _is(type_: str, value: str) -> bool:
    """Whether these are values of a type, separated by commas."""
    if type_ == "Integer":
        return all(one in MISSING or (INTEGER.fullmatch(one) and LEAST <= int(one) <= MOST) for one in value.split(","))
    if type_ == "Float":
        return all(one in MISSING or FLOAT.fullmatch(one) for one in value.split(","))
    return type_ != "Flag"
