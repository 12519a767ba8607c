"""What :mod:`.suffix` does, on a CPU: one sequence at a time, each alternative from its own first difference on.

Nothing is gained there by many rows at once, so nothing is padded, and a window stays in the caches. The first block
sees tokens alone, which spares two things there:

* what its short convolution gives at a position depends on that token and the few before it: a product of a small
  table and of tokens as unit vectors;
* where only a few tokens differ, its long convolution differs by as many shifted copies of the filter.

Letters: N tokens of a window, D = d_model, S = N - s positions from s on, K taps of the short convolution.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from genoconv.models import cpu
from genoconv.models.hyena import Block, HyenaDNA
from genoconv.models.stream import Stream
from genoconv.ops import FilterSpectrum, fftconv, prepare_filter

_DIRECT = 16
"""Changed positions up to which shifted copies of the filter cost less than a transform."""
_STEP = 32
"""Filters are transformed for suffixes of multiples of this many positions."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What one block of a reference leaves for its alternatives, from position s on.

    Attributes:
        projected: (1, 3D, K - 1 + S) projections without their bias, from K - 1 positions before s on; in the first
            block, which has none, None.
        x0: (1, D, S) gate of the output; only in the first block.
        gated: (1, D, S) gated input of the long convolution.
        convolved: (1, D, S) its output, skip included.
    """

    projected: Tensor | None
    x0: Tensor | None
    gated: Tensor
    convolved: Tensor


@dataclass(frozen=True, slots=True)
class Reading:
    """A reference that was read.

    Attributes:
        ids: (N,) its tokens.
        start: s.
        logits: of A, C, G, T, (S, 4), or of all positions, (N, 4).
        blocks: what each block leaves.
    """

    ids: Tensor
    start: int
    logits: Tensor
    blocks: list[Kept]


class CpuSuffixReuse:
    """Reads references of one length, and their alternatives.

    Args:
        model: in eval mode, float32, on a CPU.
        length: N.
    """

    def __init__(self, model: HyenaDNA, *, length: int) -> None:
        self.model = model
        self.length = length
        self._blocks: list[Block] = list(model.backbone.layers)  # type: ignore[arg-type]
        self._reach = self._blocks[0].mixer.reach
        self._table, self._bias = _tables(model, self._blocks[0])
        self._taps = [block.mixer.filter_fn(length) for block in self._blocks]
        self._filters: dict[tuple[int, int], FilterSpectrum] = {}

    @staticmethod
    def serves(model: HyenaDNA, *, length: int) -> bool:
        """Whether this class can read windows of ``length`` with ``model``, and faster than in batches."""
        large = length * model.config.d_model >= cpu.LEAST
        return large and cpu.allows(model.backbone.layers[0], model.embedding.weight)  # type: ignore[arg-type]

    def reference(self, ids: Tensor, *, start: int, whole: bool) -> Reading:
        """Read a reference.

        Args:
            ids: (N,) integers.
            start: s, at least K - 1; alternatives agree with the reference up to and including this position.
            whole: give logits of all positions; otherwise those from s on, which spares most of the last block.
        """
        residual = self.model.embedding(ids)[None]
        kept = []
        for number, block in enumerate(self._blocks):
            mixer = block.mixer
            if number == 0:
                projected, (x0, gated) = None, self._from_tokens(ids, first=0)
            else:
                projected = mixer.project(cpu.normalised(residual, block.norm1))
                x0, gated = mixer.short_convolve(projected)
            convolved = fftconv(gated, self._filter(number, self.length))
            kept.append(self._keep(projected, x0, gated, convolved, start))
            if not whole and block is self._blocks[-1]:
                # Nobody looks at what comes before s any more.
                residual, convolved, x0 = residual[:, start:], convolved[..., start:], x0[..., start:]
            residual = cpu.finish(block, residual, convolved * x0)
        return Reading(ids, start, self.model.base_logits_of(Stream(residual))[0], kept)

    def _keep(self, projected: Tensor | None, x0: Tensor, gated: Tensor, convolved: Tensor, s: int) -> Kept:
        if projected is None:
            return Kept(None, x0[..., s:], gated[..., s:], convolved[..., s:])
        assert s >= self._reach
        return Kept(projected[..., s - self._reach :], None, gated[..., s:], convolved[..., s:])

    def alternative(self, ids: Tensor, reading: Reading, *, start: int) -> Tensor:
        """Read an alternative from position ``start`` on, which is not before that of ``reading``.

        Args:
            ids: (N,) integers, the whole window.
            reading: of its reference, which it equals up to and including ``start``.
            start: see above.

        Returns:
            Logits of A, C, G, T, (N - start, 4): entry n scores token start + n + 1.
        """
        residual = self.model.embedding(ids[start:])[None]
        skipped = start - reading.start
        for number, (block, kept) in enumerate(zip(self._blocks, reading.blocks, strict=True)):
            gated, convolved = kept.gated[..., skipped:], kept.convolved[..., skipped:]
            if number == 0:
                assert kept.x0 is not None
                mixed = self._first(ids, reading.ids, kept.x0[..., skipped:], gated, convolved)
            else:
                assert kept.projected is not None
                mixer, before = block.mixer, kept.projected[..., skipped : skipped + self._reach]
                x0, change = mixer.short_convolve(mixer.project(cpu.normalised(residual, block.norm1)), before=before)
                change -= gated
                mixed = fftconv(change, self._filter(number, gated.shape[-1])).add_(convolved).mul_(x0)
            residual = cpu.finish(block, residual, mixed)
        return self.model.base_logits_of(Stream(residual))[0]

    def _first(self, ids: Tensor, ref: Tensor, x0: Tensor, gated: Tensor, convolved: Tensor) -> Tensor:
        """What the first block's operator gives for an alternative, before its output projection: (1, D, S).

        x0, gated, convolved: (1, D, S) of the reference.
        """
        S = gated.shape[-1]
        first = self.length - S
        last = _last_difference(ids, ref, first)
        count = min(last - first + 1 + self._reach, S)
        if count > _DIRECT:
            x0, changed = self._from_tokens(ids, first=first)
            return fftconv(changed.sub_(gated), self._filter(0, S)).add_(convolved).mul_(x0)
        new_x0, changed = self._from_tokens(ids[: first + count], first=first)
        changed -= gated[..., :count]
        taps, skip = self._taps[0], self._blocks[0].mixer.filter_fn.bias
        mixed = convolved.clone()
        for n in range(1, count):
            shifted = taps[:, : S - n]
            mixed[0, :, n : n + shifted.shape[1]].addcmul_(shifted, changed[0, :, n, None])
        mixed[..., :count].addcmul_(changed, skip[:, None])
        mixed[..., count:].mul_(x0[..., count:])
        mixed[..., :count].mul_(new_x0)
        return mixed

    def _from_tokens(self, ids: Tensor, *, first: int) -> tuple[Tensor, Tensor]:
        """x0 and x1 * v of the first block, (1, D, n - first), from tokens (n,) at positions ``first`` on."""
        taps, vocabulary, _ = self._table.shape
        history = min(first, taps - 1)
        tokens = ids[first - history :].long()
        hot = self._table.new_zeros(taps, vocabulary, len(ids) - first)
        for lag in range(taps):
            seen = tokens[max(0, history - lag) : len(tokens) - lag]
            columns = torch.arange(max(0, lag - history), len(ids) - first)
            hot[taps - 1 - lag, seen, columns] = 1
        x0, x1, v = torch.addmm(self._bias, self._table.flatten(0, 1).T, hot.flatten(0, 1)).chunk(3)
        return x0[None], (x1 * v)[None]

    def _filter(self, number: int, length: int) -> FilterSpectrum:
        """Transform of a layer's filter for ``length`` positions, or a few more."""
        n = min(-(-length // _STEP) * _STEP, self.length)
        if (number, n) not in self._filters:
            skip = self._blocks[number].mixer.filter_fn.bias
            self._filters[number, n] = prepare_filter(self._taps[number][:, :n], n, D=skip)
        return self._filters[number, n]


def _tables(model: HyenaDNA, block: Block) -> tuple[Tensor, Tensor]:
    """What a token adds to the first block's short convolution, by tap, (K, V, 3D), and its bias, (3D, 1)."""
    mixer, norm = block.mixer, block.norm1
    taps = mixer.short_filter.weight.double()[:, 0].T
    tokens = F.layer_norm(
        model.embedding.weight.double(), norm.normalized_shape, norm.weight.double(), norm.bias.double(), norm.eps
    )
    projected = F.linear(tokens, mixer.in_proj.weight.double(), mixer.in_proj.bias.double())
    bias = mixer.short_filter.bias
    assert bias is not None
    return (taps[:, None] * projected).float(), bias[:, None].float()


def _last_difference(one: Tensor, two: Tensor, first: int) -> int:
    """The last position at which two sequences (N,) differ; ``first`` where they are equal."""
    differ = (one != two).nonzero()
    return int(differ[-1]) if len(differ) else first
