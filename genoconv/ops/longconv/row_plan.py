"""What plans of all regimes share: a row is transformed once, as a whole, and its spectrum holds 4 bytes per point."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from genoconv.gpu.targets import Card

if TYPE_CHECKING:
    from torch import Tensor

    from genoconv.ops.longconv.spectrum import StoredSpectrum


class Launches(Protocol):
    """A regime's module of launches. They import torch, so a plan imports them when it runs."""

    def prepare_filter(self, plan: Any, k: "Tensor", D: "Tensor | None") -> "StoredSpectrum":
        """As :meth:`.Plan.prepare_filter`."""

    def forward(
        self,
        plan: Any,
        u: "Tensor",
        spectrum: "StoredSpectrum",
        gate_in: "Tensor | None",
        gate_out: "Tensor | None",
        *,
        fresh: bool = False,
    ) -> "Tensor":
        """As :meth:`.Plan.forward`."""

    def backward(
        self,
        plan: Any,
        dy: "Tensor",
        u: "Tensor",
        spectrum: "StoredSpectrum",
        gate_in: "Tensor | None",
        gate_out: "Tensor | None",
    ) -> "tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]":
        """As :meth:`.Plan.backward`."""


@dataclass(frozen=True, eq=False)
class RowPlan(ABC):
    """A plan of rows of ``length`` positions in transforms of ``size`` points; see :class:`.plan.Plan`.

    Attributes:
        length: N, positions of a row.
        filter_length: K, taps of its filter.
        dtype: type of the rows.
        card: the GPU.
        size: points of the transform, at least ``length``.
    """

    length: int
    filter_length: int
    dtype: str
    card: Card
    size: int

    def __hash__(self) -> int:
        return hash((self.length, self.dtype, self.card.smem))  # hashing all fields would take as long as a launch

    @property
    @abstractmethod
    def regime(self) -> str:
        """The regime's name."""

    @property
    @abstractmethod
    def radices(self) -> tuple[int, ...]:
        """Radices of the Cooley-Tukey stages, first contracted first; their product is ``size``."""

    @property
    @abstractmethod
    def launches(self) -> Launches:
        """What runs the plan."""

    @property
    def spectrum_bytes(self) -> int:
        """Device memory of one channel's stored spectrum."""
        return 4 * self.size

    @property
    def has_pdl(self) -> bool:
        """Whether the GPU has programmatic dependent launch: blocks begin before the kernel that they wait for ends."""
        return self.card.capability >= 90

    def prepare_filter(self, k: "Tensor", D: "Tensor | None") -> "StoredSpectrum":
        """T(k) + D of filters k (H, K), D (H,)."""
        return self.launches.prepare_filter(self, k, D)

    def forward(
        self,
        u: "Tensor",
        spectrum: "StoredSpectrum",
        gate_in: "Tensor | None",
        gate_out: "Tensor | None",
        *,
        fresh: bool = False,
    ) -> "Tensor":
        """y (B, H, N); see :meth:`.plan.Plan.forward`."""
        return self.launches.forward(self, u, spectrum, gate_in, gate_out, fresh=fresh)

    def backward(
        self,
        dy: "Tensor",
        u: "Tensor",
        spectrum: "StoredSpectrum",
        gate_in: "Tensor | None",
        gate_out: "Tensor | None",
    ) -> "tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]":
        """(du, dk, dD, dgate_in, dgate_out)."""
        return self.launches.backward(self, dy, u, spectrum, gate_in, gate_out)

    def explain(self) -> str:
        """The plan in plain words, one fact per line."""
        return "\n".join(
            (
                f"length {self.length:,}, filter {self.filter_length:,}, {self.dtype}, {self.explain_card()}",
                f"regime {self.regime}: transform of {self.size:,} points as {'*'.join(map(str, self.radices))}",
                *self.explain_kernels(),
                f"spectrum of a filter: {self.spectrum_bytes:,} bytes per channel",
            )
        )

    def explain_card(self) -> str:
        """What of the GPU decides the plan."""
        return f"{self.card.arch}, {self.card.sm_count} SMs"

    @abstractmethod
    def explain_kernels(self) -> Iterator[str]:
        """One line per fact about tiles, blocks and shared memory."""
