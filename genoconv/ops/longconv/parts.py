"""What plans share that cut a row into parts, each of which fits one multiprocessor."""

from dataclasses import dataclass
from functools import cached_property

from genoconv.ops.longconv.one_sm.plan import OneSmPlan, too_many
from genoconv.ops.longconv.plan import Plan
from genoconv.ops.longconv.three_pass.plan import ThreePass, ThreePassPlan


@dataclass(frozen=True, eq=False)
class PartsPlan(Plan):
    """A row of some parts, each of which is transformed by itself, as a row of its own.

    Attributes:
        part: the plan of rows as long as a part, whose transform is a part's.
    """

    part: OneSmPlan

    scales = 1

    @property
    def parts(self) -> int:
        """Of a row."""
        return self.size // self.part.size

    @property
    def radices(self) -> tuple[int, ...]:
        """Those of a part, after a cut into parts."""
        return (self.parts, *self.part.radices)

    @cached_property
    def whole(self) -> ThreePassPlan:
        """Three passes."""
        return ThreePass().least_plan(self)

    def obstacle(self, channels: int) -> str | None:
        """As of one-SM plans: kernels count the values of a batch in 32 bits."""
        return too_many(channels, self.length)
