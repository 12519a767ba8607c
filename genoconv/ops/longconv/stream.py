"""A row in pieces: each piece is convolved when it comes, and the pieces together are what one call would give.

What a piece needs of those before it is the last K - 1 positions of the inputs: that is the state. Memory follows the
filter and the piece, not the row, so a chromosome passes through on any device.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from genoconv.errors import UsageError
from genoconv.ops.longconv import arguments, conv
from genoconv.ops.longconv.spectrum import FilterSpectrum, upcast

_DIRECT = 16
"""Pieces of up to this many positions are dot products with the filter: a transform would cost more."""


class ConvState(NamedTuple):
    """What a stream carries from one piece to the next; S = min(positions seen, K - 1).

    Attributes:
        u: (B, H, S), the last inputs, in their own type.
        gate_in: (B, H, S), their gates; None where the stream has none.
        position: how many positions came before the next piece.
    """

    u: Tensor
    gate_in: Tensor | None
    position: int

    def detach(self) -> "ConvState":
        """The same values, without the history of their gradients."""
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
    """Convolve the next piece of a row: :func:`genoconv.ops.fftconv` in pieces of any size, within its tolerance.

    Args:
        u: (B, H, n), the next n >= 1 positions of every row; floating types as in ``fftconv``.
        k: (H, K), the whole filter in every call: K may exceed n, and the row. Or what :func:`prepare_filter` made of
            it for a length of at least n + K - 1, so that it is transformed once for all pieces of one size.
        state: what the call before gave; None at the start of a row.
        D: (H,), the skip; None where ``k`` was prepared: it is in there already.
        gate_in, gate_out: (B, H, n) like ``u``, or None; ``gate_in`` in every call or in none.
        backend: as in ``fftconv``. Pieces of up to 16 positions are dot products in float32 on every backend.

    Returns:
        y (B, H, n) like ``u``, and the state for the next piece. Differentiable, through the state into the pieces
        before it; :meth:`ConvState.detach` cuts that.

    Raises:
        UsageError: the piece does not fit the filter or the state; the message gives both sides.
        KernelError: as ``fftconv``.
    """
    taps = k.taps if isinstance(k, FilterSpectrum) else k
    arguments.check(u, k, D, gate_in, gate_out, backend, piece=True)
    if isinstance(k, FilterSpectrum) and k.keep is not None:
        raise UsageError("a frequency-sparse filter looks ahead, so it cannot take a row in pieces: prepare it dense")
    _check(u, taps, state, gate_in)
    n, reach = u.shape[-1], taps.shape[1] - 1
    rows = u if state is None else torch.cat([state.u, u], dim=-1)
    gates = gate_in if state is None or gate_in is None else torch.cat([_gates(state), gate_in], dim=-1)
    length = rows.shape[-1]
    if n <= _DIRECT:
        conv.choose(u, n, backend)  # fails where the backend cannot serve the row
        y = _direct(rows, k, D, gates, gate_out, n)
    else:
        if gate_out is not None and length > n:
            gate_out = torch.nn.functional.pad(gate_out, (length - n, 0))
        whole = k if isinstance(k, FilterSpectrum) else k[:, :length]
        y = conv.fftconv(rows, whole, D=D, gate_in=gates, gate_out=gate_out, backend=backend)[..., length - n :]
    kept = slice(max(0, length - reach), length)
    position = n + (0 if state is None else state.position)
    # In memory of their own: a view would hold all of the piece.
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
    with torch.autocast(rows.device.type, enabled=False):
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
        raise UsageError(f"state is a {type(state).__name__}; it must be what the call before gave second, or None")
    before = state.u
    if before.shape[:2] != u.shape[:2] or before.dtype != u.dtype or before.device != u.device:
        raise UsageError(
            f"u is {tuple(u.shape)} {u.dtype} on {u.device}, and the state is of pieces"
            f" {tuple(before.shape[:2])} {before.dtype} on {before.device}: pieces of a row must be alike"
        )
    if (state.gate_in is None) != (gate_in is None):
        had, has = ("no gate_in", "one") if state.gate_in is None else ("gate_in", "none")
        raise UsageError(f"the pieces before had {had} and this one has {has}: give it in every call or in none")
    if before.shape[-1] != min(state.position, taps.shape[1] - 1):
        raise UsageError(
            f"the state keeps {before.shape[-1]:,} of {state.position:,} positions, which is not what a filter of"
            f" {taps.shape[1]:,} taps needs: use the same filter for every piece"
        )
