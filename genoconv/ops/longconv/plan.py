"""Plans: how one long convolution is carried out on one GPU, decided from numbers alone.

A *regime* is a family of kernels for a range of row lengths; a *plan* is its answer for one length, type and card. All
that others want to know or do (dispatch, ``explain``, ``warm``, ``doctor``, launches) they ask of a plan: the lengths
and kernels of a regime are its own business. A new regime is an entry in :data:`REGIMES`.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Protocol

from genoconv.errors import UsageError
from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card
from genoconv.ops.longconv.one_sm.plan import OneSm
from genoconv.ops.longconv.three_pass.plan import ThreePass

if TYPE_CHECKING:
    from torch import Tensor

    from genoconv.ops.longconv.spectrum import StoredSpectrum

DTYPES = ("bfloat16", "float16")
"""Types of rows that kernels take."""

OLDEST_CAPABILITY = 80


class Plan(Protocol):
    """One row length's way through the kernels of one card.

    Letters as in :mod:`genoconv.ops.longconv.conv`: B batch, H channels, N positions, K taps.
    """

    @property
    def regime(self) -> str:
        """The regime's name."""

    @property
    def length(self) -> int:
        """N, positions of a row."""

    @property
    def filter_length(self) -> int:
        """K, taps of a filter."""

    @property
    def dtype(self) -> str:
        """Type of the rows, one of :data:`DTYPES`."""

    @property
    def card(self) -> Card:
        """The GPU."""

    @property
    def size(self) -> int:
        """Points of the transform, at least ``length``."""

    @property
    def radices(self) -> tuple[int, ...]:
        """Radices of its stages, first contracted first; their product is ``size``."""

    @property
    def spectrum_bytes(self) -> int:
        """Device memory of one channel's stored spectrum."""

    @property
    def scales(self) -> int:
        """How many fp32 scales a channel's stored spectrum has."""

    def obstacle(self, channels: int) -> str | None:
        """Why rows of this length cannot be served in batches of H ``channels``; None where they can."""

    def workspace_bytes(self, batches: int, channels: int, *, backward: bool) -> int:
        """Device memory that a pass needs for a while, beyond inputs, results and stored spectra."""

    def kernels(self) -> Iterator[Kernel]:
        """The kernels that models of this length need: gated, rows of every alignment."""

    def explain(self) -> str:
        """The plan in plain words, one fact per line."""

    def prepare_filter(self, k: "Tensor", D: "Tensor | None") -> "StoredSpectrum":
        """T(k) + D of filters k (H, K), D (H,)."""

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

    def backward(
        self,
        dy: "Tensor",
        u: "Tensor",
        spectrum: "StoredSpectrum",
        gate_in: "Tensor | None",
        gate_out: "Tensor | None",
    ) -> "tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]":
        """(du, dk, dD, dgate_in, dgate_out): rows of u's type, dk (H, K) and dD (H,) fp32. Bitwise repeatable."""


class Regime(Protocol):
    """A family of plans."""

    @property
    def name(self) -> str:
        """As ``explain`` prints it."""

    def sizes(self, card: Card) -> tuple[int, ...]:
        """Transform sizes that a card serves, ascending; a row takes the first that is not shorter."""

    def scales(self, size: int, card: Card) -> int:
        """:attr:`Plan.scales` of plans of one size."""

    def plan(self, length: int, size: int, *, filter_length: int, dtype: str, card: Card) -> Plan:
        """The plan of rows of ``length`` positions in transforms of ``size`` points, one of :meth:`sizes`."""


REGIMES: tuple[Regime, ...] = (OneSm(), ThreePass())
"""The first regime that serves a length has it."""


def transforms(card: Card) -> tuple[tuple[str, int, int], ...]:
    """(regime, size, scales) of every transform that a card has, ascending: a row takes the first not shorter."""
    return _transforms(card, REGIMES)


@cache
def _transforms(card: Card, regimes: tuple[Regime, ...]) -> tuple[tuple[str, int, int], ...]:
    # Every call of the operator asks this, and fitting all sizes takes longer than a small problem's kernels.
    found: list[tuple[str, int, int]] = []
    for regime in regimes if card.capability >= OLDEST_CAPABILITY else ():
        done = found[-1][1] if found else 0
        found += [(regime.name, size, regime.scales(size, card)) for size in regime.sizes(card) if size > done]
    return tuple(found)


def reach(card: Card) -> int:
    """Longest row, in positions, that a card's kernels serve; 0 where it is too old for any."""
    return max((size for _, size, _ in transforms(card)), default=0)


def choose_plan(length: int, *, card: Card, filter_length: int | None = None, dtype: str = "bfloat16") -> Plan:
    """The plan for rows of ``length`` positions, pure in its arguments.

    Raises:
        UsageError: no kernel serves them; names the value, the limit and the remedy.
    """
    taps = length if filter_length is None else filter_length
    if length < 1:
        raise UsageError(f"a row of {length} positions cannot be convolved: the length must be at least 1")
    if not 1 <= taps <= length:
        raise UsageError(f"K = {taps:,} taps do not fit N = {length:,} positions: use 1 <= K <= {length:,}")
    if dtype not in DTYPES:
        raise UsageError(f"no kernel for {dtype} rows: use bfloat16 or float16, or backend='torch'")
    found = next(((name, size) for name, size, _ in transforms(card) if size >= length), None)
    if found is None:
        raise UsageError(
            f"rows of {length:,} positions exceed the {reach(card):,} that the kernels serve on {card.arch} with "
            f"{card.smem // 1024} KB of shared memory per block: use backend='torch', or 'auto', which does"
        )
    return _regime(found[0]).plan(length, found[1], filter_length=taps, dtype=dtype, card=card)


def every_plan(card: Card, *, dtype: str = "bfloat16") -> Iterator[Plan]:
    """One plan for each transform size that a card serves, shortest first, rows as long as the transform."""
    for name, size, _ in transforms(card):
        yield _regime(name).plan(size, size, filter_length=size, dtype=dtype, card=card)


def _regime(name: str) -> Regime:
    return next(regime for regime in REGIMES if regime.name == name)


@cache
def plan_on(length: int, dtype: str, index: int) -> Plan:
    """The plan for rows of ``length`` positions on GPU ``index`` of this machine."""
    from genoconv.gpu import targets

    return choose_plan(length, dtype=dtype, card=targets.local_card(index))
