"""Train, validation and test sets that share no base: whole contigs, or blocks of a small genome.

What may not be torn apart is a unit: a contig, or a run of loci that overlap. Units are put in an order that depends on
the seed and their own place alone (a hash), so the same seed gives the same sets on every machine and version.
"""

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from genoconv.contigs import match_contigs
from genoconv.errors import UsageError
from genoconv.genome.windows.intervals import SPLITS, Region

if TYPE_CHECKING:
    import pandas as pd

SplitBy = Literal["auto", "chromosome", "block"]

# With fewer contigs, or one that dominates, whole contigs cannot come near the fractions asked for.
_FEWEST_CONTIGS = 8
_LARGEST_SHARE = 0.3
_BLOCKS = 40


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How windows are to be divided.

    Attributes:
        by: ``chromosome``, ``block``, or ``auto``: by chromosome where there are at least 8 contigs and none holds
            more than 30 % of the bases.
        valid, test: contigs named for these sets. Naming any makes the division: what is not named is for training.
        valid_fraction, test_fraction: shares of the bases, where no contigs are named.
        seed: another seed gives another division.
    """

    by: SplitBy = "auto"
    valid: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    valid_fraction: float = 0.1
    test_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("valid", self.valid_fraction), ("test", self.test_fraction)):
            if not 0 <= value < 1:
                raise UsageError(f"the {name} fraction is {value}; it must be at least 0 and below 1")
        if self.valid_fraction + self.test_fraction >= 1:
            raise UsageError(
                f"valid and test fractions sum to {self.valid_fraction + self.test_fraction:g}; nothing is left for"
                " training: keep the sum below 1"
            )
        if (self.valid or self.test) and self.by == "block":
            raise UsageError("contigs named for valid or test and a split by block exclude each other; drop one")


def named_splits(plan: SplitPlan, contigs: Mapping[str, int]) -> dict[str, str] | None:
    """Contig -> split where the plan names contigs (under any of their names); None where it names none.

    Raises:
        UsageError: a name that the FASTA lacks, or one in both sets.
    """
    if not (plan.valid or plan.test):
        return None
    splits = dict.fromkeys(contigs, "train")
    for split, names in (("valid", plan.valid), ("test", plan.test)):
        found = match_contigs(dict.fromkeys(names), contigs)
        for name in names:
            if name not in found:
                some = ", ".join(list(contigs)[:8])
                raise UsageError(f"--{split} {name}: the FASTA has no such contig; it has {some}")
            if splits[found[name]] not in ("train", split):
                raise UsageError(f"contig {name} is named for both valid and test; choose one")
            splits[found[name]] = split
    return splits


def by_chromosome(plan: SplitPlan, contigs: Mapping[str, int]) -> bool:
    """Whether whole contigs are divided."""
    if plan.by != "auto" or plan.valid or plan.test:
        return plan.by != "block"
    return len(contigs) >= _FEWEST_CONTIGS and max(contigs.values()) <= _LARGEST_SHARE * sum(contigs.values())


def divide(plan: SplitPlan, units: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], str]:
    """Give every unit a split so that the bases of each come near its fraction.

    Args:
        plan: fractions and seed.
        units: (contig, start) -> bases.

    Returns:
        The same keys -> split. A set with a fraction above 0 gets at least one unit where there are enough of them.
    """
    shares = {"valid": plan.valid_fraction, "test": plan.test_fraction}
    shares["train"] = 1 - sum(shares.values())
    total = sum(units.values())
    missing = {split: shares[split] * total for split in SPLITS}
    given: dict[tuple[str, int], str] = {}
    for unit in sorted(units, key=lambda unit: _shuffled(plan.seed, unit)):
        split = max(SPLITS, key=missing.__getitem__)
        given[unit] = split
        missing[split] -= units[unit]
    for split in ("valid", "test"):
        spare = [unit for unit in given if given[unit] == "train"]
        if shares[split] and split not in given.values() and len(spare) > 1:
            given[min(spare, key=lambda unit: (units[unit], unit))] = split
    return given


def _shuffled(seed: int, unit: tuple[str, int]) -> str:
    return hashlib.sha256(f"{seed}\t{unit[0]}\t{unit[1]}".encode()).hexdigest()


def tile_regions(plan: SplitPlan, contigs: Mapping[str, int], *, length: int, step: int) -> list[Region]:
    """The units of a tiled genome: whole contigs, or blocks that hold a whole number of tiles.

    Args:
        plan: the division.
        contigs: name -> length in bases.
        length, step: of the tiles, in bases.
    """
    if by_chromosome(plan, contigs):
        return [Region(contig, 0, size) for contig, size in contigs.items()]
    block = max(0, -(-(_block_size(contigs) - length) // step)) * step + length
    return [
        Region(contig, start, min(start + block, size))
        for contig, size in contigs.items()
        for start in range(0, size, block)
    ]


def split_windows(
    plan: SplitPlan, windows: "pd.DataFrame", contigs: Mapping[str, int], *, tiles: bool
) -> "pd.DataFrame":
    """Fill the ``split`` of windows so that no two of different sets overlap, nor any of one locus.

    Args:
        plan: the division.
        windows: as :func:`.intervals.gene_windows` or :func:`.intervals.tile_windows` over :func:`tile_regions` made
            them, with their order and ``locus`` column.
        contigs: name -> length in bases.
        tiles: which of the two.

    Returns:
        A copy with ``split`` filled and without ``locus``.
    """
    windows = windows.copy()
    named = named_splits(plan, contigs)
    if named:
        windows["split"] = windows["contig"].map(named)
        return windows.drop(columns="locus")
    contig, locus = windows["contig"].to_numpy(), windows["locus"].to_numpy()
    if by_chromosome(plan, contigs):
        keys: Iterable[tuple[str, int]] = zip(contig, itertools.repeat(0))
    elif tiles:
        keys = zip(contig, locus.tolist(), strict=True)
    else:
        keys = _gene_units(windows, size=_block_size(contigs))
    numbers: dict[tuple[str, int], int] = {}
    unit = np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int64, len(windows))
    bases = np.bincount(unit, weights=windows["end"] - windows["start"]).astype(int).tolist()
    splits = divide(plan, dict(zip(numbers, bases, strict=True)))
    windows["split"] = np.array([splits[key] for key in numbers], object)[unit]
    return windows.drop(columns="locus")


def _block_size(contigs: Mapping[str, int]) -> int:
    return max(1, sum(contigs.values()) // _BLOCKS)


def _gene_units(windows: "pd.DataFrame", *, size: int) -> list[tuple[str, int]]:
    """Unit of each window: the block in which its run of overlapping or touching windows starts.

    The two ends of a gene that spans the origin of a circular contig lie in different runs: their blocks become one.
    """
    columns = (windows[name].tolist() for name in ("contig", "start", "end", "locus"))
    units: list[tuple[str, int]] = []
    contig_before, reached = "", 0
    block_of_locus: dict[int, tuple[str, int]] = {}
    same: dict[tuple[str, int], tuple[str, int]] = {}
    for contig, start, end, locus in zip(*columns, strict=True):
        if contig != contig_before or start > reached:
            unit = (contig, start // size)
            contig_before, reached = contig, end
        reached = max(end, reached)
        units.append(unit)
        first = block_of_locus.setdefault(locus, unit)
        if first != unit:
            same[unit] = first
    return [same.get(unit, unit) for unit in units]
