"""``genoconv finetune``."""

from genoconv.cli import console
from genoconv.cli.options import takes_call
from genoconv.pipelines.finetune.options import FinetuneOptions
from genoconv.pipelines.outcome import Outcome
from genoconv.pipelines.resolve import Call


@takes_call(FinetuneOptions)
def finetune(call: Call[FinetuneOptions]) -> Outcome:
    """Fine-tune a model on your own labels: classes, multiple labels or numbers.

    The type of the labels is inferred and printed. The result is a model folder for predict, embed and score-variants,
    with metrics on held-out records. Ctrl-C saves a checkpoint, and --resume continues from it exactly.

    **Examples**

        genoconv finetune promoters.csv -m models/tiny -o runs/promoters

        genoconv finetune peaks.bed -f hg38.fa -m models/small --label 5 \\
            --test chr8 --valid chr9 -o runs/peaks

        genoconv finetune genes.fa --labels expression.tsv -m models/small \\
            --mode full --strand both -o runs/expression

        genoconv finetune --resume runs/promoters
    """
    from genoconv.pipelines.finetune import run

    if call.print_config:
        text = run.printed(call)
        console.data(text)
        return Outcome(result={"config": text})
    return run.run(call)
