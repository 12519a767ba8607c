"""Random access to a FASTA that is safe under fork, spawn and threads.

The popular readers seek and read on one shared file handle, so forked workers and threads move each other's position
and get wrong bases without an error. Here a file is read with ``os.pread``, which has no position to share (BGZF: the
blocks that hold the bases), and ``bytes.translate`` turns letters into tokens and drops line ends in one C call.
Coordinates are 0-based half-open.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genoconv.errors import DataError
from genoconv.genome.fasta.agreement import Entry
from genoconv.genome.fasta.alphabet import SAMPLE, check_dna
from genoconv.genome.fasta.index import SAMPLED, Index, load_index, reader_of
from genoconv.genome.fasta.records import FastaRecord, read_records
from genoconv.genome.fasta.scan import LETTERS, WHITE, only_letters, upper
from genoconv.tokens import ENCODE_TABLE, Tokens
from genoconv.wording import listed

__all__ = ["Fasta", "FastaRecord", "read_records"]

# What is no letter of a sequence becomes this, which no token and no letter is.
_FOREIGN = 0xFF
_LOWER = bytes(range(ord("a"), ord("z") + 1))


def _table(values: bytes) -> bytes:
    return bytes(value if letter in LETTERS else _FOREIGN for letter, value in enumerate(values))


_TOKEN_TABLE = _table(ENCODE_TABLE)
_LETTER_TABLE = _table(bytes(range(256)))
_UPPER_TABLE = _table(bytes(range(256)).upper())
_SOFT_TABLE = _table(bytes(1 if letter in _LOWER else 0 for letter in range(256)))
_CHUNK = 1 << 18


class Fasta:
    """A FASTA file opened for random access; plain, bgzip, or plain gzip (decompressed once into the cache).

    Make it in the main process: that is where indexes are built. It can then be used from any number of threads, be
    inherited by forked workers and be pickled to spawned ones.

    Attributes:
        path: the file as given.
        contigs: name -> length in bases, in file order.

    Raises:
        DataError: not DNA FASTA, or one that cannot be indexed; file and line are named.
        OSError: the file cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if str(self.path) == "-":
            raise DataError("a genome needs random access, so it cannot be read from standard input: use a file")
        self._index: Index = load_index(self.path)
        self.contigs = {name: entry.length for name, entry in self._index.entries.items()}
        self._stamp = self._stamp_now()
        self._open()
        self._check_dna()

    def __repr__(self) -> str:
        return f"Fasta({str(self.path)!r}: {len(self.contigs)} contigs, {sum(self.contigs.values())} bases)"

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("path", "contigs", "_index", "_stamp")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._stamp != self._stamp_now():
            raise DataError(f"{self._index.data}: the file has changed since it was indexed; open it again")
        self._open()

    def sequence(self, contig: str, start: int, end: int) -> str:
        """Bases ``[start, end)`` as stored: soft mask, IUPAC codes and gap characters kept.

        Raises:
            DataError: unknown contig, coordinates outside it, or a file that is not as its index has it.
        """
        return self._whole(self._read(contig, start, end), _LETTER_TABLE, contig, start, end).decode("latin-1")

    def tokens(self, contig: str, start: int, end: int) -> Tokens:
        """Tokens of ``[start, end)``, shape (end - start,), uint8, writable; ids as in :mod:`genoconv.tokens`.

        Raises:
            DataError: unknown contig, coordinates outside it, or a file that is not as its index has it.
        """
        raw = self._read(contig, start, end)
        return np.frombuffer(self._whole(raw, _TOKEN_TABLE, contig, start, end), np.uint8)

    def tokens_and_mask(self, contig: str, start: int, end: int) -> tuple[Tokens, npt.NDArray[np.bool_]]:
        """:meth:`tokens` and, from the same read, which bases are lower case (soft-masked): bool, same shape."""
        raw = self._read(contig, start, end)
        tokens = np.frombuffer(self._whole(raw, _TOKEN_TABLE, contig, start, end), np.uint8)
        return tokens, np.frombuffer(self._whole(raw, _SOFT_TABLE, contig, start, end), np.bool_)

    def soft_mask(self, contig: str, start: int, end: int) -> npt.NDArray[np.bool_]:
        """Which bases of ``[start, end)`` are lower case, shape (end - start,)."""
        return self.tokens_and_mask(contig, start, end)[1]

    def reader(self) -> Any:
        """The same file as a :class:`pyfaidx.Fasta`, for interactive work: slices, reverse complements, lines.

        It reads through this index, so it also opens a FASTA that is plain gzip or in a read-only folder. Slices are
        0-based half-open; names and letters are as stored. One process and one thread may use it: workers should
        call :meth:`sequence` or :meth:`tokens`.
        """
        import pyfaidx

        index = self._index
        gzi = str(index.fai.with_suffix(".gzi")) if index.blocks else None
        return pyfaidx.Fasta(
            str(index.data), indexname=str(index.fai), gzi_indexname=gzi, rebuild=False, build_index=False
        )

    def digests(self) -> dict[str, str]:
        """MD5 of every contig in upper case, hexadecimal: ``M5`` of the SAM specification, also a refget id.

        Reads the whole file, a little at a time.
        """
        return {contig: self.digest(contig) for contig in self.contigs}

    def digest(self, contig: str) -> str:
        """:meth:`digests` of one contig."""
        md5 = hashlib.md5(usedforsecurity=False)
        length = self._entry(contig).length
        for start in range(0, length, _CHUNK):
            end = min(start + _CHUNK, length)
            raw = self._read(contig, start, end)
            letters = raw.replace(b"\n", b"")
            plain = len(letters) == end - start and only_letters(letters)
            md5.update(upper(letters) if plain else self._whole(raw, _UPPER_TABLE, contig, start, end))
        return md5.hexdigest()

    def _entry(self, contig: str) -> Entry:
        try:
            entry = self._index.entries[contig]
        except KeyError:
            raise DataError(f"{self.path}: no contig {contig!r}; it has {listed(self.contigs)}") from None
        if contig not in self._checked:
            self._check(contig)
        return entry

    def _check(self, contig: str) -> None:
        """Compare a contig of an index that was found with the file, before its first base is given out."""
        if not self._numbers:
            self._numbers.update((name, number) for number, name in enumerate(self.contigs))
        try:
            fits = self._agreement.record(self._numbers[contig])
        except ValueError:
            fits = False
        if not fits:
            raise self._misfit(f"{contig!r} is not where the index says")
        self._checked.add(contig)

    def _read(self, contig: str, start: int, end: int) -> bytes:
        """Stored bytes of ``[start, end)``, line ends included."""
        entry = self._entry(contig)
        if not 0 <= start <= end <= entry.length:
            raise DataError(
                f"{self.path}: {contig}:{start}-{end} (0-based) is outside the contig, which has {entry.length} bases"
            )
        if start == end:
            return b""
        first, last = entry.span(start, end)
        try:
            raw = self._bytes(first, last)
        except ValueError as error:
            raise self._misfit(f"{contig}:{start}-{end} cannot be read ({error})") from error
        line_end = raw.find(b"\n")
        if line_end >= 0 and line_end != entry.line_width - 1 - start % entry.line_bases:
            raise self._misfit(f"{contig}:{start}-{end}: a line ends at an unexpected position")
        return raw

    def _whole(self, raw: bytes, table: bytes, contig: str, start: int, end: int) -> bytearray:
        """Translate letters, drop line ends, and make sure that exactly the bases asked for came back."""
        translated = bytearray(raw.translate(table, WHITE))  # bytes.translate is twice as fast
        if len(translated) != end - start:
            raise self._misfit(f"{contig}:{start}-{end} gave {len(translated)} bases")
        if _FOREIGN in translated:
            position = translated.index(_FOREIGN)
            letter = raw.translate(None, WHITE)[position : position + 1]
            raise DataError(
                f"{self.path}: {contig}:{start + position + 1} (1-based) is {letter!r}, which is not a letter of a"
                " sequence"
            )
        return translated

    def _misfit(self, what: str) -> DataError:
        return DataError(
            f"{self.path}: {what}: the file has changed or its index is wrong; delete {self._index.fai} and open it"
            " again"
        )

    def _stamp_now(self) -> tuple[int, int]:
        status = self._index.data.stat()
        return status.st_size, status.st_mtime_ns

    def _open(self) -> None:
        self._bytes, self._agreement = reader_of(self._index)
        self._checked = set(self.contigs) if self._index.checked else set()
        self._numbers: dict[str, int] = {}

    def _check_dna(self) -> None:
        """A sample of the records of an index that was found; all are looked at where one is built."""
        step = max(1, len(self.contigs) // SAMPLED)
        for contig in list(self.contigs)[::step]:
            start = self.sequence(contig, 0, min(self.contigs[contig], SAMPLE))
            check_dna(start.encode("latin-1"), source=str(self.path), record=contig)
