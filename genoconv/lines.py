"""Lines of a text file, alike for every reader of a table (BED, GTF, GFF3, VCF, TSV).

Decided here, once, for all of them: lines end with LF or CRLF, also both in one file, and the last one may have no
end; a byte-order mark is skipped; a lone CR, a NUL byte and what is recognised as another format are errors that name
the line; a line, a run of comments and a file have limits far above honest data.
"""

import io
import re
import zlib
from collections.abc import Generator, Sequence
from gzip import BadGzipFile

from genoconv.errors import DataError
from genoconv.formats import BOM, damaged_gzip, foreign_format

_BLOCK = 1 << 17
LONGEST_LINE = 1 << 24
"""Bytes. Lines of annotations and intervals seldom have 10,000."""
MOST_IDLE = 1 << 26
"""Bytes of comments and blank lines in a row."""
MOST_BYTES = 1 << 38
"""Bytes of a whole file, decompressed."""
MOST_ROWS = 1 << 26
"""Lines of a table that is held in memory: one for every 46 bases of a human genome."""

_LONE_CR = re.compile(rb"\r(?!\n|\Z)")
OLD_LINE_ENDS = "old Macintosh line ends (CR); convert them, e.g. with `mac2unix`"
BOM_INSIDE = "a byte-order mark inside the file, probably because files were joined; remove it"
JOINED = (
    "two rows in one line, probably because files were joined and the first had no final newline; put the second row \
on a separate line"
)
NUL_BYTE = "a NUL byte; the file is damaged, copy it again or download it again"


def numbered_lines(
    stream: io.BufferedReader,
    *,
    source: str,
    kind: str,
    own: bytes = b"",
    longest: int = LONGEST_LINE,
    most_idle: int = MOST_IDLE,
) -> Generator[tuple[int, bytes], None, None]:
    """Lines without their ends, each with its number, from 1; runs of blank lines may be left out.

    Args:
        stream: decompressed bytes, from :func:`.formats.open_binary`.
        source: the file, for messages.
        kind: what it should be ("BED"), for messages.
        own: first bytes that belong to ``kind``, though :func:`.formats.foreign_format` knows them.
        longest: bytes that a line may have.
        most_idle: bytes that comments (``#``) and blank lines may have in a row.

    Raises:
        DataError: the file is of another format, damaged, or beyond a limit; the line is named.
    """
    number, total, idle = 1, 0, 0
    tail: list[bytes] = []
    held = 0
    while True:
        try:
            block = stream.read1(_BLOCK)
        except (EOFError, zlib.error, BadGzipFile) as error:
            raise damaged_gzip(f"{source}: after line {number - 1}", error) from error
        total += len(block)
        if total > MOST_BYTES:
            raise DataError(f"{source}: more than {MOST_BYTES:,} bytes, decompressed; a {kind} file is smaller")
        end = block.rfind(b"\n") + 1
        tail.append(block[:end] if end else block)
        held += len(tail[-1])
        if held > longest + _BLOCK:
            raise DataError(f"{source}: line {number} has more than {longest:,} bytes; is this {kind}?")
        if not end and block:
            continue
        whole = b"".join(tail)
        tail, held = [block[end:]], len(block) - end
        if number == 1:
            whole = _beginning(whole, source=source, kind=kind, own=own)
        if b"\0" in whole or b"\r" in whole or BOM in whole:
            whole = _checked(whole, number, source=source)
        lines = whole.split(b"\n")
        if not lines[-1]:
            lines.pop()
        idle = idle + len(whole) if _is_idle(whole, len(lines)) else 0
        if idle > most_idle:
            raise DataError(
                f"{source}: line {number + len(lines)}: more than {most_idle:,} bytes of comments and blank lines in a"
                f" row; is this {kind}?"
            )
        if idle == 0 or whole.strip(b"\n"):
            yield from enumerate(lines, number)
        number += len(lines)
        if not block:
            return


def check_rows(line: int, *, source: str) -> None:
    """Raise :class:`DataError` beyond :data:`MOST_ROWS`."""
    if line > MOST_ROWS:
        raise DataError(f"{source}: more than {MOST_ROWS:,} lines; divide the file, and run once for each part")


def _beginning(whole: bytes, *, source: str, kind: str, own: bytes) -> bytes:
    """The first lines without a byte-order mark, after a look at what they are the beginning of."""
    whole = whole.removeprefix(BOM)
    first = whole.partition(b"\n")[0]
    known = None if own and first.startswith(own) else foreign_format(first)
    if known:
        raise DataError(f"{source}: not {kind} but {known}")
    return whole


def _checked(whole: bytes, number: int, *, source: str) -> bytes:
    """Lines with LF for CRLF; raises for bytes that no text has."""
    mark = 0 if whole.startswith(BOM) else whole.find(b"\n" + BOM) + 1 or -1
    for found, what in ((whole.find(b"\0"), NUL_BYTE), (_lone_cr(whole), OLD_LINE_ENDS), (mark, BOM_INSIDE)):
        if found >= 0:
            line = number + whole.count(b"\n", 0, found)
            raise DataError(f"{source}: line {line}: {what}")
    return whole.replace(b"\r\n", b"\n").removesuffix(b"\r")


def _lone_cr(whole: bytes) -> int:
    if whole.count(b"\r") == whole.count(b"\r\n"):
        return -1
    match = _LONE_CR.search(whole)
    return match.start() if match else -1


def _is_idle(whole: bytes, lines: int) -> bool:
    """Whether these are comments and blank lines alone."""
    if not whole.startswith((b"#", b"\n", b" ")):
        return False
    return not whole.strip() or whole.count(b"\n#") + whole.count(b"\n\n") + 1 >= lines


def utf8(raw: bytes, *, source: str, line: int) -> str:
    """Text of a line.

    Raises:
        DataError: it is not UTF-8; the line and the byte are named.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source}: line {line}: not UTF-8 (byte 0x{raw[error.start]:02x} at column {error.start + 1}); convert"
            " the file, e.g. with `iconv -f latin1 -t utf-8`"
        ) from None


def is_joined(columns: Sequence[str], *, width: int, least: int, numbers: tuple[int, ...]) -> bool:
    """Whether behind a row of ``width`` columns stands the next one: the line end between them is missing.

    Args:
        columns: of the line.
        width: columns that a row of this file has. The first of the next row is joined to the last of them.
        least: columns that a row has at least.
        numbers: columns of a row that hold whole numbers, counted from 0.
    """
    rest = columns[width - 1 :]
    return len(rest) >= least and all(rest[number].isascii() and rest[number].isdigit() for number in numbers)


def shortened(value: str, *, most: int = 60) -> str:
    """A value from a file as messages show it: quoted, escaped, and cut where it is long."""
    return repr(value) if len(value) <= most else f"{value[:most]!r}... of {len(value):,} characters"
