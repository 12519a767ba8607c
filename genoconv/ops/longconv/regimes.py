"""Regimes: families of kernels, each for a range of row lengths, and the choice among them.

A new regime is an entry in :data:`REGIMES`.
"""

from collections.abc import Iterator
from functools import cache
from typing import Protocol

from genoconv.errors import UsageError
from genoconv.gpu.targets import Card
from genoconv.ops.longconv.cluster.plan import Cluster
from genoconv.ops.longconv.halves.plan import Halves
from genoconv.ops.longconv.one_sm.plan import OneSm
from genoconv.ops.longconv.plan import DTYPES, Plan
from genoconv.ops.longconv.three_pass.plan import ThreePass

OLDEST_CAPABILITY = 80


class Regime(Protocol):
    """A family of plans."""

    @property
    def name(self) -> str:
        """As ``explain`` prints it."""

    def gradients(self, size: int, dtype: str) -> "Regime | None":
        """The regime of :attr:`Plan.gradients` where that is another plan; None where plans have their own kernels."""

    def sizes(self, card: Card) -> tuple[int, ...]:
        """Transform sizes that a card serves, ascending; a row takes the first that is not shorter."""

    def scales(self, size: int, card: Card) -> int:
        """:attr:`Plan.scales` of plans of one size."""

    def plan(self, length: int, size: int, *, filter_length: int, dtype: str, card: Card) -> Plan:
        """The plan of rows of ``length`` positions in transforms of ``size`` points, one of :meth:`sizes`."""


REGIMES: tuple[Regime, ...] = (OneSm(), Halves(), Cluster(), ThreePass())
"""The first regime that serves a length has it."""


def transforms(card: Card, *, dtype: str = "bfloat16", gradients: bool = False) -> tuple[tuple[str, int, int], ...]:
    """(regime, size, scales) of every transform that a card has, ascending: a row takes the first not shorter.

    gradients: of :attr:`Plan.gradients` of the plans, which alone depend on the type of rows.
    """
    return _transforms(card, dtype, gradients, REGIMES)


@cache
def _transforms(
    card: Card, dtype: str, gradients: bool, regimes: tuple[Regime, ...]
) -> tuple[tuple[str, int, int], ...]:
    # Every call of the operator asks this, and fitting all sizes takes longer than a small problem's kernels.
    found: list[tuple[str, int, int]] = []
    done = 0
    for regime in regimes if card.capability >= OLDEST_CAPABILITY else ():
        for own in regime.sizes(card):
            other = regime.gradients(own, dtype) if gradients else None
            for size in (own,) if other is None else other.sizes(card):
                if done < min(size, own):
                    found.append(((other or regime).name, size, (other or regime).scales(size, card)))
                    done = size
    return tuple(found)


def pair_sizes(card: Card, *, dtype: str = "bfloat16", gradients: bool = False) -> tuple[int, ...]:
    """Transform sizes of a card whose kernels convolve longer rows in chunks, each with its neighbour, ascending.

    gradients: only those that also have kernels for gradients, and for filters as long as rows (`chunked`).
    """
    return _pair_sizes(card, dtype, gradients, REGIMES)


@cache
def _pair_sizes(card: Card, dtype: str, gradients: bool, regimes: tuple[Regime, ...]) -> tuple[int, ...]:
    plans = every_plan(card, dtype=dtype)
    return tuple(plan.size for plan in plans if (plan.takes_rows_in_chunks if gradients else plan.takes_pairs))


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
        raise UsageError(f"length is {length}; it must be at least 1")
    if not 1 <= taps <= length:
        raise UsageError(f"K = {taps:,} taps do not fit N = {length:,} positions; use 1 <= K <= {length:,}")
    if dtype not in DTYPES:
        raise UsageError(f"no kernel supports {dtype} rows; use bfloat16 or float16, or backend='torch'")
    found = next(((name, size) for name, size, _ in transforms(card) if size >= length), None)
    if found is None:
        raise UsageError(
            f"rows of {length:,} positions exceed the {reach(card):,} that the kernels support on {card.arch} with "
            f"{card.smem // 1024} KB of shared memory per block; use backend='torch' or 'auto'"
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
