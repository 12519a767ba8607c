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
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from genoconv.errors import ModelError
from genoconv.models.config import ModelConfig
from genoconv.models.packing import Packing, pack
from genoconv.ops import FilterSpectrum, add_norm, embed, fftconv, gated_short_conv, linear_gelu, prepare_filter
from genoconv.ops.filter import filter as filters
from genoconv.ops.longconv.packed import convolve_spans
from genoconv.ops.projection import from_channels, to_channels
from genoconv.tokens import PAD

# Positions that the filter network handles at a time: its activations stay below 20 MB whatever the length.
_CHUNK = 2**15


class Sin(nn.Module):
    """The frequencies w of sin(w x), one per neuron."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        freq = torch.full((1, config.filter_order), float(config.activation_freq))
        self.freq: Tensor
        if config.train_freq:
            self.freq = nn.Parameter(freq)
        else:
            self.register_buffer("freq", freq, persistent=False)


class Positions(nn.Module):
    """What the filter network sees of a position: time in [0, 1], then cosines, then sines of its angle."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.z: Tensor | None
        self.register_buffer("z", None)
        if config.stored_positions:
            self.register_buffer("z", torch.zeros(1, config.taps, config.emb_dim))

    def forward(self, start: int, stop: int) -> filters.Positions:
        """Positions start to stop."""
        table = None if self.z is None else self.z[0]
        return filters.Positions(start, stop - start, self.config.taps, table)


class Modulation(nn.Module):
    """Exponential decay in time, from slow in the first channel to fast in the last, above a floor."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        slow, fast = math.log(1e-2) / 1.5, math.log(1e-2) / 0.3
        self.deltas: Tensor
        self.register_buffer("deltas", torch.linspace(slow, fast, config.d_model)[None, None])

    def forward(self, positions: filters.Positions, k: Tensor) -> Tensor:
        # k (D, n)
        if not self.config.modulate:
            return k
        return filters.modulate(k, self.deltas[0, 0].abs(), positions, shift=self.config.modulation_shift)


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

        Without kernels that make it at once, a long one is made in chunks, each again in a backward pass.
        """
        length = min(length, self.taps)
        with torch.autocast(self.bias.device.type, enabled=False):
            if length <= _CHUNK or filters.unsupported(self._layers(), self._frequency()) is None:
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
        positions = self.pos_emb(start, stop)
        h = filters.sine_network(positions, self._layers(), self._frequency())
        k: Tensor = self.modulation(positions, self._linears()[-1].weight @ h)  # channels first
        return k

    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        return [(layer.weight, layer.bias) for layer in self._linears()[:-1]]

    def _linears(self) -> list[nn.Linear]:
        return [layer for layer in self.implicit_filter if isinstance(layer, nn.Linear)]

    def _frequency(self) -> Tensor:
        sine = self.implicit_filter[1]
        assert isinstance(sine, Sin)
        return sine.freq[0]

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

    def forward(self, x: Tensor, packing: Packing | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D) without the output projection's bias; output n depends on inputs 0 to n only.

        packing: of the sequences that the one row of ``x`` holds; none sees another.
        """
        u = self.project(x)
        if packing is not None and len(packing.gaps):
            u = u.index_copy_(2, packing.gaps, self._nothing(u, len(packing.gaps)))
        x0, gated = self.short_convolve(u)
        return self.merge(self.convolve(x0, gated, packing))

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
        return torch.cat([self._nothing(u, missing), u[:, :, start - self.reach + missing : start]], dim=2)

    def _nothing(self, u: Tensor, places: int) -> Tensor:
        """Projections (B, 3D, places) that are zero with the bias, which is added later."""
        return -self.in_proj.bias.to(u.dtype)[:, None].expand(len(u), -1, places)

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
    """Two linear layers with a tanh GELU between; without the second one's bias."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.d_model, config.d_inner)
        self.fc2 = nn.Linear(config.d_inner, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(linear_gelu(x, self.fc1.weight, self.fc1.bias), self.fc2.weight)


class Stream(NamedTuple):
    """The residual stream between blocks: what the last branch adds to it is added when it is next normalised.

    Attributes:
        residual: (B, N, D) float32.
        branch: (B, N, D), yet to be added, or None.
        bias: (D,), to be added with the branch, or None.
    """

    residual: Tensor
    branch: Tensor | None = None
    bias: Tensor | None = None

    def normalised(self, norm: nn.LayerNorm, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """The sum, and the layer norm of the sum, which has the type that products are made in, or ``dtype``."""
        return add_norm(
            self.residual,
            norm.weight,
            norm.bias,
            branch=self.branch,
            branch_bias=self.bias,
            eps=norm.eps,
            dtype=dtype or _product_type(norm.weight),
        )

    def settled(self) -> Tensor:
        """The sum, (B, N, D) float32."""
        if self.branch is None:
            return self.residual
        total = self.residual + self.branch
        return total if self.bias is None else total + self.bias


class Block(nn.Module):
    """Pre-norm: each branch reads a normalised copy of the float32 residual stream and adds to it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.d_model)
        self.mixer = HyenaOperator(config)
        self.norm2 = nn.LayerNorm(config.d_model)
        self.mlp = Mlp(config)
        self.dropout = nn.Dropout(config.resid_dropout)

    def forward(
        self,
        residual: Tensor,
        branch: Tensor | None = None,
        bias: Tensor | None = None,
        *,
        packing: Packing | None = None,
    ) -> Stream:
        """One :class:`Stream` to the next."""
        residual, x = Stream(residual, branch, bias).normalised(self.norm1)
        return self.finish(residual, self.mixer(x, packing))

    def finish(self, residual: Tensor, mixed: Tensor) -> Stream:
        """The rest of the block, from the operator's output ``mixed`` on; both (B, N, D)."""
        residual, x = self._branch(residual, mixed, self.mixer.out_proj.bias).normalised(self.norm2)
        return self._branch(residual, self.mlp(x), self.mlp.fc2.bias)

    def _branch(self, residual: Tensor, branch: Tensor, bias: Tensor) -> Stream:
        if self.training and self.dropout.p > 0:
            return Stream(residual, self.dropout(branch + bias.to(branch.dtype)))
        return Stream(residual, branch, bias)


def _product_type(weight: Tensor) -> torch.dtype:
    """The type of matrix products of ``weight``: its own, or that of autocast."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


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

        def __call__(self, input_ids: Tensor, *, cu_seqlens: Tensor | Sequence[int] | None = None) -> Tensor: ...

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

    def forward(self, input_ids: Tensor, *, cu_seqlens: Tensor | Sequence[int] | None = None) -> Tensor:
        """Logits of the token after each position.

        Args:
            input_ids: (B, N) integers, 1 <= N <= ``config.input_limit``; right-pad shorter rows with PAD: what comes
                later never changes what came before.
            cu_seqlens: for packed sequences: ``input_ids`` is (1, T), the sequences one after the other, and sequence r
                is tokens ``cu_seqlens[r]`` to ``cu_seqlens[r + 1]``; none sees another. R + 1 integers from 0 to T.

        Returns:
            (B, N, V) logits; V is 16 for every published size. Entry [b, n] scores token n + 1 of row b.

        Raises:
            ModelError: ``input_ids`` is no (B, N) of integers, is empty or longer than the model's maximum, or (looked
                at on a CPU alone) holds an invalid token id; ``cu_seqlens`` does not fit.
        """
        stream = self._stream(input_ids, list(self.backbone.layers), cu_seqlens)
        logits: Tensor = self.lm_head(stream.normalised(self.backbone.ln_f)[1])
        return logits

    def hidden(
        self, input_ids: Tensor, *, layer: int | None = None, cu_seqlens: Tensor | Sequence[int] | None = None
    ) -> Tensor:
        """States of ``input_ids`` as in :meth:`forward`.

        Args:
            input_ids: (B, N) integers.
            layer: None for the last normalised states, which the logits are made of; otherwise the block, from 0 or
                from -1 backwards, whose output is wanted: the residual stream after it, not normalised.
            cu_seqlens: as in :meth:`forward`.

        Returns:
            (B, N, D); float32 where a block's output is asked for.

        Raises:
            ModelError: as :meth:`forward`, or no such block.
        """
        blocks = list(self.backbone.layers)
        if layer is None:
            norm = self.backbone.ln_f
            return self._stream(input_ids, blocks, cu_seqlens).normalised(norm, norm.weight.dtype)[1]
        n = len(blocks)
        if not -n <= layer < n:
            raise ModelError(f"layer {layer}: this model has {n} blocks, 0 to {n - 1} or -{n} to -1")
        return self._stream(input_ids, blocks[: layer % n + 1], cu_seqlens).settled()

    def _stream(self, input_ids: Tensor, blocks: list[nn.Module], cu_seqlens: Tensor | Sequence[int] | None) -> Stream:
        """The residual stream after ``blocks``, the first ones of the model."""
        packing = None if cu_seqlens is None else self._packing(input_ids, cu_seqlens)
        self._check(input_ids, input_ids.shape[-1] if packing is None else packing.longest)
        ids = input_ids if packing is None else packing.spread(input_ids, PAD)
        stream = Stream(self.backbone.dropout(embed(ids.int(), self.embedding.weight)).float())
        for block in blocks:
            if self.checkpointing and self.training and torch.is_grad_enabled():
                stream = checkpoint(block, *stream, use_reentrant=False, packing=packing)
            else:
                stream = block(*stream, packing=packing)
        if packing is None:
            return stream
        branch = None if stream.branch is None else packing.gathered(stream.branch)
        return Stream(packing.gathered(stream.residual), branch, stream.bias)

    def _packing(self, input_ids: Tensor, cu_seqlens: Tensor | Sequence[int]) -> Packing:
        if input_ids.ndim != 2 or len(input_ids) != 1:
            shape = "x".join(map(str, input_ids.shape)) or "scalar"
            raise ModelError(f"input_ids: got {shape} with cu_seqlens; packed sequences are one row, (1, tokens)")
        first: HyenaOperator = self.backbone.layers[0].mixer  # type: ignore[assignment]
        return pack(cu_seqlens, input_ids.shape[1], reach=first.reach, device=input_ids.device)

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

    def _check(self, input_ids: Tensor, longest: int) -> None:
        if input_ids.ndim != 2 or input_ids.is_floating_point() or input_ids.is_complex():
            shape = "x".join(map(str, input_ids.shape)) or "scalar"
            raise ModelError(f"input_ids: got {shape} of {input_ids.dtype}; the model takes (batch, length) integers")
        self._check_length(longest)
        if torch.compiler.is_compiling():  # also torch.export: the values are not there yet
            return
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
