"""HyenaDNA: token ids in, logits of the next base out.

    ids -> embedding -> n_layer x [ x + hyena(norm(x)),  x + mlp(norm(x)) ] -> norm -> logits

References:
    Poli et al. 2023, Hyena Hierarchy, https://arxiv.org/abs/2302.10866 (the operator, sections 3.1 to 3.3)
    Nguyen et al. 2023, HyenaDNA, https://arxiv.org/abs/2306.15794 (the language model on single nucleotides)

Letters in shapes: B batch, N tokens, D = d_model, V = padded vocabulary. Modules and parameters carry the names that
the published checkpoints use, so that a state dict can be read against them. The operator is in ``operator.py``, its
filters in ``filter.py``, the residual stream, (B, N, D) in float32, of float64 models in float64, in ``stream.py``.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from genoconv.errors import ModelError
from genoconv.models import cpu
from genoconv.models.config import ModelConfig
from genoconv.models.filter import HyenaFilter
from genoconv.models.inputs import check_ids, check_length
from genoconv.models.operator import HyenaOperator
from genoconv.models.packing import Packing, pack
from genoconv.models.stream import Stream
from genoconv.ops import embed, linear_gelu
from genoconv.ops.precision import upcast
from genoconv.tokens import PAD, A, T

_EVEN = 8
"""Positions: rows that are cut at a multiple begin on 16 bytes, with which products are twice as fast."""


class Mlp(nn.Module):
    """Two linear layers with a tanh GELU between; without the second one's bias."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.d_model, config.d_inner)
        self.fc2 = nn.Linear(config.d_inner, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(linear_gelu(x, self.fc1.weight, self.fc1.bias), self.fc2.weight)


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
        start: int = 0,
    ) -> Stream:
        """One :class:`Stream` to the next, which begins at position ``start``."""
        if packing is None and branch is None and cpu.serves(self, residual):
            return Stream(cpu.run(self, residual, start))
        residual, x = Stream(residual, branch, bias).normalised(self.norm1)
        return self.finish(residual[:, start:] if start else residual, self.mixer(x, packing, start=start))

    def finish(self, residual: Tensor, mixed: Tensor) -> Stream:
        """The rest of the block, from the operator's output ``mixed`` on; both (B, N, D)."""
        residual, x = self._branch(residual, mixed, self.mixer.out_proj.bias).normalised(self.norm2)
        return self._branch(residual, self.mlp(x), self.mlp.fc2.bias)

    def _branch(self, residual: Tensor, branch: Tensor, bias: Tensor) -> Stream:
        if self.training and self.dropout.p > 0:
            return Stream(residual, self.dropout(branch + bias.to(branch.dtype)))
        return Stream(residual, branch, bias)


class Backbone(nn.Module):
    """Embedding, blocks, last norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict({"word_embeddings": nn.Embedding(config.padded_vocab, config.d_model)})
        self.dropout = nn.Dropout(config.embed_dropout)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.d_model, eps=config.layer_norm_epsilon)


class HyenaDNA(nn.Module):
    """The HyenaDNA language model.

    Attributes:
        config: its sizes.
        checkpointing: in training, store only the input of each block and recompute the rest in the backward pass.
            This takes about a third longer and allows sequences several times as long.
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
        """Logits of the next token at each position.

        Args:
            input_ids: (B, N) integers, 1 <= N <= ``config.input_limit``. Pad shorter sequences on the right with PAD:
                later positions never affect earlier ones.
            cu_seqlens: for packed sequences, R + 1 integers from 0 to T: ``input_ids`` is (1, T), with the sequences
                one after the other, and sequence r is tokens ``cu_seqlens[r]`` to ``cu_seqlens[r + 1]``. Sequences do
                not see each other.

        Returns:
            (B, N, V) logits; V is 16 for every published size. Entry [b, n] predicts token n + 1 of sequence b.

        Raises:
            ModelError: ``input_ids`` is not (B, N) integers, is empty, is longer than the model's maximum, or contains
                an invalid token id (checked only on a CPU); or ``cu_seqlens`` does not match ``input_ids``.
        """
        stream = self._stream(input_ids, list(self.backbone.layers), cu_seqlens)
        logits: Tensor = self.lm_head(stream.normalised(self.backbone.ln_f)[1])
        return logits

    def hidden(
        self,
        input_ids: Tensor,
        *,
        layer: int | Literal["all"] | None = None,
        cu_seqlens: Tensor | Sequence[int] | None = None,
    ) -> Tensor:
        """Hidden states, one vector per position.

        Args:
            input_ids: (B, N) integers, as in :meth:`forward`.
            layer: None for the normalised states from which the logits are computed; otherwise a block, from 0, or
                from -1 backwards: the residual stream after it, not normalised; ``all`` is that of every block and
                then the normalised states, side by side.
            cu_seqlens: as in :meth:`forward`.

        Returns:
            (B, N, D), of ``all`` (B, N, (n_layer + 1) D); float32 with ``layer``.

        Raises:
            ModelError: as :meth:`forward`, or the model has no such block.
        """
        blocks = list(self.backbone.layers)
        if layer is None:
            norm = self.backbone.ln_f
            return self._stream(input_ids, blocks, cu_seqlens).normalised(norm, norm.weight.dtype)[1]
        if layer == "all":
            each = list[Stream]()
            final = self._stream(input_ids, blocks, cu_seqlens, each).normalised(self.backbone.ln_f)[1]
            return torch.cat([*(stream.settled() for stream in each), final.float()], dim=-1)
        n = len(blocks)
        if not (hasattr(layer, "__index__") and -n <= layer < n):
            raise ModelError(f"layer {layer}: this model has {n} blocks, 0 to {n - 1} or -{n} to -1")
        return self._stream(input_ids, blocks[: layer % n + 1], cu_seqlens).settled()

    def base_logits(self, input_ids: Tensor, *, start: int = 0) -> Tensor:
        """Logits of A, C, G and T alone at the positions from ``start`` on; the fewer, the less the last block takes.

        In float32 whatever the model's type: rounding logits to 8 bits would be most of a score's error in bfloat16.

        Args:
            input_ids: (B, N) integers, as in :meth:`forward`.
            start: 0 <= start < N.

        Returns:
            (B, N - start, 4) float32.

        Raises:
            ModelError: as :meth:`forward`, or ``start`` is not a position of ``input_ids``.
        """
        length = input_ids.shape[-1] if input_ids.ndim else 0
        if length and not 0 <= start < length:
            raise ModelError(f"start is {start:,}: it must be one of the {length:,} positions of input_ids, from 0 on")
        cut = start // _EVEN * _EVEN
        stream = self._stream(input_ids, list(self.backbone.layers), None, start=cut)
        return self.base_logits_of(stream)[:, start - cut :]

    def base_logits_of(self, stream: Stream) -> Tensor:
        """:meth:`base_logits` from the residual stream after the last block."""
        return F.linear(stream.in_float32(self.backbone.ln_f), self.lm_head.weight[A : T + 1].float())

    def _stream(
        self,
        input_ids: Tensor,
        blocks: list[nn.Module],
        cu_seqlens: Tensor | Sequence[int] | None,
        each: list[Stream] | None = None,
        *,
        start: int = 0,
    ) -> Stream:
        """The residual stream after ``blocks``, the first ones of the model; those after every one go to ``each``.

        It begins at position ``start``, where the last block needs no others.
        """
        check_ids(input_ids, vocabulary=self.config.padded_vocab)
        packing = None if cu_seqlens is None else pack(input_ids, cu_seqlens, reach=self.config.short_filter_order - 1)
        check_length(input_ids.shape[1] if packing is None else packing.longest, limit=self.config.input_limit)
        ids = input_ids if packing is None else packing.spread(input_ids, PAD)
        stream = Stream(self.backbone.dropout(embed(ids.int(), upcast(self.embedding.weight))))
        for block in blocks:
            first = start if block is blocks[-1] else 0
            if self.checkpointing and self.training and torch.is_grad_enabled():
                stream = checkpoint(block, *stream, use_reentrant=False, packing=packing, start=first)
            else:
                stream = block(*stream, packing=packing, start=first)
            if each is not None:
                each.append(Stream(*stream) if packing is None else Stream(*stream).gathered(packing))
        return stream if packing is None else stream.gathered(packing)

    @torch.no_grad()
    def prepare(self, *lengths: int) -> "HyenaDNA":
        """Compute and cache the filters of all layers, and their transforms, for inputs of ``lengths`` tokens.

        Calls without gradients use them for inputs from half a prepared length up to that length; other calls compute
        their filters each time. The cache is discarded by another ``prepare``, by :meth:`train` and by a change of a
        filter's parameters; torch does not report changes made through ``.data``, so call it again after those. It
        takes about 4 to 16 bytes x d_model x length per layer, for each length.

        Raises:
            ModelError: a length that is not a whole number, below 1 or above ``config.input_limit``.
        """
        for length in lengths:
            if not hasattr(length, "__index__"):
                raise ModelError(f"a length of {length!r} tokens: it must be a whole number")
            check_length(length, limit=self.config.input_limit)
        for block in self.backbone.layers:
            block.mixer.prepare(lengths)  # type: ignore[union-attr, operator]
        return self

    def train(self, mode: bool = True) -> "HyenaDNA":
        """Training mode, or with ``mode=False`` evaluation; training drops what :meth:`prepare` kept."""
        if mode:
            self.prepare()
        return super().train(mode)

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
