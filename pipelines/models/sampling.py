"""A model beside a genome, ready to score random samples of it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genoconv.errors import DataError
from genoconv.genome.fasta.digests import SequencesDigest
from genoconv.pipelines.forecast import speed
from genoconv.pipelines.models.options import CalibrateOptions
from genoconv.pipelines.provenance import file_name
from genoconv.pipelines.scan.geometry import Geometry, geometry
from genoconv.pipelines.score.inputs import longest_allele, window_widths
from genoconv.progress import Advance, progress_bar
from genoconv.tasks.comparison import Reduce
from genoconv.tasks.likelihood import CausalLikelihood
from genoconv.tasks.planning import Settings
from genoconv.tasks.samples import (
    Places,
    Sample,
    random_variants,
    scan_sample,
    score_sample,
    spread,
    usable_places,
)
from genoconv.tasks.scan import Scanner
from genoconv.tasks.score import VariantScorer
from genoconv.variants.records import Record
from genoconv.variants.reference import Reference
from genoconv.wording import count

if TYPE_CHECKING:
    from genoconv.models.hyena import HyenaDNA

log = logging.getLogger(__name__)

# Digests of sequences that are kept, to recognise the genome: those of the longest contigs.
_CONTIGS_KEPT = 200
_MEASURED_TILES, _MEASURED_VARIANTS = 256, 64


@dataclass(frozen=True)
class Sampling:
    """Made by :meth:`prepare`.

    Attributes:
        options: the window, the seed and the batch size count; how much is sampled does not.
        genome: what the genome is, for the record.
        places: where it can be sampled.
    """

    options: CalibrateOptions
    model: "HyenaDNA"
    reference: Reference
    laid: Geometry
    genome: dict[str, Any]
    places: Places

    @classmethod
    def prepare(cls, options: CalibrateOptions, model: "HyenaDNA", reference: Reference) -> "Sampling":
        """Read the genome once.

        Raises:
            UsageError: a window that the model does not read.
            DataError: the genome holds hardly any known bases.
        """
        laid = geometry(model.config, window=options.window)
        scanner = laid.scanner(model, reference, batch_size=options.batch_size)
        genome, places = _read_genome(options, scanner)
        return cls(options, model, reference, laid, genome, places)

    @cached_property
    def width(self) -> tuple[int, int]:
        """The window of score-variants and its grid."""
        window = self.options.window
        [width] = window_widths(() if window is None else (window,), grid=None, sizes=self.model.config)
        return width

    def tiles(self, positions: int) -> list[int]:
        """Numbers of the places that hold about so many positions together, or of all."""
        return spread(len(self.places), -(-positions // self.laid.step), seed=self.options.seed)

    def positions(self, numbers: Sequence[int]) -> int:
        """Positions of these places."""
        return int((self.places.end[numbers] - self.places.start[numbers]).sum())

    def scan(self, numbers: Sequence[int], *, advance: Advance = lambda _: None) -> Sample:
        """The three SNVs of every position of these places."""
        return scan_sample(self.places, numbers, advance=advance)

    def variants(self, count: int) -> list[tuple[Record, int]]:
        """``count`` random SNVs and as many random insertions and deletions."""
        longest = longest_allele(None, (self.width,))
        seed = self.options.seed + 1
        return list(random_variants(self.places, count=count, longest=longest, grid=self.width[1], seed=seed))

    def score(
        self, variants: Sequence[tuple[Record, int]], reduce: Reduce, *, advance: Advance = lambda _: None
    ) -> tuple[Sample, Sample]:
        """Their scores by the path of score-variants; also divided by the bases of the window."""
        return score_sample(self._scorer(reduce), variants, advance=advance)

    def scan_speed(self, *, seconds: float) -> float | None:
        """Positions per second, measured for about so long."""
        some = self.tiles(_MEASURED_TILES * self.laid.step)

        def work(items: int) -> float:
            self.scan(some[:items])
            return self.positions(some[:items])

        return speed(work, available=len(some), enough=seconds)

    def score_speed(self, *, seconds: float) -> float | None:
        """Variants per second by the path of score-variants, measured for about so long."""
        some = self.variants(_MEASURED_VARIANTS)

        def work(items: int) -> float:
            self.score(some[:items], Reduce.SUM)
            return items

        return speed(work, available=len(some), enough=seconds)

    def _scorer(self, reduce: Reduce) -> VariantScorer:
        length, grid = self.width
        settings = Settings(
            widths=(length,),
            grid=(grid,),
            max_length=self.model.config.max_bases,
            reduce=reduce,
            max_indel=longest_allele(None, (self.width,)),
        )
        likelihood = CausalLikelihood(
            self.model,
            device=next(self.model.parameters()).device,
            starts=settings.starts,
            max_length=settings.max_length,
            batch_size=self.options.batch_size,
        )
        names = {contig: contig for contig in self.reference.contigs}
        return VariantScorer(likelihood, reference=self.reference, names=names, settings=settings)


def _read_genome(options: CalibrateOptions, scanner: Scanner) -> tuple[dict[str, Any], Places]:
    """What the genome is, and where it can be sampled.

    Raises:
        DataError: nowhere.
    """
    reference = scanner.reference
    name = file_name(Path(reference.fasta.path))
    digest, kept = SequencesDigest(), {}
    with progress_bar(
        "Reading the genome", total=2 * sum(reference.contigs.values()), unit="bases", quiet=options.quiet
    ) as advance:
        for contig, length in reference.contigs.items():
            kept[contig] = reference.fasta.digest(contig)
            digest.add(contig, kept[contig])
            advance(length)
        places = usable_places(scanner, advance=advance)
    if not len(places):
        raise DataError(f"{reference.fasta.path}: no stretch of sequence with mostly A, C, G, T to sample")
    _say_coverage(places)
    longest = sorted(kept, key=lambda contig: -reference.contigs[contig])[:_CONTIGS_KEPT]
    return {"name": name, "sha256": digest.hexdigest(), "md5": [kept[contig] for contig in longest]}, places


def _say_coverage(places: Places) -> None:
    total = sum(places.scanner.reference.contigs.values())
    usable = int((places.end - places.start).sum())
    log.info(
        "sampling %s of %s bases on %s; mostly unknown stretches are skipped, soft-masked bases are not",
        f"{usable:,}",
        f"{total:,}",
        count(len(set(places.contig.tolist())), "contig"),
    )
