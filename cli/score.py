"""``genoconv score-variants``."""

from genoconv.cli import console
from genoconv.cli.options import takes
from genoconv.pipelines.lean import lean_torch
from genoconv.pipelines.outcome import Outcome
from genoconv.pipelines.score.options import ScoreOptions


@takes(ScoreOptions)
def score_variants(options: ScoreOptions) -> Outcome:
    """Annotate each ALT allele in a VCF with its log-likelihood ratio under a model.

    All records are kept, in order, and only INFO changes. It gains
    GCONV_LLR = ln P(alt window) - ln P(ref window), one value per ALT; negative
    means less likely than REF. Alleles that cannot be scored get a dot;
    --explain gives the reason.

    **Examples**

        genoconv score-variants in.vcf.gz -f hg38.fa -m model -o out.vcf.gz

        bcftools view -r chr9 in.bcf | genoconv score-variants - -f hg38.fa -m model

        genoconv score-variants in.vcf -f hg38.fa -m model -w 1024,8192 --tsv t.tsv

        genoconv score-variants in.vcf -f hg38.fa -m model --context gene \\
            --annotation genes.gtf.gz -o out.bcf

        genoconv score-variants in.vcf -f hg38.fa -m model -o 1.bcf --shard 1/2 \\
            --device cuda:0
    """
    lean_torch()
    from genoconv.pipelines.score import run

    try:
        summary = run.score_variants(options)
    except BrokenPipeError:
        # Here, because Typer would turn it into exit code 1.
        raise SystemExit(console.reader_left()) from None
    return Outcome(line=str(summary), counts=summary.counts())
