"""What the header of a scored VCF says about how its numbers came about."""

from collections.abc import Mapping

from genoconv import __version__
from genoconv.genome.fasta.digests import SequencesDigest
from genoconv.models.checkpoint import file_digest
from genoconv.pipelines.provenance import file_name, recorded_command
from genoconv.pipelines.score.cautions import cautions
from genoconv.pipelines.score.plan import ScoreRun
from genoconv.progress import progress_bar
from genoconv.tasks.score import Settings, Strand
from genoconv.variants.reference import Reference

_GENE_STRANDS = {Strand.FORWARD: "gene", Strand.REVERSE: "opposite", Strand.BOTH: "both"}


def header_lines(
    run: ScoreRun, settings: Settings, names: Mapping[str, str], reference: Reference
) -> tuple[dict[str, str], list[str]]:
    """Header lines by key, which a resumed run must have in common too, and reasons to doubt the scores."""
    from genoconv.models import model_digest

    sequences = _digests(run, names, reference)
    lines = {
        "genoconvVersion": __version__,
        "genoconvCommand": _command(run),
        "genoconvModel": f"name={file_name(run.model)};sha256={model_digest(run.model)}",
        "genoconvReference": f"name={file_name(run.fasta)};sha256={_digest(sequences)}",
    }
    if run.annotation is not None:
        lines["genoconvAnnotation"] = f"name={file_name(run.annotation)};sha256={file_digest(run.annotation)}"
    found = cautions(run.model, reference=sequences, fasta=run.fasta)
    if found:
        lines["genoconvCaution"] = "; ".join(found)
    where = "gene" if settings.gene else ",".join(map(str, settings.widths))
    strand = _GENE_STRANDS[settings.strand] if settings.gene else settings.strand
    lines["genoconvScore"] = (
        f"prefix={run.info_prefix};window={where};grid={','.join(map(str, settings.grid))};reduce={settings.reduce};"
        f"strand={strand};max_indel={settings.max_indel};sign=negative means less likely than REF"
    )
    return lines, found


def _command(run: ScoreRun) -> str:
    return recorded_command(
        "score-variants",
        {
            "vcf": run.vcf,
            "--fasta": run.fasta,
            "--model": run.model,
            "--window": ",".join(map(str, run.windows)) or None,
            "--grid": run.grid,
            "--reduce": run.reduce,
            "--strand": run.strand,
            "--context": run.context,
            "--annotation": run.annotation,
            "--max-indel": run.max_indel,
            "--region": run.regions,
            "--regions-file": run.regions_file,
            "--pass-only": run.pass_only,
            "--ref-mismatch": run.ref_mismatch,
            "--explain": run.explain,
            "--info-prefix": run.info_prefix,
            "--precision": run.precision,
        },
    )


def _digests(run: ScoreRun, names: Mapping[str, str], reference: Reference) -> dict[str, str]:
    """MD5 of each sequence in use, in the order of the FASTA."""
    used = [contig for contig in reference.contigs if contig in set(names.values())]
    total = sum(reference.contigs[contig] for contig in used)
    digests = {}
    with progress_bar("Reading the reference", total=total, unit="bases", quiet=run.quiet) as advance:
        for contig in used:
            digests[contig] = reference.fasta.digest(contig)
            advance(reference.contigs[contig])
    return digests


def _digest(sequences: Mapping[str, str]) -> str:
    digest = SequencesDigest()
    for name, md5 in sequences.items():
        digest.add(name, md5)
    return digest.hexdigest()
