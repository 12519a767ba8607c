"""The long demo: synthetic contigs whose later part can only be known from far upstream.

Every contig is a stretch of random blocks, each of one base, repeated from its beginning to its end. Where a block
begins, nothing near it says which base comes: only the stretch upstream does, ``distance`` bases before. A model whose
windows are longer than that can know each of these bases, a model with shorter windows none of them. Nothing in it is
biology.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genoconv import atomic
from genoconv.errors import UsageError
from genoconv.genome.assemblies.demo import NOTICE, Draws

_BASES = np.frombuffer(b"ACGT", np.uint8)
_LINE = 60
_MOST_BASES = 2**31


@dataclass(frozen=True, slots=True)
class RepeatPlan:
    """What contigs to make; all in bases but their number.

    Attributes:
        contigs: how many.
        length: of each.
        distance: from each base to the one that it repeats; less than ``length``.
        block: bases of one kind in a row, a divisor of ``distance``. Longer blocks are easier to learn: a filter has to
            be as sharp as a block, not as a base.
        seed: of the bases.
    """

    contigs: int
    length: int
    distance: int
    block: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.distance < self.length:
            raise UsageError(f"repeats.distance is {self.distance:,}; it must be below repeats.length, {self.length:,}")
        if self.distance % self.block:
            raise UsageError(f"repeats.block is {self.block:,}; it must divide repeats.distance, {self.distance:,}")
        if self.contigs * self.length > _MOST_BASES:
            raise UsageError(
                f"repeats: {self.contigs:,} contigs of {self.length:,} bases are more than {_MOST_BASES:,} bases; ask"
                " for fewer"
            )

    @property
    def name(self) -> str:
        """For its files."""
        return f"n{self.contigs}-l{self.length}-d{self.distance}-b{self.block}-s{self.seed}"


def write_repeats(plan: RepeatPlan, *, fasta: Path, bed: Path) -> None:
    """Write the contigs, and as intervals the repeated bases at which a block begins; the same bytes on every machine.

    Raises:
        OutputError: the folder cannot be written.
    """
    fasta.parent.mkdir(parents=True, exist_ok=True)
    draws = Draws(plan.seed)
    starts = range(plan.distance, plan.length, plan.block)
    with atomic.atomic_file(bed) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        for number in range(1, plan.contigs + 1):
            stream.writelines(f"repeat{number}\t{start}\t{start + 1}\trepeat\n" for start in starts)
    with atomic.atomic_file(fasta) as temporary, temporary.open("wb") as stream:
        for number in range(1, plan.contigs + 1):
            unit = np.repeat(_BASES[draws.below(4, plan.distance // plan.block)], plan.block)
            text = np.resize(unit, plan.length).tobytes()
            stream.write(f">repeat{number} {NOTICE}\n".encode())
            stream.writelines(text[i : i + _LINE] + b"\n" for i in range(0, len(text), _LINE))
