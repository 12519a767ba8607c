"""``genoconv predict``."""

from genoconv.cli.options import takes
from genoconv.pipelines.outcome import Outcome
from genoconv.pipelines.predict.options import PredictOptions


@takes(PredictOptions)
def predict(options: PredictOptions) -> Outcome:
    """Apply a fine-tuned model to sequences, intervals or windows of a genome.

    Rows are in input order, and no prediction depends on the other sequences in the input. Sequences longer than the
    model's maximum length are read in parts.

    **Examples**

        genoconv predict new.fa -m runs/promoters -o new.tsv

        genoconv predict peaks.bed -f hg38.fa -m runs/peaks -o peaks.parquet

        genoconv predict chr22.fa -m runs/promoters --window 251 --stride 50 \\
            -o chr22.bw
    """
    from genoconv.pipelines.predict import run

    summary = run.predict(options)
    return Outcome(line=str(summary), counts=summary.figures(), outputs={"output": summary.files})
