"""What the bytes of a FASTA are: headers and pieces of sequence. The same look for every reader, so that all agree.

Lines end with LF or CRLF, also both in one file; blanks and blank lines do not belong to a sequence; a byte-order mark
is skipped. What is no letter and no gap character is an error that names line and record.
"""

import io
import re
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from genoconv.errors import DataError
from genoconv.formats import BOM, foreign_format
from genoconv.genome.fasta.alphabet import SAMPLE, check_dna
from genoconv.lines import BOM_INSIDE, NUL_BYTE, OLD_LINE_ENDS

# Few enough that memory is used again at once: fresh pages cost more than the reading.
_BLOCK = 1 << 18
_RECOGNISED = 512
# Bytes; so that what looks for the header after a record never reads a chromosome into memory.
LONGEST_HEADER = 1 << 20
MOST_BLANK = 1 << 24
"""Bytes of blank lines in a row."""

LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.-*~"
"""Residues and gap characters; whether they are DNA is asked of samples (:mod:`.alphabet`)."""
WHITE = b"\r\n \t"
_EXPECTED = LETTERS + b"\n"
_CASE = np.uint8(ord("a") - ord("A"))
# Shorter lines are joined faster by bytes.replace.
_SHORT_LINE = 32
_STRANGE = re.compile(rb"[^A-Za-z.\-*~\r\n \t]|\r(?!\n|\Z)")
_WHAT = {
    ord(">"): "a '>' inside a line of sequence, probably because files were joined and the first had no final newline;"
    " put the header on a separate line",
    ord("\r"): OLD_LINE_ENDS,
    0: NUL_BYTE,
    ord(";"): "a ';', as begins a comment; remove it",
    ord("#"): "a '#', as begins a comment; remove it",
    **dict.fromkeys(b"0123456789", "a digit inside the sequence (position numbers?); remove it"),
}


Letters: TypeAlias = bytes | bytearray


class Header(NamedTuple):
    """A header line.

    Attributes:
        name: up to the first blank.
        description: the rest.
        line: 1-based.
        end: byte after its line end, in the decompressed file.
    """

    name: str
    description: str
    line: int
    end: int


class Piece(NamedTuple):
    """Part of a record's sequence, as stored; CR and LF of one line end are never apart.

    Attributes:
        raw: letters, line ends, blanks.
        letters: of ``raw`` alone.
        blanks: whether ``raw`` has blanks or CR.
        end: byte after it, in the decompressed file.
    """

    raw: bytes
    letters: Letters
    blanks: bool
    end: int


def scan(stream: io.BufferedReader, *, source: str) -> Iterator[Header | Piece]:
    """Read a FASTA once: each header, then the pieces of its sequence, of up to a quarter megabyte.

    Raises:
        DataError: not FASTA, no record at all, a header without a name or with one that another has, bytes that are
            no sequence; the line is named. Protein or RNA; the record is named.
    """
    return _Scanner(stream, source).events()


def _next_header(block: bytes, position: int) -> int:
    """Where the next line that begins with ``>`` begins; the end of the block if there is none."""
    end = block.find(b">", position)  # one byte is found ten times faster than two
    while end > 0 and block[end - 1] != ord("\n"):
        end = block.find(b">", end + 1)
    return len(block) if end < 0 else end


def _even_lines(raw: bytes) -> bytearray | None:
    """``raw`` without LF, copied while other threads compute; None where its lines differ in length.

    Where LF ends a line too early, it is left in.
    """
    first = raw.find(b"\n")
    width = raw.find(b"\n", first + 1) - first
    if first < 0 or width <= _SHORT_LINE:
        return None
    begin, kept = first + 1, width - 1
    count = (len(raw) - begin) // width
    end = begin + count * width
    lines = np.frombuffer(raw, np.uint8)[begin:end].reshape(count, width)
    if (lines[:, kept] != ord("\n")).any():
        return None
    rest = raw[end:].replace(b"\n", b"")
    joined = bytearray(first + count * kept + len(rest))
    joined[:first] = raw[:first]
    np.frombuffer(joined, np.uint8)[first : first + count * kept].reshape(count, kept)[:] = lines[:, :kept]
    joined[first + count * kept :] = rest
    return joined


def only_letters(text: Letters) -> bool:
    """Whether all are A to Z or a to z; other threads compute meanwhile, which bytes.translate would not let them."""
    letters = np.frombuffer(text, np.uint8) | _CASE
    letters -= ord("a")
    return bool(letters.max(initial=0) <= ord("z") - ord("a"))


def upper(text: Letters) -> memoryview:
    """What ``text.upper()`` is, while other threads compute."""
    letters = np.frombuffer(text, np.uint8)
    if letters.max(initial=0) <= ord("Z"):
        return memoryview(text)
    return (letters - (letters - ord("a") <= ord("z") - ord("a")) * _CASE).data


class _Scanner:
    """Where a reading has come to."""

    def __init__(self, stream: io.BufferedReader, source: str) -> None:
        self.stream = stream
        self.source = source
        self.names: dict[str, int] = {}
        self.name = ""
        self.line = 1
        self.offset = 0
        self.blank = 0
        self.sample = b""

    def events(self) -> Iterator[Header | Piece]:
        held, at_start = b"", True
        for fresh in self._blocks():
            block = held + fresh
            held = b""
            if block.endswith(b"\r"):  # perhaps half of a line end
                block, held = block[:-1], b"\r"
            position = 0
            while position < len(block):
                if at_start and block.startswith(b">", position):
                    end = block.find(b"\n", position) + 1
                    if not end:
                        held = block[position:] + held
                        self._check_length(len(held))
                        break
                    yield self._header(block[position:end])
                else:
                    end = _next_header(block, position)
                    yield from self._sequence(block[position:end])
                    at_start = block.endswith(b"\n", position, end)
                position = end
        if held.startswith(b">") and at_start:
            yield self._header(held)
        elif held:
            yield from self._sequence(held)
        self._finish()
        if not self.names:
            what = "no FASTA record, only blank lines" if self.offset else "the file is empty"
            raise DataError(f"{self.source}: {what}")

    def _blocks(self) -> Iterator[bytes]:
        """The file without a byte-order mark; the first block is long enough to be recognised."""
        first = b""
        while len(first) < _RECOGNISED and (more := self.stream.read1(_BLOCK)):
            first += more
        if first.startswith(BOM):
            self.offset = len(BOM)
        yield first.removeprefix(BOM)
        while block := self.stream.read1(_BLOCK):
            yield block

    def _finish(self) -> None:
        """Ask of the record that ends here whether it is DNA."""
        check_dna(self.sample[:SAMPLE], source=self.source, record=self.name)
        self.sample = b""

    def _header(self, raw: bytes) -> Header:
        self._check_length(len(raw))
        self._finish()
        title = raw[1:].rstrip(b"\r\n")
        if b"\r" in title or b"\0" in title:
            raise self._wrong(OLD_LINE_ENDS if b"\r" in title else NUL_BYTE)
        if not title[:1].strip():
            raise self._wrong("a header without a name; write one right after '>'")
        first, *rest = title.split(None, 1)
        try:
            self.name = first.decode()
        except UnicodeDecodeError:
            raise self._wrong("the name is not UTF-8; convert it, e.g. with `iconv -f latin1 -t utf-8`") from None
        if self.name in self.names:
            raise DataError(
                f"{self.source}: two records are named {self.name!r}, on lines {self.names[self.name]} and"
                f" {self.line}; rename one"
            )
        self.names[self.name] = self.line
        self.line += 1
        self.offset += len(raw)
        self.blank = 0
        description = rest[0].decode("utf-8", "backslashreplace").strip() if rest else ""
        return Header(self.name, description, self.line - 1, self.offset)

    def _sequence(self, raw: bytes) -> Iterator[Piece]:
        even = _even_lines(raw) if len(raw) > SAMPLE else None
        plain = even is not None and only_letters(even)
        # Faster than to count the lines, and wanted too.
        joined: Letters = even if even is not None and plain else raw.replace(b"\n", b"")
        plain = plain or (len(raw) > SAMPLE and only_letters(joined))
        strange = b"" if plain else raw.translate(None, _EXPECTED)
        if not self.names:
            self._preamble(raw)
        elif strange and (strange.translate(None, WHITE) or raw.count(b"\r") != raw.count(b"\r\n")):
            self._explain(raw)
        self.offset += len(raw)
        self.line += len(raw) - len(joined)
        if len(self.sample) < SAMPLE:
            self.sample += raw[: 2 * SAMPLE].translate(None, WHITE)
        self.blank = self.blank + len(raw) if raw.isspace() else 0
        if self.blank > MOST_BLANK:
            raise self._wrong(f"more than {MOST_BLANK:,} bytes of blank lines in a row; is this FASTA?")
        if self.names:
            letters = joined.translate(None, WHITE) if strange else joined
            yield Piece(raw, letters, bool(strange), self.offset)

    def _preamble(self, raw: bytes) -> None:
        """Before the first header there may be blank lines alone."""
        text = raw.lstrip()
        if not text:
            return
        known = foreign_format(text.partition(b"\n")[0])
        if known:
            raise DataError(f"{self.source}: not FASTA but {known}")
        line = self.line + raw[: len(raw) - len(text)].count(b"\n")
        shown = text.partition(b"\n")[0][:40].decode("utf-8", "backslashreplace").strip()
        raise DataError(f"{self.source}: not FASTA: line {line} is {shown!r}; expected a header that starts with '>'")

    def _explain(self, raw: bytes) -> None:
        """Raise for the first byte that does not belong to a sequence; a CR at the end of the file is."""
        match = _STRANGE.search(raw)
        if match is None:
            return
        byte = match[0][0]
        shown = repr(chr(byte)) if byte < 0x80 else f"byte 0x{byte:02x}"
        what = _WHAT.get(byte, f"{shown}, which is not a letter of a sequence; remove it")
        if raw.startswith(BOM, match.start()):
            what = BOM_INSIDE
        self.line += raw.count(b"\n", 0, match.start())
        raise self._wrong(what, record=True)

    def _check_length(self, length: int) -> None:
        if length > LONGEST_HEADER + 2:
            raise self._wrong(f"a header of more than {LONGEST_HEADER:,} bytes; shorten it")

    def _wrong(self, what: str, *, record: bool = False) -> DataError:
        where = f"line {self.line}, record {self.name!r}" if record else f"line {self.line}"
        return DataError(f"{self.source}: {where}: {what}")
