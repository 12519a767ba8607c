"""``genoconv scan``."""

from genoconv.cli.options import takes
from genoconv.pipelines.lean import lean_torch
from genoconv.pipelines.outcome import Outcome
from genoconv.pipelines.scan.options import ScanOptions


@takes(ScanOptions)
def scan(options: ScanOptions) -> Outcome:
    """Score every possible SNV of a genome, a region or genes in one pass per strand.

    For each position, the output has ln P(alt) - ln P(ref) for the three other
    bases, given the sequence before it, on each strand and averaged; the entropy
    of the prediction in bits; and ln P(ref). Negative scores mean less likely
    than the reference. Positions where the reference is N have no score.

    **Examples**

        genoconv scan hg38.fa -m model -r chr9:21967752-21995324 -o cdkn2a.tsv.gz

        genoconv scan --genome sacCer3 -m runs/yeast -o yeast.bw

        genoconv scan hg38.fa -m model --genes genes.gtf.gz -o genes.vcf.gz

        genoconv scan hg38.fa -m model -o scores.npy --shard 1/8 --device cuda:0
    """
    lean_torch()
    from genoconv.pipelines.scan import run

    summary = run.scan(options)
    return Outcome(line=str(summary), counts=summary.counts(), outputs={"output": summary.files})
