"""Read VCF text (plain, gzip or BGZF), forgiving what can be forgiven.

A record is carried as its own line of text, so that everything which is not ours reaches the output byte for byte
(htslib, which would parse and print it again, turns ``AF=0.30000001`` into ``0.3`` and refuses undeclared keys).
"""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from genoconv.errors import DataError
from genoconv.formats import open_binary
from genoconv.lines import JOINED, is_joined, numbered_lines, shortened
from genoconv.variants.records import COLUMNS, Record, VariantFile, decode
from genoconv.wording import listed

log = logging.getLogger(__name__)

# Bytes. A record of a million samples with likelihoods has a tenth of it.
LONGEST_LINE = 1 << 28
_MOST_HEADER_LINES = 1 << 22
_MOST_DIGITS = 18


class VcfText(VariantFile):
    """A VCF as text."""

    def __init__(self, path: Path, *, name: str) -> None:
        self._blanks = False
        super().__init__(path, name=name)

    @contextmanager
    def _lines(self) -> Iterator[Iterator[tuple[int, bytes]]]:
        with open_binary(self.path) as stream:
            lines = numbered_lines(
                stream,
                source=self.name,
                kind="VCF",
                own=b"##fileformat=VCF",
                longest=LONGEST_LINE,
                most_idle=LONGEST_LINE,
            )
            with closing(lines):
                yield lines

    def _read_header(self) -> list[str]:
        header: list[str] = []
        columns: str | None = None
        width = 0
        with self._lines() as lines:
            for number, raw in lines:
                line = decode(raw)
                if line.startswith("##"):
                    header.append(line)
                    if len(header) > _MOST_HEADER_LINES:
                        raise DataError(f"{self.name}: more than {_MOST_HEADER_LINES:,} header lines; is this a VCF?")
                elif line.startswith("#"):
                    columns = self._tabbed(line, number)
                    self._check_columns(columns.split("\t"), number)
                    break
                elif line.strip():
                    width = len(self._tabbed(line, number).split("\t"))
                    if width < 5:
                        raise DataError(
                            f"{self.name}: line {number} is neither a VCF header line nor a record with tab-separated "
                            f"CHROM, POS, ID, REF, ALT: {shortened(line)}; is this a VCF?"
                        )
                    break
            else:
                if not header:
                    raise DataError(f"{self.name}: the file is empty; a VCF has at least a header line")
        if not header or not header[0].startswith("##fileformat="):
            self.notes.append("no ##fileformat line; VCFv4.2 is assumed")
            header.insert(0, "##fileformat=VCFv4.2")
        return [*header, self._column_line(columns, width)]

    def _tabbed(self, line: str, number: int) -> str:
        """A line with tabs for the blanks that an editor put in their place."""
        if "\t" in line or len(line.split()) < len(COLUMNS):
            return line
        self._note_blanks(number)
        return "\t".join(line.split())

    def _note_blanks(self, number: int) -> None:
        if not self._blanks:
            self._blanks = True
            log.warning("%s: line %d: spaces instead of tabs; the output has tabs", self.name, number)

    def _check_columns(self, columns: list[str], number: int) -> None:
        """Look at the ``#CHROM`` line: what it has, and that no record is joined to it."""
        found = tuple(column.upper() for column in columns[: len(COLUMNS)])
        while found and not found[-1]:  # tabs at its end
            found = found[:-1]
        if len(found) < 5 or found != COLUMNS[: len(found)]:
            raise DataError(
                f"{self.name}: line {number} should be the tab-separated header {' '.join(COLUMNS)} ..., but is"
                f" {shortened(chr(9).join(columns), most=120)}"
            )
        for place in range(len(COLUMNS), len(columns)):
            if _is_joined(columns[: place + len(COLUMNS)], width=place + 1):
                raise DataError(f"{self.name}: line {number}: {JOINED}")

    def _column_line(self, columns: str | None, width: int) -> str:
        if columns is None:
            if width > len(COLUMNS):
                raise DataError(
                    f"{self.name}: no #CHROM line, and its {width} columns hold samples whose names are unknown; "
                    "add the line: #CHROM POS ID REF ALT QUAL FILTER INFO FORMAT and the samples, tab-separated"
                )
            self.notes.append(f"no #CHROM line; the {width or 8} columns are taken as {' '.join(COLUMNS)}")
            return "\t".join(COLUMNS)
        if columns != columns.rstrip("\t"):
            self.notes.append("tabs at the end of the #CHROM line were dropped")
            columns = columns.rstrip("\t")
        present = columns.split("\t")
        return "\t".join([*present, *COLUMNS[len(present) :]])

    def _check_samples(self, raw: bytes, number: int) -> None:
        """Refuse a second ``#CHROM`` line with other samples: genotypes below it would get the names of the first."""
        samples, first = (
            line.rstrip("\t").split("\t")[len(COLUMNS) + 1 :]
            for line in (self._tabbed(decode(raw), number), self.header[-1])
        )
        if samples != first:
            raise DataError(
                f"{self.name}: line {number}: a second header, of other samples ({listed(samples) or 'none'}; the first"
                f" has {listed(first) or 'none'}), as happens when files are joined; join them with `bcftools merge`"
            )

    def records(self) -> Iterator[Record]:
        missing = len(COLUMNS)
        tabs = self.header[-1].count("\t")
        with self._lines() as lines:
            for number, raw in lines:
                if raw.startswith(b"#") or not raw.strip():
                    if raw.startswith(b"#CHROM"):
                        self._check_samples(raw, number)
                    continue
                line = raw.decode("utf-8", "surrogateescape")
                columns = line.split("\t", missing)
                if len(columns) < missing:
                    columns = self._completed(number, line)
                    line = "\t".join(columns)
                if b"##fileformat=VCF" in raw or (
                    raw.count(b"\t") > tabs and _is_joined(line.split("\t"), width=tabs + 1)
                ):
                    raise DataError(f"{self.name}: line {number}: {JOINED}")
                pos = columns[1]
                if not columns[0]:
                    raise DataError(f"{self.name}: line {number}: CHROM is empty")
                if not (pos.isascii() and pos.isdigit() and len(pos) <= _MOST_DIGITS):
                    raise DataError(f"{self.name}: line {number}: POS is {shortened(pos)}, not a non-negative integer")
                alt = columns[4]
                alts = () if alt in (".", "") else tuple(alt.split(","))
                yield Record(columns[0], int(pos) - 1, columns[3], alts, line)

    def _completed(self, number: int, line: str) -> list[str]:
        """All columns of a record that ends after ALT, QUAL or FILTER, or has blanks for tabs."""
        columns = line.split("\t")
        if len(columns) == 1 and len(line.split()) == self.header[-1].count("\t") + 1:
            columns = line.split()
            self._note_blanks(number)
        if len(columns) < 5:
            raise DataError(
                f"{self.name}: line {number} has {len(columns)} tab-separated columns, but a record has at least "
                f"CHROM, POS, ID, REF, ALT: {shortened(line)}"
            )
        return [*columns, *["."] * (len(COLUMNS) - len(columns))]


def _is_joined(columns: list[str], *, width: int) -> bool:
    """Whether a second record follows the ``width`` columns of a line."""
    return is_joined(columns, width=width, least=len(COLUMNS), numbers=(1,)) and columns[width + 2].isalpha()
