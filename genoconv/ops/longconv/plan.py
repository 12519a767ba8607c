"""Plans: how one long convolution is carried out on one GPU, decided from numbers alone (no torch, no GPU).

All that others want to know or do (dispatch, ``explain``, ``warm``, ``doctor``, launches) they ask of a plan: the
lengths and kernels of a regime are its own business.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card

if TYPE_CHECKING:
    from torch import Tensor

    from genoconv.ops.longconv.spectrum import StoredSpectrum

DTYPES = ("bfloat16", "float16")
"""Types of rows that kernels take."""


@dataclass(frozen=True, eq=False)
class Plan(ABC):
    """One row length's way through the kernels of one card.

    Letters as in :mod:`genoconv.ops.longconv.conv`: B batch, H channels, N positions, K taps.

    Attributes:
        length: N, positions of a row.
        filter_length: K, taps of a filter.
        dtype: type of the rows, one of :data:`DTYPES`.
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
    def scales(self) -> int:
        """How many fp32 scales a channel's stored spectrum has."""

    @property
    @abstractmethod
    def launches(self) -> ModuleType:
        """The module with the regime's ``prepare_filter``, ``forward`` and ``backward``, which take the plan first.

        It imports torch, so a plan imports it when it runs.
        """

    @property
    def spectrum_bytes(self) -> int:
        """Device memory of one channel's stored spectrum."""
        return 4 * self.size

    @property
    def gradients(self) -> "Plan":
        """The plan whose kernels compute gradients, from a filter that it has prepared: this one, or another's."""
        return self

    @property
    def whole(self) -> "Plan":
        """The plan that transforms the same rows as a whole, and so has all of their frequencies: this or another."""
        return self

    @property
    def takes_pairs(self) -> bool:
        """Whether longer rows can be convolved in chunks of :attr:`size`, each together with the one before it."""
        return False

    @property
    def takes_rows_in_chunks(self) -> bool:
        """Whether they can be in chunks of :attr:`size` with gradients, and with filters as long as rows."""
        return False

    @property
    def has_pdl(self) -> bool:
        """Whether the GPU has programmatic dependent launch: blocks begin before the kernel that they wait for ends."""
        return self.card.capability >= 90

    @abstractmethod
    def obstacle(self, channels: int) -> str | None:
        """Why rows of this length cannot be served in batches of H ``channels``; None where they can."""

    @abstractmethod
    def workspace_bytes(self, batches: int, channels: int, *, backward: bool) -> int:
        """Device memory that a pass needs for a while, beyond inputs, results and stored spectra."""

    @abstractmethod
    def kernels(self) -> Iterator[Kernel]:
        """The kernels that models of this length need: gated, rows of every alignment."""

    def chunk_kernels(self) -> Iterator[Kernel]:
        """The kernels that longer rows with shorter filters need, gated, where :attr:`takes_pairs`."""
        yield from ()

    def prepare_filter(self, k: "Tensor", D: "Tensor | None") -> "StoredSpectrum":
        """T(k) + D of filters k (H, K), D (H,)."""
        made: StoredSpectrum = self.launches.prepare_filter(self, k, D)
        return made

    def forward(
        self,
        u: "Tensor",
        spectrum: "StoredSpectrum",
        gate_in: "Tensor | None",
        gate_out: "Tensor | None",
        *,
        fresh: bool = False,
    ) -> "Tensor":
        """y (B, H, N), contiguous, in u's type.

        fresh: nothing that these rows depend on was queued on the stream since the kernel that makes ``spectrum``.
        """
        y: Tensor = self.launches.forward(self, u, spectrum, gate_in, gate_out, fresh=fresh)
        return y

    def backward(
        self,
        dy: "Tensor",
        u: "Tensor",
        spectrum: "StoredSpectrum",
        gate_in: "Tensor | None",
        gate_out: "Tensor | None",
    ) -> "tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]":
        """(du, dk, dD, dgate_in, dgate_out): rows of u's type, dk (H, K) and dD (H,) fp32. Bitwise repeatable."""
        du, dk, dD, dgate_in, dgate_out = self.launches.backward(self, dy, u, spectrum, gate_in, gate_out)
        return du, dk, dD, dgate_in, dgate_out

    def explain(self) -> str:
        """The plan in plain words, one fact per line."""
        return "\n".join(
            (
                f"length {self.length:,}, filter {self.filter_length:,}, {self.dtype}, {self.explain_card()}",
                f"regime {self.regime}: transform of {self.size:,} points as {'*'.join(map(str, self.radices))}",
                *self.explain_kernels(),
                *self._explain_gradients(),
                f"filter spectrum: {self.spectrum_bytes:,} bytes per channel",
            )
        )

    def _explain_gradients(self) -> Iterator[str]:
        """What another plan does for this one."""
        other = self.gradients
        if other is not self:
            yield (
                f"backward: {other.regime}, transform of {other.size:,} points as {'*'.join(map(str, other.radices))}"
            )
            yield from other.explain_kernels()

    def explain_card(self) -> str:
        """What of the GPU decides the plan."""
        return f"{self.card.arch}, {self.card.sm_count} SMs"

    @abstractmethod
    def explain_kernels(self) -> Iterator[str]:
        """One line per fact about tiles, blocks and shared memory."""
