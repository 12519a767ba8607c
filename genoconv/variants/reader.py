"""Read VCF (plain, gzip, BGZF), BCF and standard input, one record at a time, forgiving what can be forgiven.

A VCF record is carried as its own line of text, so that everything which is not ours reaches the output byte for
byte (htslib, which would parse and print it again, turns ``AF=0.30000001`` into ``0.3`` and refuses undeclared
keys). BCF is read by pysam and carried as the text that htslib prints of it.
"""

import logging
import shutil
import sys
import tempfile
import warnings
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from genoconv.errors import DataError
from genoconv.formats import STDIN, compression_of, open_binary
from genoconv.lines import JOINED, is_joined, numbered_lines, shortened
from genoconv.wording import printable
from genoconv.workfiles import temporary_prefix

log = logging.getLogger(__name__)

COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
# Bytes. A record of a million samples with likelihoods has a tenth of it.
_LONGEST_LINE = 1 << 28
_MOST_HEADER_LINES = 1 << 22
_MOST_DIGITS = 18
# POS of BCF is a signed 32-bit integer; a negative one reaches us as a large one.
_MOST_POSITIONS = 2**31
# What pysam raises on damaged BCF, beside text that is not UTF-8.
_HTSLIB_ERRORS = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, MemoryError,
    NotImplementedError,
)  # fmt: skip
_BGZF_EOF = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def decode(raw: bytes) -> str:
    """Text of a line without its end; bytes that are not UTF-8 survive the way back."""
    return raw.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The inverse of :func:`decode`, with an LF."""
    return text.encode("utf-8", "surrogateescape") + b"\n"


@dataclass(slots=True)
class Record:
    """One record. ``start`` is 0-based (POS - 1); ``alts`` is empty where ALT is ``.``.

    ``line`` is the record's text without a line end, at least eight columns.
    """

    contig: str
    start: int
    ref: str
    alts: tuple[str, ...]
    line: str

    @property
    def end(self) -> int:
        """First 0-based position after REF."""
        return self.start + len(self.ref)

    @property
    def columns(self) -> list[str]:
        """CHROM .. INFO, and the rest of the line as a ninth item where there is one."""
        return self.line.split("\t", 8)


class VariantFile:
    """A VCF or BCF that can be read several times.

    Attributes:
        path: the file that is read (a spooled copy where the input was a stream).
        name: what messages call it.
        header: the header's lines, from ``##fileformat`` to ``#CHROM``, without line ends; complete and well
            formed even where the file's own is not.
        notes: what was unusual and has been repaired, one sentence each.
    """

    def __init__(self, path: Path, *, name: str, kind: str, spool: IO[bytes] | None = None) -> None:
        self.path = path
        self.name = name
        self.kind = kind
        # A temporary copy is removed when it is closed: when this object goes, at the latest when the process ends.
        if spool is not None:
            weakref.finalize(self, spool.close)
        self._blanks = False
        self.notes: list[str] = []
        self.header = self._read_bcf_header() if kind == "bcf" else self._read_header()

    @property
    def is_bcf(self) -> bool:
        """Whether records come from pysam."""
        return self.kind == "bcf"

    def records(self) -> Iterator[Record]:
        """Every record, in the order of the file.

        Raises:
            DataError: a line is not a record, or the compressed stream ends early; the line is named.
        """
        return self._bcf_records() if self.is_bcf else self._text_records()

    @contextmanager
    def _lines(self) -> Iterator[Iterator[tuple[int, bytes]]]:
        with open_binary(self.path) as stream:
            lines = numbered_lines(
                stream,
                source=self.name,
                kind="VCF",
                own=b"##fileformat=VCF",
                longest=_LONGEST_LINE,
                most_idle=_LONGEST_LINE,
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
            log.warning("%s: line %d: blanks stand where tabs should be; the output has tabs", self.name, number)

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
                    f"{self.name}: no #CHROM line, and its {width} columns hold samples whose names cannot be known; "
                    "add the line: #CHROM POS ID REF ALT QUAL FILTER INFO FORMAT and the samples, tab-separated"
                )
            self.notes.append(f"no #CHROM line; the {width or 8} columns are taken as {' '.join(COLUMNS)}")
            return "\t".join(COLUMNS)
        if columns != columns.rstrip("\t"):
            self.notes.append("tabs at the end of the #CHROM line were dropped")
            columns = columns.rstrip("\t")
        present = columns.split("\t")
        return "\t".join([*present, *COLUMNS[len(present) :]])

    def _text_records(self) -> Iterator[Record]:
        missing = len(COLUMNS)
        tabs = self.header[-1].count("\t")
        with self._lines() as lines:
            for number, raw in lines:
                if raw.startswith(b"#") or not raw.strip():
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
                    raise DataError(
                        f"{self.name}: line {number}: POS is {shortened(pos)}, not a whole number from 0 up"
                    )
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
                f"{self.name}: line {number} has {len(columns)} tab-separated columns where a record has at least "
                f"CHROM, POS, ID, REF, ALT: {shortened(line)}"
            )
        return [*columns, *["."] * (len(COLUMNS) - len(columns))]

    @contextmanager
    def _bcf(self) -> Iterator[Any]:
        import pysam

        with quiet_htslib(), warnings.catch_warnings():
            # A missing end-of-file marker is one of our notes.
            warnings.simplefilter("ignore")
            try:
                stream = pysam.VariantFile(str(self.path), ignore_truncation=True)
            except _HTSLIB_ERRORS as error:
                raise DataError(
                    f"{self.name}: damaged in its header ({printable(str(error))}); copy the file again"
                ) from error
        try:
            yield stream
        finally:
            # Closing repeats what went wrong while reading.
            with suppress(OSError):
                stream.close()

    def _damaged_header(self, error: Exception) -> DataError:
        return DataError(f"{self.name}: damaged in its header ({printable(str(error))}); copy the file again")

    def _read_bcf_header(self) -> list[str]:
        with self._bcf() as stream:
            try:
                return str(stream.header).rstrip("\n").split("\n")
            except _HTSLIB_ERRORS as error:
                raise DataError(
                    f"{self.name}: damaged in its header ({printable(str(error))}); copy the file again"
                ) from error

    def _bcf_records(self) -> Iterator[Record]:
        done = 0
        with self._bcf() as stream:
            while True:
                try:
                    with quiet_htslib():
                        native = next(stream, None)
                    if native is None:
                        return
                    record = _of_native(native)
                    if not -1 <= record.start < _MOST_POSITIONS:
                        raise ValueError("a position beyond 32 bits")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{self.name}: record {done + 1} holds text that is not UTF-8; write it as VCF and convert"
                        " that, e.g. with `bcftools view` and `iconv -f latin1 -t utf-8`"
                    ) from error
                except _HTSLIB_ERRORS as error:
                    raise DataError(
                        f"{self.name}: damaged or cut short after record {done}; copy it again or download it again"
                    ) from error
                done += 1
                yield record


def _is_joined(columns: list[str], *, width: int) -> bool:
    """Whether a second record follows the ``width`` columns of a line."""
    return is_joined(columns, width=width, least=len(COLUMNS), numbers=(1,)) and columns[width + 2].isalpha()


def _of_native(native: Any) -> Record:
    return Record(native.contig, native.start, native.ref, native.alts or (), str(native).rstrip("\n"))


@contextmanager
def quiet_htslib() -> Iterator[None]:
    """htslib's own complaints are replaced by ours."""
    import pysam

    level = pysam.set_verbosity(0)
    try:
        yield
    finally:
        pysam.set_verbosity(level)


def _kind(path: Path, name: str) -> str:
    """``text`` (plain or gzip) or ``bcf``, by content."""
    with path.open("rb") as stream:
        start = stream.read(18)
    if not start:
        raise DataError(f"{name}: the file is empty (0 bytes); a VCF has at least a header line")
    with open_binary(path) as unpacked:
        if not unpacked.peek(5).startswith(b"BCF\x02"):
            return "text"
    if compression_of(start) == "gzip":
        raise DataError(
            f"{name}: BCF in plain gzip, where BCF needs bgzip; unpack it with `gunzip`, which makes it readable"
        )
    return "bcf"


def _lacks_bgzf_eof(path: Path) -> bool:
    """Whether ``path`` is BGZF (has the ``BC`` extra field) without the empty block that marks a complete file."""
    with path.open("rb") as stream:
        start = stream.read(18)
        if start[3:4] != b"\x04" or start[12:14] != b"BC":
            return False
        size = stream.seek(0, 2)
        stream.seek(max(0, size - len(_BGZF_EOF)))
        return stream.read() != _BGZF_EOF


def open_variants(path: Path, *, spool_for: Path | None = None) -> VariantFile:
    """Open a VCF, VCF.gz or BCF, or standard input for ``-``.

    A stream (standard input, a named pipe) is copied to an unnamed place first, because the header must be complete
    before the first record can be written, and what it lacks is known only after the last.

    Args:
        path: the file, or ``-``.
        spool_for: the output, beside which that copy is kept; the system's temporary folder (``TMPDIR``) if None.

    Raises:
        DataError: empty, a git-lfs pointer, not a VCF, damaged.
        OSError: the file cannot be opened.
    """
    name = STDIN if str(path) == "-" else str(path)
    spool = None
    if str(path) == "-" or path.is_fifo() or path.is_char_device():
        if str(path) == "-" and sys.stdin is None:
            raise DataError(f"{STDIN} is closed; give a file, or something to read")
        prefix, folder = (".genoconv-", None) if spool_for is None else (temporary_prefix(spool_for), spool_for.parent)
        spool = tempfile.NamedTemporaryFile(prefix=prefix, dir=folder)  # noqa: SIM115 (lives on below)
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as source:
            shutil.copyfileobj(source, spool, 1 << 20)
        spool.flush()
        path = Path(spool.name)
    file = VariantFile(path, name=name, kind=_kind(path, name), spool=spool)
    if _lacks_bgzf_eof(path):
        file.notes.append("no BGZF end-of-file marker: the file may be truncated; every record found is processed")
    return file
