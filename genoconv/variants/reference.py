"""Small reads of a FASTA that lie close together, served from memory."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
import numpy.typing as npt

from genoconv.variants.windows import Slice, Tokens

_BLOCK = 1 << 16
_BLOCKS_KEPT = 64


class Bases(Protocol):
    """Random access to sequence, such as a :class:`genoconv.genome.fasta.access.Fasta`."""

    path: Path

    @property
    def contigs(self) -> Mapping[str, int]:
        """Contig -> length in bases."""

    def tokens(self, contig: str, start: int, end: int) -> Tokens:
        """Tokens of ``[start, end)``, 0-based."""

    def digest(self, contig: str) -> str:
        """MD5 of a contig in upper case, hexadecimal."""


class Reference:
    """Tokens of a FASTA, read in blocks of 64 kb of which the last 64 are kept (4 MB).

    Sorted variants ask for almost the same bases again and again; without this a bgzip FASTA would inflate the same
    block for every one of them. Several threads may share one.
    """

    def __init__(self, fasta: Bases) -> None:
        self.fasta = fasta
        self.contigs = fasta.contigs
        self._block = lru_cache(maxsize=_BLOCKS_KEPT)(self._read_block)
        self._reading = Lock()

    def _read_block(self, contig: str, number: int) -> Tokens:
        start = number * _BLOCK
        with self._reading:  # a file has one position
            return self.fasta.tokens(contig, start, min(start + _BLOCK, self.contigs[contig]))

    def tokens(self, contig: str, start: int, end: int) -> Tokens:
        """Tokens of ``[start, end)``, 0-based, cut at the ends of the contig."""
        start, end = max(start, 0), min(end, self.contigs[contig])
        if start >= end:
            return np.empty(0, np.uint8)
        first, last = start // _BLOCK, (end - 1) // _BLOCK
        blocks = [self._block(contig, number) for number in range(first, last + 1)]
        joined = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        return joined[start - first * _BLOCK : end - first * _BLOCK]

    def bases_at(self, contig: str, positions: npt.NDArray[np.int64]) -> Tokens:
        """The token at each position, (V,); 0, which is that of no base, outside the contig."""
        found = np.zeros(len(positions), np.uint8)
        inside = np.flatnonzero((positions >= 0) & (positions < self.contigs[contig]))
        for number, members in _by_block(positions[inside]):
            some = inside[members]
            found[some] = self._block(contig, number)[positions[some] - number * _BLOCK]
        return found

    def windows(self, contig: str, starts: npt.NDArray[np.int64], width: int) -> Tokens:
        """The ``width`` tokens from each of these positions on, (U, width); all inside the contig."""
        found = np.empty((len(starts), width), np.uint8)
        for _, members in _by_block(starts):
            first = int(starts[members].min())
            around = self.tokens(contig, first, int(starts[members].max()) + width)
            found[members] = np.lib.stride_tricks.sliding_window_view(around, width)[starts[members] - first]
        return found

    def slicer(self, contig: str, *, circular: bool = False) -> Slice:
        """:meth:`tokens` of one contig; with ``circular`` what lies beyond one end is read at the other."""
        if not circular:
            return lambda start, end: self.tokens(contig, start, end)
        length = self.contigs[contig]

        def fetch(start: int, end: int) -> Tokens:
            return np.concatenate(
                [
                    self.tokens(contig, start - turn * length, end - turn * length)
                    for turn in range(start // length, (end - 1) // length + 1)
                ]
            )

        return fetch


def _by_block(positions: npt.NDArray[np.int64]) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Each block with the members of ``positions``, by number, that lie in it."""
    blocks = positions // _BLOCK
    for number in np.unique(blocks).tolist():
        yield number, np.flatnonzero(blocks == number)
