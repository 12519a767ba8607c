"""What the header of a scored VCF says about how its numbers came about."""

from collections.abc import Mapping

from genoconv import __version__
from genoconv.digests import file_digest
from genoconv.genome.fasta.digests import digest_of_md5s, md5s_of
from genoconv.pipelines.calibrated import Found, Wanted, find_calibration
from genoconv.pipelines.options import recorded_command
from genoconv.pipelines.provenance import file_name
from genoconv.pipelines.references import GenomeFiles
from genoconv.pipelines.score.cautions import cautions
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.progress import progress_bar
from genoconv.tasks.planning import Settings, Strand
from genoconv.variants.reference import Reference

_GENE_STRANDS = {Strand.FORWARD: "gene", Strand.REVERSE: "opposite", Strand.BOTH: "both"}


def header_lines(
    options: ScoreOptions, genome: GenomeFiles, settings: Settings, names: Mapping[str, str], reference: Reference
) -> tuple[dict[str, str], list[str], Found]:
    """Header lines by key, which a resumed run must have in common too; reasons to doubt them; the calibration."""
    from genoconv.models import model_digest

    sequences = _digests(options, names, reference)
    lines = {
        "genoconvVersion": __version__,
        "genoconvCommand": recorded_command("score-variants", options),
        "genoconvModel": f"name={file_name(options.model)};sha256={model_digest(options.model)}",
        "genoconvReference": f"name={file_name(genome.fasta)};sha256={digest_of_md5s(sequences)}",
    }
    if settings.gene and genome.annotation is not None:
        lines["genoconvAnnotation"] = f"name={file_name(genome.annotation)};sha256={file_digest(genome.annotation)}"
    found = cautions(options.model, reference=sequences, fasta=genome.fasta)
    if found:
        lines["genoconvCaution"] = "; ".join(found)
    where = "gene" if settings.gene else ",".join(map(str, settings.widths))
    strand = _GENE_STRANDS[settings.strand] if settings.gene else settings.strand
    grid = ",".join(map(str, settings.grid))
    widths = () if settings.gene else settings.widths
    wanted = Wanted(settings.reduce, settings.strand, widths)
    calibration = find_calibration(options.model, wanted, reference=sequences.values(), fasta=genome.fasta)
    if calibration:
        lines["genoconvCalibration"] = calibration.line
    # The last line: it ends what a later run replaces.
    lines["genoconvScore"] = (
        f"prefix={options.info_prefix};window={where};grid={grid};reduce={settings.reduce};strand={strand};"
        f"max_indel={settings.max_indel};sign=negative means less likely than REF"
    )
    return lines, found, calibration


def _digests(options: ScoreOptions, names: Mapping[str, str], reference: Reference) -> dict[str, str]:
    """MD5 of each sequence in use, in the order of the FASTA."""
    used = set(names.values())
    total = sum(reference.contigs[contig] for contig in used)
    with progress_bar("Reading the reference", total=total, unit="bases", quiet=options.quiet) as advance:
        return md5s_of(reference.fasta, used, advance=advance)
