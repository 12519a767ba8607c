"""What ``genoconv score-variants`` checks about its inputs before the model reads a base."""

import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genoconv.contigs import match_contigs
from genoconv.errors import DataError, UsageError
from genoconv.genome.fasta.access import Fasta
from genoconv.pipelines.lengths import DEFAULT_WINDOW
from genoconv.pipelines.references import GenomeFiles
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.progress import Advance, progress_bar
from genoconv.regions import parse_region
from genoconv.variants.alleles import Status, check_ref
from genoconv.variants.header import contig_lengths, declared
from genoconv.variants.reader import open_variants
from genoconv.variants.records import Record, VariantFile
from genoconv.variants.reference import Reference
from genoconv.variants.selection import FAR, Selection, VcfContigs, merged
from genoconv.variants.survey import Survey, survey
from genoconv.wording import count, listed

if TYPE_CHECKING:
    from genoconv.models.config import ModelConfig

log = logging.getLogger(__name__)

DEFAULT_MAX_INDEL = 50
_MISMATCH_SHARE = 0.1
_MISMATCH_LEAST = 10


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that is read besides the model.

    Attributes:
        source: the VCF.
        reference: the FASTA.
        selection: which records are written and scored.
        survey: what they hold.
        names: contig name of the VCF -> of the FASTA.
    """

    source: VariantFile
    reference: Reference
    selection: Selection
    survey: Survey
    names: dict[str, str]

    def records(self) -> Iterator[Record]:
        """The selected records, in the order of the file."""
        return self.selection.of(self.source.records())


def open_inputs(options: ScoreOptions, genome: GenomeFiles) -> tuple[VariantFile, Reference]:
    """Open the VCF and the FASTA, and log what is unusual about the VCF.

    Raises:
        DataError: one of them is not what it should be.
    """
    source = open_variants(options.vcf, spool_for=next(iter(options.files), None))
    for note in source.notes:
        log.warning("%s: %s", source.name, note)
    return source, Reference(Fasta(genome.fasta))


def read_inputs(options: ScoreOptions, genome: GenomeFiles, source: VariantFile, reference: Reference) -> Inputs:
    """Read all selected records once, match contigs and check that the FASTA is the VCF's assembly.

    Raises:
        UsageError: an invalid region.
        DataError: an input that cannot be used.
    """
    chosen = selection(source, regions=options.regions, regions_file=options.regions_file, pass_only=options.pass_only)
    with progress_bar("Reading variants", unit="records", quiet=options.quiet) as advance:
        records = _counted(chosen.of(source.records()), advance)
        found = survey(records, keys=not source.is_bcf, declared=declared(source.header))
    if not found.records:
        log.warning("%s: no record to write", source.name)
    names = contig_names(source, found, genome=genome, contigs=reference.contigs)
    if options.ref_mismatch == "stop":
        check_assembly(source, found, reference=reference, names=names)
    return Inputs(source, reference, chosen, found, names)


def _counted(records: Iterator[Record], advance: Advance, *, step: int = 1000) -> Iterator[Record]:
    """The same records; ``advance`` is called for every thousand."""
    for number, record in enumerate(records, 1):
        if number % step == 0:
            advance(step)
        yield record


def longest_window(sizes: "ModelConfig") -> int:
    """Bases of the longest window that the model reads; without a limit where its filters are shorter than that."""
    return sys.maxsize if sizes.input_limit is None else sizes.max_bases


def window_widths(windows: tuple[int, ...], *, grid: int | None, sizes: "ModelConfig") -> tuple[tuple[int, int], ...]:
    """Window lengths and the grid of each; by default one window as long as those in training, up to 32,768.

    Args:
        windows, grid: as given.
        sizes: of the model.

    Raises:
        UsageError: longer than the model's length, absurdly short, twice the same, or a grid beyond half a window.
    """
    max_length = longest_window(sizes)
    widths = windows or (min(DEFAULT_WINDOW, sizes.max_bases),)
    for width in widths:
        if not 8 <= width <= max_length:
            raise UsageError(f"--window {width}: this model takes windows of 8 to {max_length:,} bases")
        if grid is not None and not 1 <= grid <= width // 2:
            raise UsageError(f"--grid {grid}: must lie between 1 and half of the window ({width // 2})")
    if len(set(widths)) != len(widths):
        raise UsageError(f"--window {','.join(map(str, widths))}: a length is given twice")
    return tuple((width, grid or max(1, width // 16)) for width in widths)


def longest_allele(wanted: int | None, widths: tuple[tuple[int, int], ...]) -> int:
    """``--max-indel``, by default 50 bases or a quarter of the shortest window.

    Raises:
        UsageError: more than a quarter of the shortest window, which would leave too little of the genome in it.
    """
    limit = min((width // 4 for width, _ in widths), default=None)
    if wanted is None:
        return DEFAULT_MAX_INDEL if limit is None else min(DEFAULT_MAX_INDEL, limit)
    if wanted < 1 or (limit is not None and wanted > limit):
        raise UsageError(f"--max-indel {wanted}: must lie between 1 and a quarter of the shortest window ({limit})")
    return wanted


def selection(
    source: VariantFile, *, regions: tuple[str, ...], regions_file: Path | None, pass_only: bool
) -> Selection:
    """Which records are written and scored.

    Raises:
        UsageError: an invalid region.
        DataError: a malformed BED file.
    """
    if not regions and regions_file is None:
        return Selection(pass_only=pass_only)
    contigs = VcfContigs(source)
    named = [parse_region(region, contigs=contigs, source="the VCF") for region in regions]
    spans = [(region.contig, region.start, FAR if region.end is None else region.end) for region in named]
    if regions_file is not None:
        from genoconv.genome.windows.intervals import read_bed

        bed = read_bed(regions_file)
        names = {str(name): contigs.find(str(name)) for name in bed["contig"].unique()}
        absent = [name for name, found in names.items() if found is None]
        if absent:
            log.warning("%s: the VCF has no contig %s", regions_file, listed(absent))
        spans += [
            (found, int(start), int(end))
            for contig, start, end in zip(bed["contig"], bed["start"], bed["end"], strict=True)
            if (found := names[str(contig)]) is not None
        ]
    return Selection(pass_only=pass_only, regions=merged(spans))


def contig_names(
    source: VariantFile, found: Survey, *, genome: GenomeFiles, contigs: Mapping[str, int]
) -> dict[str, str]:
    """Contig name of the VCF -> of the FASTA, for those that both have.

    Raises:
        DataError: there is something to score, and none of the contigs is in the FASTA.
    """
    lengths = contig_lengths(source.header)
    used = {name: lengths.get(name) for name in found.contigs}
    names = dict(match_contigs(used, contigs, aliases=genome.aliases))
    if found.sites and not names:
        raise DataError(
            f"{source.name} and {genome.fasta} have no contig in common: the VCF has {_named(used)}; "
            f"the FASTA has {_named(contigs)}; is it another assembly?"
        )
    absent = {name: length for name, length in used.items() if name not in names}
    if absent:
        log.warning(
            "%s: records on %s are not scored, because these are missing from %s: %s",
            source.name,
            count(len(absent), "contig"),
            genome.fasta,
            _named(absent),
        )
    return names


def check_assembly(source: VariantFile, found: Survey, *, reference: Reference, names: Mapping[str, str]) -> None:
    """Hold the REF of the first 1,000 scorable records against the FASTA.

    Raises:
        DataError: more than 10 % of them (and at least 10) disagree, as happens with another assembly.
    """
    sites = [site for site in found.sites if site.contig in names]
    wrong = [
        site
        for site in sites
        if check_ref(site.ref, reference.tokens(names[site.contig], site.start, site.start + len(site.ref)))
        == Status.REF_MISMATCH
    ]
    if len(wrong) >= _MISMATCH_LEAST and len(wrong) > _MISMATCH_SHARE * len(sites):
        first = wrong[0]
        raise DataError(
            f"{source.name}: REF differs from {reference.fasta.path} in {len(wrong)} of the first {len(sites)} records "
            f"(first: {first.contig}:{first.start + 1} {first.ref[:20]}): this looks like another assembly; "
            "give the FASTA that the variants were called on, or --ref-mismatch skip to leave such records unscored"
        )


def _named(contigs: Mapping[str, int | None], limit: int = 6) -> str:
    return listed((f"{name} ({length:,} bp)" if length else name for name, length in contigs.items()), limit=limit)
