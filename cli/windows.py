"""``genoconv windows``."""

from genoconv.cli.options import takes
from genoconv.pipelines.outcome import Outcome
from genoconv.pipelines.windows.options import WindowsOptions


@takes(WindowsOptions)
def windows(options: WindowsOptions) -> Outcome:
    """Cut a genome into the windows that a model trains on: whole genes, or tiles.

    Coordinates are 0-based and half-open. The train, valid and test sets never share a base: overlapping genes stay
    together. The same seed gives the same file.

    **Examples**

        genoconv windows -f yeast.fa.gz -a yeast.gff3.gz -o yeast.bed

        genoconv windows --genome hg38 --flank 2000 -l 450000 \\
            --biotype protein_coding --valid chr9 --test chr22 -o genes.tsv

        genoconv windows -f ecoli.fa --tiles -l 8192 --seed 1 > tiles.bed
    """
    from genoconv.pipelines.windows import run

    return run.windows(options)
