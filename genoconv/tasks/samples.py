"""Random variants spread over a genome, and their scores: what a calibration is made of.

Everything follows from a seed: which tiles of the scan grid are read, and where random insertions and deletions lie.
Contigs take part in proportion to their bases. Tiles of which more than half is unknown are not drawn; soft-masked
bases are bases like any other.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genoconv.tasks.batching import fetching
from genoconv.tasks.comparison import Advance
from genoconv.tasks.likelihood import scored
from genoconv.tasks.likeness import DELETION, INSERTION, LENGTHS, Ids, snv_classes, surroundings
from genoconv.tasks.scan import N_RICH, NotFiniteError, Scanner
from genoconv.tasks.score import VariantScorer
from genoconv.tasks.tiling import Tile
from genoconv.tokens import A, T, decode
from genoconv.variants.alleles import trimmed
from genoconv.variants.records import Record
from genoconv.variants.reference import Reference
from genoconv.variants.windows import grid_window

_TILES_AT_ONCE = 64
_RECORDS_AT_ONCE = 256
_BLOCK = 1 << 22
_PER_PLACE = 4
"""Random variants that share a place, and so a pass over the reference."""


@dataclass(frozen=True)
class Sample:
    """Variants with their scores.

    Attributes:
        classes: the finest class of each, (n,); -1 is none.
        scores: in nats, (n,) float32.
    """

    classes: Ids
    scores: npt.NDArray[np.float32]

    def joined(self, other: "Sample") -> "Sample":
        """Both, this one first."""
        return Sample(np.concatenate([self.classes, other.classes]), np.concatenate([self.scores, other.scores]))


@dataclass(frozen=True)
class Places:
    """Tiles of a genome that can be drawn, by number.

    Attributes:
        scanner: whose grid they are of.
        contigs: names.
        contig, start, end: index into ``contigs``, and 0-based half-open positions; each (n,).
    """

    scanner: Scanner
    contigs: Sequence[str]
    contig: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.contig)

    def tile(self, number: int) -> Tile:
        """One of them."""
        contig = self.contigs[self.contig[number]]
        [tile] = self.scanner.tiles(contig, int(self.start[number]), int(self.end[number]))
        return tile


def usable_places(scanner: Scanner, *, advance: Advance) -> Places:
    """The whole tiles of a genome of which at least half is A, C, G or T; all tiles of contigs without a whole one.

    ``advance`` is called with the bases that were looked at.
    """
    contigs = list(scanner.reference.contigs)
    found: list[npt.NDArray[np.int64]] = []
    for index, contig in enumerate(contigs):
        starts, ends = _tiles(scanner, contig)
        known = _known_bases(scanner.reference, contig, starts, ends)
        kept = known >= np.maximum((1 - N_RICH) * (ends - starts), 1)
        found.append(np.stack([np.full(int(kept.sum()), index), starts[kept], ends[kept]]))
        advance(scanner.reference.contigs[contig])
    return Places(scanner, contigs, *np.concatenate([np.empty((3, 0), np.int64), *found], axis=1))


def _tiles(scanner: Scanner, contig: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    length, step = scanner.reference.contigs[contig], scanner.step
    starts = np.arange(step // 2, length - step + 1, step, dtype=np.int64)
    if len(starts):
        return starts, starts + step
    starts, ends, *_ = scanner.tiles(contig, 0, length).places.T
    return starts, ends


def _known_bases(
    reference: Reference, contig: str, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """How many bases of each tile are A, C, G or T; tiles adjoin each other in ascending order."""
    counts = np.zeros(len(starts), np.int64)
    at_once = max(1, _BLOCK // int((ends - starts).max(initial=1)))
    for first in range(0, len(starts), at_once):
        part = slice(first, first + at_once)
        tokens = reference.fasta.tokens(contig, int(starts[part][0]), int(ends[part][-1]))
        known = (tokens >= A) & (tokens <= T)
        counts[part] = np.add.reduceat(known.astype(np.int64), starts[part] - starts[part][0])
    return counts


def spread(count: int, wanted: int, *, seed: int) -> list[int]:
    """``wanted`` of the numbers below ``count``, ascending, one at random from each of as many equal parts."""
    if wanted >= count:
        return list(range(count))
    borders = np.linspace(0, count, wanted + 1).astype(np.int64)
    return [int(one) for one in np.random.default_rng(seed).integers(borders[:-1], borders[1:])]


def scan_sample(places: Places, numbers: Sequence[int], *, advance: Advance) -> Sample:
    """The three SNVs of every position of these tiles; ``advance`` is called with the positions just read."""
    classes: list[Ids] = [np.empty(0, np.int32)]
    scores: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)]
    scanner = places.scanner
    for first in range(0, len(numbers), _TILES_AT_ONCE):
        tiles = [places.tile(number) for number in numbers[first : first + _TILES_AT_ONCE]]
        parts = scanner.read(tiles, take=lambda one: fetching(one.scores), advance=advance)
        found = np.concatenate(parts)
        around = [surroundings(scanner.reference, tile.contig, tile.start, tile.end) for tile in tiles]
        ids = np.concatenate([snv_classes(tokens)[0] for tokens in around])
        kept = (ids >= 0) & ~np.isnan(found)
        classes.append(ids[kept])
        scores.append(found[kept])
    return Sample(np.concatenate(classes), np.concatenate(scores))


def random_variants(places: Places, *, count: int, longest: int, grid: int, seed: int) -> Iterator[tuple[Record, int]]:
    """``count`` random SNVs and as many random insertions and deletions, each with its finest class.

    Lengths are drawn alike from the classes of :data:`genoconv.tasks.likeness.LENGTHS` that end at ``longest`` or
    before; inserted bases are random. There are fewer where a genome has hardly any known bases.
    """
    rng = np.random.default_rng(seed)
    reference = places.scanner.reference
    fitting = [at for at, (_, most) in enumerate(LENGTHS) if most <= longest]
    kinds = [first + at for at in fitting for first in (INSERTION, DELETION)]
    wanted = [count, count if kinds else 0]
    before = -1
    while sum(wanted) not in (0, before):  # until there are enough, or a whole round has found none
        before = sum(wanted)
        for number in spread(len(places), math.ceil(before / _PER_PLACE), seed=int(rng.integers(1 << 32))):
            tile = places.tile(number)
            first = max(0, int(rng.integers(tile.start, tile.end)) // grid * grid - grid // 2)
            for position in np.sort(rng.integers(first, first + grid, _PER_PLACE)).tolist():
                around = decode(reference.tokens(tile.contig, position, position + longest + 2))
                kind = int(wanted[1] > wanted[0])
                if not wanted[kind] or len(around) < longest + 2 or not set(around) <= set("ACGT"):
                    continue
                wanted[kind] -= 1
                if kind:
                    yield _random_indel(rng, tile.contig, position, around, kinds[wanted[1] % len(kinds)])
                else:
                    yield _random_snv(rng, reference, tile.contig, position, around[0])


def _random_snv(
    rng: np.random.Generator, reference: Reference, contig: str, position: int, base: str
) -> tuple[Record, int]:
    alt = "ACGT".replace(base, "")[int(rng.integers(3))]
    ids = snv_classes(surroundings(reference, contig, position, position + 1))
    return Record(contig, position, base, (alt,), ""), int(ids[0, 0, "ACGT".index(alt)])


def _random_indel(rng: np.random.Generator, contig: str, position: int, around: str, class_: int) -> tuple[Record, int]:
    least, most = LENGTHS[(class_ - INSERTION) % len(LENGTHS)]
    length = int(rng.integers(least, most + 1))
    inserted = around[0] + "".join("ACGT"[int(one)] for one in rng.integers(0, 4, length))
    ref, alt = (around[0], inserted) if class_ < DELETION else (around[: length + 1], around[0])
    return Record(contig, position, ref, (alt,), ""), class_


def score_sample(
    scorer: VariantScorer, variants: Sequence[tuple[Record, int]], *, advance: Advance
) -> tuple[Sample, Sample]:
    """Scores of random variants by the path of ``score-variants``; also divided by the bases of the window.

    Raises:
        NotFiniteError: a score is not finite.
    """
    classes: list[int] = []
    values: list[float] = []
    per_base: list[float] = []
    for first in range(0, len(variants), _RECORDS_AT_ONCE):
        part = variants[first : first + _RECORDS_AT_ONCE]
        found = scorer.score([record for record, _ in part], advance=advance)
        for (record, class_), [[score]] in zip(part, found, strict=True):
            if score.llr is None:
                continue
            if not math.isfinite(score.llr):
                place = f"{record.contig}:{record.start + 1}"
                raise NotFiniteError(f"score of a random variant is not finite (at {place})")
            classes.append(class_)
            values.append(score.llr)
            per_base.append(score.llr / _bases(scorer, record))
    ids = np.array(classes, np.int32)
    return Sample(ids, np.array(values, np.float32)), Sample(ids, np.array(per_base, np.float32))


def _bases(scorer: VariantScorer, record: Record) -> int:
    """Bases that count in the reference window of a record."""
    [width], [grid] = scorer.settings.widths, scorer.settings.grid
    start = trimmed(record.start, record.ref, record.alts[0]).start
    window = grid_window(start, contig_length=scorer.reference.contigs[record.contig], width=width, grid=grid)
    return max(1, scored(scorer.reference.tokens(record.contig, window.start, window.end)))


def is_indel(class_: int) -> bool:
    """Whether a class is of insertions or deletions."""
    return class_ >= INSERTION
