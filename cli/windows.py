"""``genoconv windows``."""

from genoconv.cli.options import takes
from genoconv.pipelines.outcome import Outcome
from genoconv.pipelines.windows.options import WindowsOptions


@takes(WindowsOptions)
def windows(options: WindowsOptions) -> Outcome:
    """Write the windows that a model learns from: whole genes, or tiles over the genome.

    Rows are 0-based and half-open. Windows of train, valid and test never share a base: overlapping genes stay
    together. The same seed gives the same file.

    **Examples**

        genoconv windows -f yeast.fa.gz -a yeast.gff3.gz -o yeast.bed

        genoconv windows --genome hg38 --flank 2000 -l 450000 \\
            --biotype protein_coding --valid chr9 --test chr22 -o genes.tsv

        genoconv windows -f ecoli.fa --tiles -l 8192 --seed 1 > tiles.bed
    """
    from genoconv.pipelines.windows import run

    return run.windows(options)
