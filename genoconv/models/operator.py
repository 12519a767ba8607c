"""The Hyena operator of order 2 (Poli et al. 2023, sections 3.1 and 3.2): project, convolve twice, gate, merge.

B batch, N tokens, D = d_model. Inside, everything is channels-first, (B, D, N), because the long convolution runs along
N: the two projections read and write that layout themselves and nothing is transposed.
"""

import torch
import torch.nn as nn
from torch import Tensor

from genoconv.models.config import ModelConfig
from genoconv.models.filter import HyenaFilter
from genoconv.models.packing import Packing
from genoconv.models.spectra import KeptSpectra
from genoconv.ops import FilterSpectrum, fftconv, gated_short_conv
from genoconv.ops.longconv.packed import convolve_spans
from genoconv.ops.projection import from_channels, to_channels


class HyenaOperator(nn.Module):
    """Order 2: y = x0 * (k conv (x1 * v) + D (x1 * v)), with x0, x1, v = short causal convolutions of projections."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D = config.d_model
        self.in_proj = nn.Linear(D, 3 * D)
        self.short_filter = nn.Conv1d(3 * D, 3 * D, config.short_filter_order, groups=3 * D)
        self.filter_fn = HyenaFilter(config)
        self.out_proj = nn.Linear(D, D)
        self.spectra = KeptSpectra()

    def forward(self, x: Tensor, packing: Packing | None = None, *, start: int = 0) -> Tensor:
        """(B, N, D) -> (B, N - start, D) without the output projection's bias; output n depends on inputs 0 to n only.

        packing: of the sequences that the one row of ``x`` holds; none sees another.
        start: position of the first output.
        """
        u = self.project(x)
        if packing is not None and len(packing.gaps):
            u = u.index_copy_(2, packing.gaps, self._zeros(u, len(packing.gaps)))
        x0, gated = self.short_convolve(u)
        y = self.convolve(x0, gated, packing)
        return self.merge(y[:, :, start:] if start else y)

    def mix(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, D, N): all but the output projection."""
        return self.convolve(*self.short_convolve(self.project(x)))

    def project(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, 3D, N): the input projection, channels first, without its bias."""
        return to_channels(x, self.in_proj.weight)

    @property
    def reach(self) -> int:
        """How many earlier positions the short filter looks back to."""
        return self.short_filter.kernel_size[0] - 1

    def before(self, u: Tensor, start: int) -> Tensor:
        """The ``reach`` projections just before position ``start`` of u (B, 3D, N), for :meth:`short_convolve`."""
        missing = max(0, self.reach - start)
        return torch.cat([self._zeros(u, missing), u[:, :, start - self.reach + missing : start]], dim=2)

    def _zeros(self, u: Tensor, count: int) -> Tensor:
        """Projections (B, 3D, count) that are zero with the bias, which is added later."""
        return -self.in_proj.bias.to(u.dtype)[:, None].expand(len(u), -1, count)

    def short_convolve(self, u: Tensor, *, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Short causal convolution of projections (B, 3D, N) -> x0 and x1 * v, each (B, D, N).

        ``before`` (B, 3D, ``reach``) are the projections just before ``u``; none if None.
        """
        short, u_bias = self.short_filter, self.in_proj.bias
        return gated_short_conv(u, short.weight, short.bias, u_bias=u_bias, before=before)

    def convolve(self, x0: Tensor, gated: Tensor, packing: Packing | None = None) -> Tensor:
        """x0 * (k conv gated + D gated), all (B, D, N)."""
        if packing is not None:
            k, skip = self._filter(packing.longest)
            return convolve_spans(gated, k, packing.spans, skip, None, x0)
        k, skip = self._filter(gated.shape[2])
        return fftconv(gated, k, D=skip, gate_out=x0)

    def merge(self, y: Tensor) -> Tensor:
        """(B, D, N) -> (B, N, D): the output projection without its bias."""
        return from_channels(y, self.out_proj.weight)

    def prepare(self, lengths: tuple[int, ...]) -> None:
        """Keep the transforms of this layer's filters for inputs of these lengths; none drops what was kept."""
        self.spectra.prepare(self.filter_fn, lengths)

    def _filter(self, length: int) -> tuple[Tensor | FilterSpectrum, Tensor | None]:
        """What the convolution takes: a kept transform, D in it, or else k and D."""
        kept = None if torch.is_grad_enabled() else self.spectra.find(self.filter_fn, length)
        return (self.filter_fn(length), self.filter_fn.bias) if kept is None else (kept, None)
