"""``genoconv plan``."""

from genoconv.cli import console
from genoconv.cli.options import takes
from genoconv.pipelines.outcome import Outcome
from genoconv.pipelines.plan.options import PlanOptions


@takes(PlanOptions)
def plan(options: PlanOptions) -> Outcome:
    """Predict memory and time of a model on any GPU, present or not.

    Prints what one forward pass, or one training step, should take, whether it fits,
    and what would make it smaller. Nothing is run.

    **Examples**

        genoconv plan --length 2.4m --preset gene-4m --gpu h200

        genoconv plan --length 450k --preset medium-450k --train --gpu a100

        genoconv plan --length 2.4m --filter-length 32k --train --gpu rtx4090
    """
    from genoconv.pipelines.plan import run

    found = run.plan(options)
    console.data(f"{found}\n")
    return Outcome(result=found.figures())
