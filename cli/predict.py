"""``genoconv predict``."""

from genoconv.cli.options import takes
from genoconv.pipelines.outcome import Outcome
from genoconv.pipelines.predict.options import PredictOptions


@takes(PredictOptions)
def predict(options: PredictOptions) -> Outcome:
    """Predict labels or values with a fine-tuned model, for records, intervals or windows of a genome.

    Rows come in the input's order, each once, and do not depend on what else is read. Sequences longer than the
    model reads at once are read in parts.

    **Examples**

        genoconv predict new.fa -m runs/promoters -o new.tsv

        genoconv predict peaks.bed -f hg38.fa -m runs/peaks -o peaks.parquet

        genoconv predict chr22.fa -m runs/promoters --window 251 --stride 50 \\
            -o chr22.bw
    """
    from genoconv.pipelines.predict import run

    summary = run.predict(options)
    return Outcome(line=str(summary), counts=summary.figures(), outputs={"output": summary.files})
