"""Plans of rows that a cluster of multiprocessors holds together: each transforms a chunk, all share the products.

With chunks x_j of P points and G_d = T(k_d + i k_(d-1)), the chunks of the result are
y_i = Re T^-1(sum over d of G_d T(x_(i-d))): `csrc/cluster/cluster_rows.cu`. Gradients take three passes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card
from genoconv.ops.longconv.one_sm.blocks import chunk_warps, row_chunk_bytes
from genoconv.ops.longconv.one_sm.plan import OneSm, OneSmPlan, too_many
from genoconv.ops.longconv.plan import Plan
from genoconv.ops.longconv.three_pass.plan import ThreePass
from genoconv.wording import count

BLOCKS = (3, 4, 5, 6, 7, 8)
"""Multiprocessors of a cluster: no more than every GPU with clusters has."""
_CAPABILITY = 90
_FEWEST_SMS = 32
"""A GPU of fewer, or a part of one, may have no room for large clusters."""


@dataclass(frozen=True)
class ClusterPlan(Plan):
    """A row of some chunks, each of which fits the shared memory of one multiprocessor.

    Attributes:
        part: the plan of rows as long as a chunk, whose transform is a chunk's.
        blocks: of a cluster, one for each chunk.
        whole: the plan that has kernels for gradients.
    """

    part: OneSmPlan
    blocks: int
    whole: Plan

    __hash__ = Plan.__hash__  # otherwise dataclass makes one of all fields

    regime = "cluster"
    scales = 1

    @property
    def radices(self) -> tuple[int, ...]:
        """Those of a chunk, after a cut into chunks."""
        return (self.blocks, *self.part.radices)

    @property
    def gradients(self) -> Plan:
        """Three passes."""
        return self.whole

    @property
    def least_batch(self) -> int:
        """Measured on an H200: with gradients, eight batches take 15 % less than three passes, two 13 % more."""
        return 4

    @property
    def smem_bytes(self) -> int:
        """Shared memory of a block."""
        return row_chunk_bytes(self.part.size)

    def kernel(self, *, aligned: bool = True, gate_in: bool = True, gate_out: bool = True) -> Kernel:
        """`cluster_rows`. aligned: rows start on 16 bytes and N is a multiple of 8. gate_*: there is one."""
        kernel = self.part.row_chunk_kernel("chunk_rows", aligned=aligned, gate_in=gate_in, gate_out=gate_out)
        defines = dict(kernel.defines) | {"PLAN_CLUSTER": self.blocks}
        return Kernel("cluster/cluster_rows", tuple(sorted(defines.items())), self.smem_bytes, kernel.threads)

    @property
    def filter_kernel(self) -> Kernel:
        """`chunk_spectra`."""
        return self.part.row_chunk_kernel("chunk_spectra")

    def obstacle(self, channels: int) -> str | None:
        """As of one-SM plans: the kernel counts the values of a batch in 32 bits."""
        return too_many(channels, self.length)

    def workspace_bytes(self, batches: int, channels: int, *, backward: bool) -> int:
        """Nothing; in the backward pass, that of three passes."""
        return self.whole.workspace_bytes(batches, channels, backward=True) if backward else 0

    def kernels(self) -> Iterator[Kernel]:
        """Every kernel, gated, for rows of every alignment; then those for gradients."""
        yield self.filter_kernel
        yield from (self.kernel(aligned=aligned) for aligned in (True, False))
        yield from self.whole.kernels()

    @property
    def launches(self) -> ModuleType:
        """`launches.py` beside this file."""
        from genoconv.ops.longconv.cluster import launches

        return launches

    def explain_kernels(self) -> Iterator[str]:
        """The blocks of a cluster."""
        yield (
            f"forward: {self.blocks} chunks of {self.part.size:,} points by clusters of as many SMs, a chunk each;"
            f" {count(1, 'block')} of {32 * chunk_warps(self.part.size)} threads per SM,"
            f" {self.smem_bytes / 1024:.1f} KB"
        )


class Cluster:
    """The regime of rows that a cluster of multiprocessors holds."""

    name = "cluster"
    differentiable = False

    def sizes(self, card: Card) -> tuple[int, ...]:
        """Multiples of the largest of `one-sm`, where chunks of it fit and GPUs have clusters."""
        points = OneSm().sizes(card)[-1]
        fits = row_chunk_bytes(points) <= card.smem and points == 1 << 15
        if card.capability < _CAPABILITY or card.sm_count < _FEWEST_SMS or not fits:
            return ()
        return tuple(points * blocks for blocks in BLOCKS)

    def scales(self, size: int, card: Card) -> int:
        """One per channel."""
        return 1

    def plan(self, length: int, size: int, *, filter_length: int, dtype: str, card: Card) -> ClusterPlan:
        """As :meth:`genoconv.ops.longconv.regimes.Regime.plan`."""
        points = OneSm().sizes(card)[-1]
        part = OneSm().plan(points, points, filter_length=points, dtype=dtype, card=card)
        three = ThreePass()
        least = next(points for points in three.sizes(card) if points >= length)
        whole = three.plan(length, least, filter_length=filter_length, dtype=dtype, card=card)
        return ClusterPlan(length, filter_length, dtype, card, size, part, size // points, whole)
