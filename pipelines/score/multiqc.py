"""What MultiQC shows of scored variants: alleles by status, and the distribution of the scores."""

from pathlib import Path

from genoconv.atomic import refuse_existing, refuse_unwritable
from genoconv.pipelines.multiqc import write_bars, write_lines
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.pipelines.score.summary import BIN, Summary
from genoconv.variants.alleles import Status


def multiqc_files(options: ScoreOptions) -> tuple[str, list[Path]]:
    """The sample's name and the files for it: status, scores; no files where none are wanted.

    Raises:
        OutputError: one exists, and may not be replaced, or their folder cannot be written.
    """
    named = next(iter(options.files), options.vcf)
    sample = named.name.removesuffix(".gz").rpartition(".")[0] or named.name
    if options.multiqc is None:
        return sample, []
    files = [options.multiqc / f"{sample}_status_mqc.tsv", options.multiqc / f"{sample}_scores_mqc.yaml"]
    for path in files:
        refuse_existing(path, force=options.force)
    refuse_unwritable(files[0])
    return sample, files


def write_multiqc(sample: str, files: list[Path], summary: Summary) -> None:
    """Write the tables of a finished run.

    Raises:
        OutputError: they cannot be written.
    """
    if not files:
        return
    status, scores = files
    counts = {str(kind): summary.alleles[kind] for kind in Status if kind == Status.OK or summary.alleles[kind]}
    write_bars(
        status,
        section="Alleles by status",
        description="ALT alleles with a score (ok), and the others by the reason why they have none.",
        sample=sample,
        counts=counts,
    )
    write_lines(
        scores,
        section="Variant scores",
        description=f"Scored alleles by log-likelihood ratio, in bins of {BIN} nats; the outer bins include all lower"
        " and higher scores.",
        axes=("GCONV_LLR (nats)", "alleles"),
        lines={sample: {BIN * number: summary.histogram[number] for number in summary.bins()}},
    )
