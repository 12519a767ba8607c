"""``genoconv embed``."""

from genoconv.cli.options import takes
from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.pipelines.lean import lean_torch
from genoconv.pipelines.outcome import Outcome


@takes(EmbedOptions)
def embed(options: EmbedOptions) -> Outcome:
    """Embed DNA: turn each sequence into a vector, pooled from the states of a model.

    Rows are in input order, with name, start, end (0-based, half-open) and strand. Sequences longer than the model's
    maximum length are read in parts. The output records the model and the genome that it was made from.

    **Examples**

        genoconv embed promoters.fa.gz -m model -o promoters.npz

        genoconv embed hg38.fa -m model --bed peaks.bed -o peaks.h5ad

        genoconv embed chr22.fa -m model --window 1024 --stride 512 -o chr22.npy

        zcat reads.fa.gz | genoconv embed - -m model --strand both -o r.parquet
    """
    lean_torch()
    from genoconv.pipelines.embed import run
    from genoconv.pipelines.embed.formats import files_of
    from genoconv.pipelines.forecast import Forecast

    summary = run.embed(options)
    files = [] if options.dry_run else files_of(options.output)
    figures = summary.counts() if isinstance(summary, Forecast) else summary.figures()
    return Outcome(line=str(summary), counts=figures, outputs={"output": files})
