"""Read an alternative window from where it first differs from its reference.

A causal model gives the same states for two sequences up to their first difference, so an alternative needs only the
part from there on, and its window is centred on the variant: half of the work. The long convolution looks back over
the whole prefix, but it is linear: with g the gated input of the reference, g' that of the alternative and k the
filter, both equal before position s,

    k conv g'  =  k conv g  +  k conv (g' - g),      (g' - g)[n] = 0 for n < s,

and the second term is a convolution over the suffix alone. What is kept of a reference, per layer, is its gated input
and its convolution from s on, and the few projected columns before s that the short filter reaches back to.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from genoconv.models.hyena import Block, HyenaDNA
from genoconv.models.operator import HyenaOperator
from genoconv.models.stream import Stream
from genoconv.ops import FilterSpectrum, fftconv, prepare_filter


@dataclass(frozen=True, slots=True)
class Kept:
    """What one block of a reference pass leaves for its alternatives, from position s on; S = N - s.

    Attributes:
        edge: (B, 3D, short_filter_order - 1) projections of the positions just before s, without their bias.
        minus_gated: (B, D, S) gated input of the long convolution, negative: it will be subtracted.
        convolved: (B, D, S) its output, skip included.
    """

    edge: Tensor
    minus_gated: Tensor
    convolved: Tensor


class SuffixReuse:
    """Reference passes that leave something behind, and alternative passes that use it.

    Args:
        model: in eval mode.
        length: N, tokens in a window.
        start: s, 0 < s < N: alternatives agree with their reference up to and including this position.
    """

    def __init__(self, model: HyenaDNA, *, length: int, start: int) -> None:
        self.model = model
        self.length = length
        self.start = start
        self._blocks: list[Block] = list(model.backbone.layers)  # type: ignore[arg-type]
        self._filters = [self._prepare(block.mixer) for block in self._blocks]

    @torch.inference_mode()
    def _prepare(self, mixer: HyenaOperator) -> tuple[FilterSpectrum, FilterSpectrum]:
        """Transforms of a layer's filter for whole windows and for suffixes."""
        k = mixer.filter_fn(self.length)
        whole, suffix = (
            prepare_filter(k[:, :n], n, D=mixer.filter_fn.bias) for n in (self.length, self.length - self.start)
        )
        return whole, suffix

    def reference(self, ids: Tensor, *, whole: bool = True) -> tuple[Tensor, list[Kept]]:
        """Read references.

        Args:
            ids: (B, N) integers.
            whole: give logits of all positions; otherwise those from s on, which spares most of the last block.

        Returns:
            Logits of A, C, G, T, (B, N, 4) or (B, S, 4), float32, and what each block leaves.
        """
        stream = Stream(self.model.embedding(ids.int()).float())
        states = []
        for block, (transform, _) in zip(self._blocks, self._filters, strict=True):
            mixer, s = block.mixer, self.start
            residual, x = stream.normalised(block.norm1)
            projected = mixer.project(x)
            x0, gated = mixer.short_convolve(projected)
            convolved = fftconv(gated, transform)
            states.append(Kept(mixer.before(projected, s), -gated[:, :, s:], convolved[:, :, s:].clone()))
            mixed = convolved.mul_(x0)
            if not whole and block is self._blocks[-1]:
                # Nobody looks at what comes before s any more.
                residual, mixed = residual[:, s:], mixed[:, :, s:]
            stream = block.finish(residual, mixer.merge(mixed))
        return self.model.base_logits_of(stream), states

    def alternative(self, ids: Tensor, states: list[Kept], rows: Tensor) -> Tensor:
        """Read alternatives from s on.

        Args:
            ids: (A, S) integers, the windows from s on.
            states: from :meth:`reference`.
            rows: (A,) which of the B references each belongs to.

        Returns:
            Logits of A, C, G, T, (A, S, 4): entry [a, n] scores token s + n + 1.
        """
        stream = Stream(self.model.embedding(ids.int()).float())
        for block, (_, suffix), kept in zip(self._blocks, self._filters, states, strict=True):
            mixer = block.mixer
            residual, x = stream.normalised(block.norm1)
            x0, gated = mixer.short_convolve(mixer.project(x), before=kept.edge[rows])
            change = kept.minus_gated[rows].add_(gated)
            mixed = fftconv(change, suffix).add_(kept.convolved[rows]).mul_(x0)
            stream = block.finish(residual, mixer.merge(mixed))
        return self.model.base_logits_of(stream)
