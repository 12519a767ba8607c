"""What ``genoconv score-variants`` checks about its inputs before the model reads a base."""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genoconv.errors import DataError, UsageError
from genoconv.genome.contigs import match_contigs
from genoconv.genome.fasta.access import Fasta
from genoconv.progress import Advance, progress_bar
from genoconv.variants.alleles import Status, check_ref
from genoconv.variants.header import contig_lengths
from genoconv.variants.reader import Record, VariantFile, open_variants
from genoconv.variants.reference import Reference
from genoconv.variants.selection import Selection, VcfContigs, merged, parse_region
from genoconv.variants.survey import Survey, survey

if TYPE_CHECKING:
    from genoconv.pipelines.score.plan import ScoreRun

log = logging.getLogger(__name__)

DEFAULT_WINDOW = 32_768
DEFAULT_MAX_INDEL = 50
_MISMATCH_SHARE = 0.1
_MISMATCH_LEAST = 10
_LONGEST_NUMBER = 9


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


def open_inputs(run: "ScoreRun") -> tuple[VariantFile, Reference]:
    """Open the VCF and the FASTA, and log what is unusual about the VCF.

    Raises:
        DataError: one of them is not what it should be.
    """
    output = next((path for path in (run.output, run.tsv) if path is not None and str(path) != "-"), None)
    source = open_variants(run.vcf, spool_for=output)
    for note in source.notes:
        log.warning("%s: %s", source.name, note)
    return source, Reference(Fasta(run.fasta))


def read_inputs(run: "ScoreRun", source: VariantFile, reference: Reference) -> Inputs:
    """Read all selected records once, match contigs and check that the FASTA is the VCF's assembly.

    Raises:
        UsageError: an invalid region.
        DataError: an input that cannot be used.
    """
    chosen = selection(source, regions=run.regions, regions_file=run.regions_file, pass_only=run.pass_only)
    with progress_bar("Reading variants", unit="records", quiet=run.quiet) as advance:
        found = survey(_counted(chosen.of(source.records()), advance), keys=not source.is_bcf)
    if not found.records:
        log.warning("%s: no record to write", source.name)
    names = contig_names(source, found, fasta=run.fasta, contigs=reference.contigs)
    if run.ref_mismatch == "stop":
        check_assembly(source, found, reference=reference, names=names)
    return Inputs(source, reference, chosen, found, names)


def _counted(records: Iterator[Record], advance: Advance, *, step: int = 1000) -> Iterator[Record]:
    """The same records; ``advance`` is called for every thousand."""
    for number, record in enumerate(records, 1):
        if number % step == 0:
            advance(step)
        yield record


def window_widths(
    windows: tuple[int, ...], *, grid: int | None, max_length: int, trained: int
) -> tuple[tuple[int, int], ...]:
    """Window lengths and the grid of each; by default one window as long as those in training, up to 32,768.

    Args:
        windows, grid: as given.
        max_length: longest window that the model reads, in bases.
        trained: longest window that it was trained on.

    Raises:
        UsageError: longer than the model's length, absurdly short, twice the same, or a grid beyond half a window.
    """
    widths = windows or (min(DEFAULT_WINDOW, trained),)
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
    spans = [parse_region(region, contigs=contigs) for region in regions]
    if regions_file is not None:
        from genoconv.genome.windows.intervals import read_bed

        bed = read_bed(regions_file)
        names = {str(name): contigs.find(str(name)) for name in bed["contig"].unique()}
        absent = [name for name, found in names.items() if found is None]
        if absent:
            log.warning("%s: the VCF has no contig %s", regions_file, ", ".join(absent[:5]))
        spans += [
            (found, int(start), int(end))
            for contig, start, end in zip(bed["contig"], bed["start"], bed["end"], strict=True)
            if (found := names[str(contig)]) is not None
        ]
    return Selection(pass_only=pass_only, regions=merged(spans))


def contig_names(source: VariantFile, found: Survey, *, fasta: Path, contigs: Mapping[str, int]) -> dict[str, str]:
    """Contig name of the VCF -> of the FASTA, for those that both have.

    Raises:
        DataError: there is something to score, and none of the contigs is in the FASTA.
    """
    lengths = contig_lengths(source.header)
    used = {name: lengths.get(name) for name in found.contigs}
    names = dict(match_contigs(used, contigs))
    if found.sites and not names:
        raise DataError(
            f"{source.name} and {fasta} have no contig in common: the VCF has {_named(used)}; "
            f"the FASTA has {_named(contigs)}; is it another assembly?"
        )
    absent = {name: length for name, length in used.items() if name not in names}
    if absent:
        log.warning(
            "%s: %d contig(s) are not in %s and their records get no score: %s",
            source.name,
            len(absent),
            fasta,
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
    shown = [f"{name} ({length:,} bp)" if length else name for name, length in list(contigs.items())[:limit]]
    return ", ".join(shown) + (f" and {len(contigs) - limit} more" if len(contigs) > limit else "")


def parse_windows(text: str | None) -> tuple[int, ...]:
    """``--window 1024,8192`` as numbers; empty for None.

    Raises:
        UsageError: not whole numbers.
    """
    if text is None:
        return ()
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) <= _LONGEST_NUMBER for part in parts):
        raise UsageError(f"--window {text[:60]}: give a length in bases, or several with commas: 1024,8192")
    return tuple(map(int, parts))


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """``--shard 2/4`` as (2, 4).

    Raises:
        UsageError: not of that form, or not one of the parts.
    """
    if text is None:
        return None
    which, _, count = text.partition("/")
    numbers = all(part.isascii() and part.isdigit() and len(part) <= _LONGEST_NUMBER for part in (which, count))
    if not (numbers and 1 <= int(which) <= int(count)):
        raise UsageError(f"--shard {text[:60]}: give which part of how many, from 1/4 to 4/4")
    return int(which), int(count)


def check_prefix(prefix: str) -> None:
    """Refuse a prefix that cannot begin an INFO key.

    Raises:
        UsageError: it has other characters than letters, digits, ``_`` and ``.``, or begins with a digit.
    """
    if not re.fullmatch(r"[A-Za-z_][0-9A-Za-z_.]*", prefix):
        raise UsageError(f"--info-prefix {prefix}: INFO keys are letters, digits, _ and . and begin with a letter or _")
