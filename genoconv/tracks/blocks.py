"""Values along a genome, a block at a time."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from genoconv.tokens import A, Tokens

BASES = "ACGT"


class Block(NamedTuple):
    """Values of n positions in a row.

    Attributes:
        contig: name in the FASTA.
        start: 0-based position of the first.
        ref: tokens of the reference, (n,).
        values: (n, k); what the k columns are depends on the file.
    """

    contig: str
    start: int
    ref: Tokens
    values: npt.NDArray[np.floating]


class Blocks(Protocol):
    """Gives all blocks, or those of one contig, in the FASTA's order; can be called again."""

    def __call__(self, contig: str | None = None, /) -> Iterator[Block]: ...


class Snv(NamedTuple):
    """The three SNVs of one position; ``start`` is 0-based, ``alts`` the other bases in the order A, C, G, T."""

    contig: str
    start: int
    ref: str
    alts: list[str]
    scores: list[float]
    forward: list[float]
    reverse: list[float]
    ref_log_p: float
    entropy: float
    ranks: tuple[list[float], list[float]] | None = None
    """Percentile and z of each alternative, where the model is calibrated."""


COLUMNS = 14
"""Of a block that :func:`snvs` takes: score, forward and reverse of A, C, G, T; ln P(ref); entropy.

With a calibration eight more follow: percentile and z of A, C, G, T.
"""


def snvs(block: Block) -> Iterator[Snv]:
    """Every position of ``block`` whose reference is A, C, G or T and that has a score."""
    rows = block.values.tolist()
    for offset, (token, row) in enumerate(zip(block.ref.tolist(), rows, strict=True)):
        column = token - A
        if 0 <= column < 4 and row[column] == row[column]:  # NaN: no score
            others = [other for other in range(4) if other != column]
            yield Snv(
                block.contig,
                block.start + offset,
                BASES[column],
                [BASES[other] for other in others],
                [row[other] for other in others],
                [row[4 + other] for other in others],
                [row[8 + other] for other in others],
                row[12],
                row[13],
                None if len(row) == COLUMNS else ([row[14 + o] for o in others], [row[18 + o] for o in others]),
            )
