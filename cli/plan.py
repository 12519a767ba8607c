"""``genoconv plan``."""

from genoconv.cli import console
from genoconv.cli.options import takes
from genoconv.pipelines.outcome import Outcome
from genoconv.pipelines.plan.options import PlanOptions


@takes(PlanOptions)
def plan(options: PlanOptions) -> Outcome:
    """Predict the memory and time that a model needs on any GPU, without running it.

    Prints the memory and time of one forward pass or training step, whether it fits
    on the GPU, and what would reduce it. The GPU need not be in this machine.

    **Examples**

        genoconv plan --length 2.4m --preset gene-4m --gpu h200

        genoconv plan --length 450k --preset medium-450k --train --gpu a100

        genoconv plan --length 2.4m --filter-length 32k --train --gpu rtx4090
    """
    from genoconv.pipelines.plan import run

    found = run.plan(options)
    console.data(f"{found}\n")
    return Outcome(result=found.figures())
