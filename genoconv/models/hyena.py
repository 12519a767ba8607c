"""HyenaDNA, whole: token ids in, logits of the next base out.

    ids -> embedding -> n_layer x [ x + hyena(norm(x)),  x + mlp(norm(x)) ] -> norm -> logits

References:
    Poli et al. 2023, Hyena Hierarchy, https://arxiv.org/abs/2302.10866 (the operator, sections 3.1 to 3.3)
    Nguyen et al. 2023, HyenaDNA, https://arxiv.org/abs/2306.15794 (the language model on single nucleotides)

Letters in shapes: B batch, N tokens, D = d_model, E = emb_dim, F = filter_order, V = padded vocabulary. Modules and
parameters carry the names that the published checkpoints use, so that a state dict can be read against them.
The residual stream is (B, N, D) in float32; inside the operator everything is channels-first, (B, D, N), because the
long convolution runs along N: the two projections read and write that layout themselves and nothing is transposed.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from genoconv.errors import ModelError
from genoconv.models.config import ModelConfig
from genoconv.ops import FilterSpectrum, fftconv, prepare_filter

# Positions that the filter network handles at a time: its activations stay below 20 MB whatever the length.
_CHUNK = 2**15


class Sin(nn.Module):
    """sin(w x) with one learned frequency w a channel; x is (F, n)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        freq = torch.full((1, config.filter_order), float(config.activation_freq))
        self.freq: Tensor
        if config.train_freq:
            self.freq = nn.Parameter(freq)
        else:
            self.register_buffer("freq", freq, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.freq.T * x)


class Positions(nn.Module):
    """What the filter network sees of a position: time in [0, 1], then cosines, then sines of its angle."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.z: Tensor | None
        self.register_buffer("z", None)
        if config.stored_positions:
            self.register_buffer("z", torch.zeros(1, config.taps, config.emb_dim))

    def time(self, start: int, stop: int, device: torch.device) -> Tensor:
        """t_n = n / (taps - 1), shape (stop - start,), rounded as ``torch.linspace(0, 1, taps)`` does."""
        last = self.config.taps - 1
        n = torch.arange(start, stop, device=device, dtype=torch.float32)
        step = torch.tensor(1.0 / last, dtype=torch.float32, device=device)
        return torch.where(n < self.config.taps // 2, n * step, 1.0 - (last - n) * step)

    def forward(self, start: int, stop: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Features (E, n) and time (n,) of positions start to stop, in the published code's float32 arithmetic."""
        t = self.time(start, stop, device)
        if self.z is not None:
            return self.z[0, start:stop].T, t
        bands = (self.config.emb_dim - 1) // 2
        n = torch.arange(start, stop, device=device, dtype=torch.float32)
        angle = 2 * math.pi * n / self.config.taps
        f = torch.linspace(1e-4, bands - 1, bands, device=device)[:, None]
        return torch.cat([t[None], torch.cos(-f * angle), torch.sin(-f * angle)]), t


class Modulation(nn.Module):
    """Exponential decay in time, from slow in the first channel to fast in the last, above a floor."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        slow, fast = math.log(1e-2) / 1.5, math.log(1e-2) / 0.3
        self.deltas: Tensor
        self.register_buffer("deltas", torch.linspace(slow, fast, config.d_model)[None, None])

    def forward(self, t: Tensor, k: Tensor) -> Tensor:
        # t (n,), k (D, n)
        if not self.config.modulate:
            return k
        return k * (torch.exp(-self.deltas[0, 0, :, None].abs() * t) + self.config.modulation_shift)


class HyenaFilter(nn.Module):
    """The long filters of one layer, made from positions by a small network: k (D, N), and the skip D.

    They are always made in float32, under autocast too, and the parameters stay float32 when the model is moved to
    another floating type: a filter of a million taps does not survive 8 bits of mantissa.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.taps = config.taps
        width = config.filter_order
        act = Sin(config)  # one module: all activations of a layer share their frequencies, as published
        layers: list[nn.Module] = [nn.Linear(config.emb_dim, width), act]
        for _ in range(config.num_inner_mlps):
            layers += [nn.Linear(width, width), act]
        self.implicit_filter = nn.Sequential(*layers, nn.Linear(width, config.d_model, bias=False))
        self.bias = nn.Parameter(torch.empty(config.d_model))
        self.pos_emb = Positions(config)
        self.modulation = Modulation(config)

    def forward(self, length: int) -> Tensor:
        """k (D, K) float32 for inputs of ``length`` tokens, differentiable; K is the length, or all taps if fewer.

        Where it is long, a backward pass makes each chunk again.
        """
        length = min(length, self.taps)
        with torch.autocast(self.bias.device.type, enabled=False):
            if length <= _CHUNK:
                return self._piece(0, length)
            starts = range(0, length, _CHUNK)
            if torch.is_grad_enabled():
                make: Callable[..., Any] = lambda a, b: checkpoint(self._piece, a, b, use_reentrant=False)  # noqa: E731
                return torch.cat([make(a, min(a + _CHUNK, length)) for a in starts], dim=1)
            k = self.bias.new_empty(self.bias.numel(), length)
            for a in starts:
                k[:, a : a + _CHUNK] = self._piece(a, min(a + _CHUNK, length))
            return k

    def _piece(self, start: int, stop: int) -> Tensor:
        h, t = self.pos_emb(start, stop, self.bias.device)  # (E, n), (n,)
        for layer in self.implicit_filter:
            if isinstance(layer, nn.Linear):  # channels-first: the network's last product is k itself
                h = layer.weight @ h if layer.bias is None else torch.addmm(layer.bias[:, None], layer.weight, h)
            else:
                h = layer(h)
        k: Tensor = self.modulation(t, h)
        return k

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        moved: Self = super()._apply(move, recurse)  # type: ignore[no-untyped-call]
        return moved


class HyenaOperator(nn.Module):
    """Order 2: y = x0 * (k conv (x1 * v) + D (x1 * v)), with x0, x1, v = short causal convolutions of projections."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        D = config.d_model
        self.in_proj = nn.Linear(D, 3 * D)
        self.short_filter = nn.Conv1d(3 * D, 3 * D, config.short_filter_order, groups=3 * D)
        self.filter_fn = HyenaFilter(config)
        self.out_proj = nn.Linear(D, D)
        self._spectra: dict[int, FilterSpectrum] = {}  # by length, ascending
        self._made_from: tuple[tuple[int, int], ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D); output n depends on inputs 0 to n only."""
        x0, x1, v = self.short_convolve(self.project(x))
        return self.merge(self.convolve(x0, x1, v))

    def project(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, 3D, N): the projections, channels first."""
        weight, bias = self.in_proj.weight, self.in_proj.bias
        return torch.baddbmm(bias[:, None], weight.expand(len(x), -1, -1), x.transpose(1, 2))

    @property
    def reach(self) -> int:
        """How many earlier positions the short filter looks back to."""
        return self.short_filter.kernel_size[0] - 1

    def short_convolve(self, u: Tensor, *, before: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Short causal convolution of projections (B, 3D, N) -> x0, x1, v, each (B, D, N).

        ``before`` (B, 3D, ``reach``) are the projections just before ``u``; zeros if None.
        """
        u = F.pad(u, (self.reach, 0)) if before is None else torch.cat([before, u], dim=2)
        x0, x1, v = self.short_filter(u).chunk(3, dim=1)
        return x0, x1, v

    def convolve(self, x0: Tensor, x1: Tensor, v: Tensor) -> Tensor:
        """x0 * (k conv (x1 * v) + D (x1 * v)), all (B, D, N)."""
        k, skip = self._filter(v.shape[2])
        return fftconv(v, k, D=skip, gate_in=x1, gate_out=x0)

    def merge(self, y: Tensor) -> Tensor:
        """(B, D, N) -> (B, N, D): the output projection."""
        weight, bias = self.out_proj.weight, self.out_proj.bias
        return torch.baddbmm(bias, y.transpose(1, 2), weight.T.expand(len(y), -1, -1))

    def prepare(self, lengths: tuple[int, ...]) -> None:
        """Keep the transforms of this layer's filters for inputs of these lengths."""
        self._spectra = {}
        self._made_from = self._versions()
        if lengths:
            k = self.filter_fn(max(lengths))
            for n in sorted(lengths):
                self._spectra[n] = prepare_filter(k[:, :n], n, D=self.filter_fn.bias)

    def _filter(self, length: int) -> tuple[Tensor | FilterSpectrum, Tensor | None]:
        """What the convolution takes: a kept transform, D in it, or else k and D."""
        if self._spectra and not torch.is_grad_enabled():
            if self._made_from != self._versions():
                self._spectra = {}
            # A transform for longer inputs serves too, and is worth it up to twice the length.
            for prepared, spectrum in self._spectra.items():
                if length <= prepared <= 2 * length:
                    return spectrum, None
        return self.filter_fn(length), self.filter_fn.bias

    def _versions(self) -> tuple[tuple[int, int], ...]:
        # torch counts in-place changes of a tensor, except of those made in inference mode, which cannot be trained.
        tensors = (*self.filter_fn.parameters(), *self.filter_fn.buffers())
        return tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)


class Mlp(nn.Module):
    """Two linear layers with a tanh GELU between."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.d_model, config.d_inner)
        self.fc2 = nn.Linear(config.d_inner, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1(x), approximate="tanh"))
        return y


class Block(nn.Module):
    """Pre-norm: each branch reads a normalised copy of the float32 residual stream and adds to it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.d_model)
        self.mixer = HyenaOperator(config)
        self.norm2 = nn.LayerNorm(config.d_model)
        self.mlp = Mlp(config)
        self.dropout = nn.Dropout(config.resid_dropout)

    def forward(self, residual: Tensor) -> Tensor:
        """(B, N, D) float32 -> the same."""
        return self.finish(residual, self.mixer(self.normalise(residual)))

    def normalise(self, residual: Tensor) -> Tensor:
        """What the operator reads of the residual stream."""
        x: Tensor = self.norm1(residual.to(self.norm1.weight.dtype))
        return x

    def finish(self, residual: Tensor, mixed: Tensor) -> Tensor:
        """The rest of the block, from the operator's output ``mixed`` on; all (B, N, D)."""
        residual = residual + self.dropout(mixed)
        residual = residual + self.dropout(self.mlp(self.norm2(residual.to(self.norm2.weight.dtype))))
        return residual


class Backbone(nn.Module):
    """Embedding, blocks, last norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict({"word_embeddings": nn.Embedding(config.padded_vocab, config.d_model)})
        self.dropout = nn.Dropout(config.embed_dropout)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.d_model, eps=config.layer_norm_epsilon)


class HyenaDNA(nn.Module):
    """The language model.

    Attributes:
        config: its sizes.
        checkpointing: while training, keep only each block's input and compute the rest again in the backward pass:
            about a third more time for a several times longer sequence.
    """

    if TYPE_CHECKING:  # torch calls the result of any module Any

        def __call__(self, input_ids: Tensor) -> Tensor: ...

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        self.backbone = Backbone(config)
        self.lm_head = nn.Linear(config.d_model, config.padded_vocab, bias=False)
        self._initialise()
        if config.tied_head:
            self.lm_head.weight = self.embedding.weight

    @property
    def embedding(self) -> nn.Embedding:
        """The embedding of tokens, (V, D)."""
        table = self.backbone.embeddings["word_embeddings"]
        assert isinstance(table, nn.Embedding)
        return table

    def forward(self, input_ids: Tensor) -> Tensor:
        """Logits of the token after each position.

        Args:
            input_ids: (B, N) integers, 1 <= N <= ``config.input_limit``; right-pad shorter rows with PAD: what comes
                later never changes what came before.

        Returns:
            (B, N, V) logits; V is 16 for every published size. Entry [b, n] scores token n + 1 of row b.

        Raises:
            ModelError: ``input_ids`` is no (B, N) of integers, is empty or longer than the model's maximum, or (looked
                at on a CPU alone) holds what is no token.
        """
        logits: Tensor = self.lm_head(self.hidden(input_ids))
        return logits

    def hidden(self, input_ids: Tensor, *, layer: int | None = None) -> Tensor:
        """States of ``input_ids`` as in :meth:`forward`.

        Args:
            input_ids: (B, N) integers.
            layer: None for the last normalised states, which the logits are made of; otherwise the block, from 0 or
                from -1 backwards, whose output is wanted: the residual stream after it, not normalised.

        Returns:
            (B, N, D); float32 where a block's output is asked for.

        Raises:
            ModelError: as :meth:`forward`, or no such block.
        """
        self._check(input_ids)
        blocks = list(self.backbone.layers)
        if layer is not None:
            n = len(blocks)
            if not -n <= layer < n:
                raise ModelError(f"layer {layer}: this model has {n} blocks, 0 to {n - 1} or -{n} to -1")
            blocks = blocks[: layer % n + 1]
        x: Tensor = self.embedding(input_ids.int())
        x = self.backbone.dropout(x).float()
        for block in blocks:
            if self.checkpointing and self.training and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        if layer is None:
            x = self.backbone.ln_f(x.to(self.backbone.ln_f.weight.dtype))
        return x

    @torch.no_grad()
    def prepare(self, *lengths: int) -> "HyenaDNA":
        """Make every layer's filters and their transforms now, for inputs of up to these lengths.

        Calls without gradients use them, from half of a prepared length up; others still work and make their filters
        each time. What was kept before is dropped; it is dropped by itself when a filter's parameters change and by
        :meth:`train`. Costs some 4 to 16 bytes x d_model x length a layer for each length.

        Raises:
            ModelError: a length below 1 or above ``config.input_limit``.
        """
        for length in lengths:
            self._check_length(length)
        for block in self.backbone.layers:
            block.mixer.prepare(lengths)  # type: ignore[union-attr, operator]
        return self

    def train(self, mode: bool = True) -> "HyenaDNA":
        """As of any module; training drops what :meth:`prepare` kept."""
        if mode:
            self.prepare()
        return super().train(mode)

    def _check(self, input_ids: Tensor) -> None:
        if input_ids.ndim != 2 or input_ids.is_floating_point() or input_ids.is_complex():
            shape = "x".join(map(str, input_ids.shape)) or "scalar"
            raise ModelError(f"input_ids: got {shape} of {input_ids.dtype}; the model takes (batch, length) integers")
        self._check_length(input_ids.shape[1])
        if input_ids.device.type == "cpu" and input_ids.numel():  # on a GPU it would wait for the kernels before
            low, high = (int(extreme) for extreme in torch.aminmax(input_ids.int()))
            if low < 0 or high >= self.config.padded_vocab:
                last = self.config.padded_vocab - 1
                raise ModelError(
                    f"input_ids: token id {low if low < 0 else high} is outside the vocabulary, 0 to {last}"
                )

    def _check_length(self, length: int) -> None:
        limit = self.config.input_limit
        if length < 1 or (limit is not None and length > limit):
            takes = "1 or more" if limit is None else f"1 to {limit:,}; cut it into windows"
            raise ModelError(f"a sequence of {length:,} tokens: this model takes {takes}")

    @torch.no_grad()
    def _initialise(self) -> None:
        """As published: normal weights, zero biases, branches scaled down with depth (GPT-2's rule)."""
        std = self.config.initializer_range
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                deep = name.endswith(("out_proj", "fc2"))
                nn.init.normal_(module.weight, std=std / math.sqrt(2 * self.config.n_layer) if deep else std)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, HyenaFilter):
                nn.init.normal_(module.bias)
