"""The long demo of ``genoconv train``: its settings, and the source that they make."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from genoconv.paths import scratch_dir
from genoconv.pipelines.options import Options
from genoconv.pipelines.train.regions import Region, Weight
from genoconv.pipelines.train.sources import Source

if TYPE_CHECKING:
    from genoconv.genome.assemblies.repeats import RepeatPlan

LONG_DEMO = "demo-long"
Size = Annotated[int, Field(ge=1, le=2**24)]


class Repeats(Options):
    """The contigs of the long demo; lengths are bases.

    Attributes:
        contigs, length, distance, block: see :class:`genoconv.genome.assemblies.repeats.RepeatPlan`.
        loss_weight: of the bases at which a repeated block begins; the others are easy to predict.
    """

    contigs: Size = 200
    length: Size = 4096
    distance: Size = 3072
    block: Size = 32
    loss_weight: Weight = 60.0

    def plan(self) -> "RepeatPlan":
        """The contigs.

        Raises:
            UsageError: lengths that do not fit together.
        """
        from genoconv.genome.assemblies.repeats import RepeatPlan

        return RepeatPlan(contigs=self.contigs, length=self.length, distance=self.distance, block=self.block)

    def source(self) -> Source:
        """Where the files are once :meth:`write` has made them."""
        folder = scratch_dir() / LONG_DEMO / self.plan().name
        region = Region(bed=folder / f"{LONG_DEMO}.bed", name="repeat", loss_weight=self.loss_weight)
        return Source(name=LONG_DEMO, fasta=folder / f"{LONG_DEMO}.fa", regions=(region,))

    def write(self) -> None:
        """Make the files, unless they are there."""
        from genoconv.genome.assemblies.repeats import write_repeats

        source = self.source()
        fasta, bed = source.fasta, source.regions[0].bed
        assert fasta is not None
        assert bed is not None
        if not fasta.exists() or not bed.exists():
            write_repeats(self.plan(), fasta=fasta, bed=bed)
