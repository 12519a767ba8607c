"""Plans of rows that a cluster of multiprocessors holds together: each transforms a chunk, all share the products.

With chunks x_j of P points and G_d = T(k_d + i k_(d-1)), the chunks of the result are
y_i = Re T^-1(sum over d of G_d T(x_(i-d))), and gradients mirror that: `csrc/cluster/README.md`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card
from genoconv.ops.longconv.one_sm.blocks import chunk_warps, row_chunk_bytes
from genoconv.ops.longconv.one_sm.plan import OneSm
from genoconv.ops.longconv.overlap_save.plan import shares_of
from genoconv.ops.longconv.parts import PartsPlan
from genoconv.ops.longconv.plan import Plan
from genoconv.ops.longconv.three_pass.plan import ThreePass

BLOCKS = (3, 4, 5, 6, 7, 8)
"""Multiprocessors of a cluster: no more than every GPU with clusters has."""
KERNELS: tuple[Literal["cluster_rows", "cluster_gradients"], ...] = ("cluster_rows", "cluster_gradients")
_CAPABILITY = 90
_MOST_SUMS = 1 << 30
"""Bytes of all sums, unless those of one share take more."""
_FEWEST_SMS = 32
"""A GPU of fewer, or a part of one, may have no room for large clusters."""
_LONGEST_FLOAT16 = 3 << 15
"""Gradients of longer float16 rows take three passes: clusters spill there, and took 1.2 to 1.6 of the time (H200)."""


@dataclass(frozen=True)
class ClusterPlan(PartsPlan):
    """A row of some chunks, of each of which one block of a cluster has the spectrum in its shared memory."""

    __hash__ = Plan.__hash__  # otherwise dataclass makes one of all fields

    regime = "cluster"

    @property
    def gradients(self) -> Plan:
        """This plan, or three passes where those are faster."""
        return self if Cluster().gradients(self.size, self.dtype) is None else self.whole

    @property
    def smem_bytes(self) -> int:
        """Shared memory of a block."""
        return row_chunk_bytes(self.part.size)

    @property
    def clusters(self) -> int:
        """Most clusters that the GPU may hold at a time; how many it does depends on where its SMs lie."""
        return self.card.sm_count // self.parts

    def kernel(
        self,
        name: Literal["cluster_rows", "cluster_gradients"],
        *,
        aligned: bool = True,
        gate_in: bool = True,
        gate_out: bool = True,
    ) -> Kernel:
        """One of KERNELS. aligned: rows start on 16 bytes and N is a multiple of 8. gate_*: there is one."""
        kernel = self.part.row_chunk_kernel("chunk_rows", aligned=aligned, gate_in=gate_in, gate_out=gate_out)
        defines = dict(kernel.defines) | {"PLAN_CLUSTER": self.parts}
        return Kernel(f"cluster/{name}", tuple(sorted(defines.items())), self.smem_bytes, kernel.threads)

    @property
    def filter_kernels(self) -> tuple[Kernel, Kernel]:
        """`chunk_spectra` and `filter_grad`, which touch no rows."""
        return self.part.row_chunk_kernel("chunk_spectra"), self.part.kernel("filter_grad")

    def slices(self, batches: int, channels: int, *, clusters: int) -> int:
        """Shares of the batch with sums of their own, where the GPU holds so many clusters at a time."""
        return shares_of(batches, channels=channels, blocks=clusters, most=_MOST_SUMS // self.sums_bytes(channels))

    def kept_bytes(self, clusters: int) -> int:
        """Device memory in which so many clusters keep the spectra of a row in the backward pass."""
        return clusters * 4 * self.size

    def sums_bytes(self, shares: int) -> int:
        """Device memory of the sums dG_d of so many shares, of all channels together."""
        return shares * self.parts * self.part.partial_bytes

    def workspace_bytes(self, batches: int, channels: int, *, backward: bool) -> int:
        """Spectra that wait in the backward pass, and its sums; forward nothing."""
        if not backward:
            return 0
        if self.gradients is not self:
            return self.whole.workspace_bytes(batches, channels, backward=True)
        shares = channels * self.slices(batches, channels, clusters=self.clusters)
        return self.kept_bytes(min(shares, self.clusters)) + self.sums_bytes(shares)

    def kernels(self) -> Iterator[Kernel]:
        """Every kernel, gated, for rows of every alignment; then those of another plan for gradients."""
        own = self.gradients is self
        yield from self.filter_kernels[: 1 + own]
        for name in KERNELS[: 1 + own]:
            yield from (self.kernel(name, aligned=aligned) for aligned in (True, False))
        if not own:
            yield from self.whole.kernels()

    @property
    def launches(self) -> ModuleType:
        """`launches.py` beside this file."""
        from genoconv.ops.longconv.cluster import launches

        return launches

    def explain_kernels(self) -> Iterator[str]:
        """The blocks of a cluster, and what of a row waits outside of it."""
        yield (
            f"clusters of {self.parts} SMs, each SM with a chunk of {self.part.size:,} points; 1 block of "
            f"{32 * chunk_warps(self.part.size)} threads per SM, {self.smem_bytes / 1024:.1f} KB"
        )
        if self.gradients is not self:
            return
        yield (
            f"backward: {self.kept_bytes(1) / 1024:.0f} KB per cluster in the L2 cache, and "
            f"{self.sums_bytes(1) / 1024:.0f} KB of sums per channel"
        )


class Cluster:
    """The regime of rows that a cluster of multiprocessors holds."""

    name = "cluster"

    def gradients(self, size: int, dtype: str) -> ThreePass | None:
        """Three passes for all but the shortest rows of float16."""
        return ThreePass() if dtype == "float16" and size > _LONGEST_FLOAT16 else None

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
        return ClusterPlan(length, filter_length, dtype, card, size, part)
