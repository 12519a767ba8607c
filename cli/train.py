"""``genoconv train``."""

from genoconv.cli import console
from genoconv.cli.options import takes_call
from genoconv.pipelines.outcome import Outcome
from genoconv.pipelines.resolve import Call
from genoconv.pipelines.train.options import TrainOptions


@takes_call(TrainOptions)
def train(call: Call[TrainOptions]) -> Outcome:
    """Train a HyenaDNA-style model on the genes of a genome, or on tiles.

    Without arguments, train a small model on the built-in synthetic genome in about two minutes on two cores. Ctrl-C
    saves a checkpoint, and --resume continues from it exactly.

    **Examples**

        genoconv train

        genoconv train -f yeast.fa.gz -a yeast.gff3.gz --max-minutes 3 \\
            -o runs/yeast

        genoconv train --genome hg38 --genes --preset medium-450k \\
            --max-steps 20000 -o runs/genes

        genoconv train -f yeast.fa.gz --windows yeast.bed -o runs/chosen

        genoconv train -f human.fa.gz -f mouse.fa.gz -a human.gtf -a mouse.gtf

        genoconv train --resume runs/genes
    """
    from genoconv.pipelines.train import run

    if call.print_config:
        text = run.printed(call)
        console.data(text)
        return Outcome(result={"config": text})
    return run.run(call)
