"""A row in pieces: each piece is convolved as it arrives, and together the results are those of a single call.

The state holds the last K - 1 positions of the inputs, which the next piece needs. Memory depends on the filter and the
piece, not on the row, so any device can convolve a whole chromosome.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from genoconv.errors import UsageError
from genoconv.ops.longconv import arguments, conv
from genoconv.ops.longconv.spectrum import FilterSpectrum
from genoconv.ops.precision import full_precision, upcast

_DIRECT = 16
"""Pieces of up to this many positions are dot products with the filter, because a transform would take longer."""


class ConvState(NamedTuple):
    """State between two pieces of a row; S = min(positions seen, K - 1).

    Attributes:
        u: (B, H, S), the last inputs, in the type of the rows.
        gate_in: (B, H, S), their gates; None if the pieces have no ``gate_in``.
        position: number of positions before the next piece.
    """

    u: Tensor
    gate_in: Tensor | None
    position: int

    def detach(self) -> "ConvState":
        """The same values, detached from the graph of their gradients."""
        return ConvState(self.u.detach(), None if self.gate_in is None else self.gate_in.detach(), self.position)


def fftconv_stream(
    u: Tensor,
    k: Tensor | FilterSpectrum,
    state: ConvState | None = None,
    *,
    D: Tensor | None = None,
    gate_in: Tensor | None = None,
    gate_out: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, ConvState]:
    """Convolve the next piece of a row: :func:`genoconv.ops.fftconv` in pieces of any size, with the same accuracy.

    Args:
        u: (B, H, n), the next n >= 1 positions of every row; floating types as in ``fftconv``.
        k: (H, K), the whole filter in every call; K may exceed n and the length of the row. Or the result of
            :func:`prepare_filter` for a length of at least n + K - 1, which transforms the filter only once for all
            pieces of the same size.
        state: the state that the previous call returned; None at the start of a row.
        D: (H,), the skip, or None. Must be None if ``k`` is prepared, because D is then part of it.
        gate_in, gate_out: (B, H, n) like ``u``, or None; pass ``gate_in`` in every call or in none.
        backend: as in ``fftconv``. Pieces of up to 16 positions are dot products in float32 with every backend.

    Returns:
        y (B, H, n) like ``u``, and the state for the next piece. Differentiable, also with respect to earlier pieces
        through the state; :meth:`ConvState.detach` stops these gradients.

    Raises:
        UsageError: the piece does not match the filter or the state; the message shows both.
        KernelError: as ``fftconv``.
    """
    taps = k.taps if isinstance(k, FilterSpectrum) else k
    arguments.check(u, k, D, gate_in, gate_out, backend, piece=True)
    if isinstance(k, FilterSpectrum) and k.keep is not None:
        raise UsageError(
            "a frequency-sparse filter looks ahead, so it cannot take a row in pieces; prepare it without keep"
        )
    _check(u, taps, state, gate_in)
    n, reach = u.shape[-1], taps.shape[1] - 1
    rows = u if state is None else torch.cat([state.u, u], dim=-1)
    gates = gate_in if state is None or gate_in is None else torch.cat([_gates(state), gate_in], dim=-1)
    length = rows.shape[-1]
    if n <= _DIRECT:
        conv.choose(u, n, backend)  # fails if the backend does not support the row
        y = _direct(rows, k, D, gates, gate_out, n)
    else:
        if gate_out is not None and length > n:
            gate_out = torch.nn.functional.pad(gate_out, (length - n, 0))
        whole = k if isinstance(k, FilterSpectrum) else k[:, :length]
        y = conv.fftconv(rows, whole, D=D, gate_in=gates, gate_out=gate_out, backend=backend)
        y = y[..., length - n :].contiguous()  # a view would keep earlier positions in memory
    kept = slice(max(0, length - reach), length)
    position = n + (0 if state is None else state.position)
    # Copies: a view would keep the whole piece in memory.
    return y, ConvState(rows[..., kept].clone(), None if gates is None else gates[..., kept].clone(), position)


def _gates(state: ConvState) -> Tensor:
    assert state.gate_in is not None
    return state.gate_in


def _direct(
    rows: Tensor,
    k: Tensor | FilterSpectrum,
    D: Tensor | None,
    gate_in: Tensor | None,
    gate_out: Tensor | None,
    n: int,
) -> Tensor:
    """The last n positions of y by the definition, in float32, or float64 for float64 rows."""
    taps, skip = (k.taps, k.skip) if isinstance(k, FilterSpectrum) else (k, D)
    with full_precision(rows):
        v = upcast(rows) if gate_in is None else upcast(rows) * upcast(gate_in)
        length = v.shape[-1]
        backwards = taps.to(v.dtype).flip(-1)
        found = []
        for stop in range(length - n + 1, length + 1):
            reach = min(stop, taps.shape[1])
            found.append((v[..., stop - reach : stop] * backwards[:, backwards.shape[1] - reach :]).sum(-1))
        y = torch.stack(found, dim=-1)
        if skip is not None:
            y = torch.addcmul(y, v[..., length - n :], skip.to(v.dtype)[:, None])
        if gate_out is not None:
            y = y * upcast(gate_out)
        result: Tensor = y.to(rows.dtype)
    return result


def _check(u: Tensor, taps: Tensor, state: ConvState | None, gate_in: Tensor | None) -> None:
    if state is None:
        return
    if not isinstance(state, ConvState):
        raise UsageError(f"state is a {type(state).__name__}; it must be the state of the previous call, or None")
    before = state.u
    if before.shape[:2] != u.shape[:2] or before.dtype != u.dtype or before.device != u.device:
        raise UsageError(
            f"u is {tuple(u.shape)} {u.dtype} on {u.device}, but the state is {tuple(before.shape[:2])}"
            f" {before.dtype} on {before.device}; all pieces of a row need the same B, H, type and device"
        )
    if (state.gate_in is None) != (gate_in is None):
        had, has = ("no gate_in", "has one") if state.gate_in is None else ("a gate_in", "has none")
        raise UsageError(f"earlier pieces had {had}, but this one {has}; pass it in every call or in none")
    if before.shape[-1] != min(state.position, taps.shape[1] - 1):
        raise UsageError(
            f"the state holds {before.shape[-1]:,} of {state.position:,} positions, which does not match a filter of"
            f" {taps.shape[1]:,} taps; use the same filter for every piece"
        )
