"""The filters of a Hyena operator: a small network of sines, from positions to taps (Poli et al. 2023, section 3.3).

    position -> [time, cos, sin] -> linear -> sin -> ... -> linear -> k, times a window that decays exponentially

Letters in shapes: D = d_model, K taps, E = emb_dim, F = filter_order. Modules and parameters carry the names that the
published checkpoints use.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from genoconv.models.config import ModelConfig
from genoconv.models.float32 import Float32Module
from genoconv.ops.filter import filter as filters
from genoconv.ops.filter import positions
from genoconv.ops.precision import full_precision

# Positions that the filter network handles at a time: its activations stay below 20 MB whatever the length.
_CHUNK = 2**15


class Sin(nn.Module):
    """The frequencies w of sin(w x), one per neuron.

    like: a module that shares its frequencies with this one. Both are not one module, because one with two names is
    not restored by ``torch.func.functional_call``.
    """

    def __init__(self, config: ModelConfig, *, like: "Sin | None" = None) -> None:
        super().__init__()
        freq = torch.full((1, config.filter_order), float(config.activation_freq)) if like is None else like.freq
        self.freq: Tensor
        if config.train_freq:
            self.freq = freq if isinstance(freq, nn.Parameter) else nn.Parameter(freq)
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

    def forward(self, start: int, stop: int) -> positions.Positions:
        """Positions start to stop."""
        table = None if self.z is None else self.z[0]
        return positions.Positions(start, stop - start, self.config.taps, table)


class Modulation(nn.Module):
    """Exponential decay in time, from slow in the first channel to fast in the last, above a floor."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        slow, fast = math.log(1e-2) / 1.5, math.log(1e-2) / 0.3
        self.deltas: Tensor
        self.register_buffer("deltas", torch.linspace(slow, fast, config.d_model)[None, None])

    def rates(self) -> Tensor | None:
        """Of every channel, (D,); None where filters do not decay."""
        return self.deltas[0, 0].abs() if self.config.modulate else None


class HyenaFilter(Float32Module):
    """The long filters of one layer, made from positions by a small network: k (D, N), and the skip D.

    They are always made in float32, under autocast too, and the parameters stay float32 when the model is moved to
    another floating type: a filter of a million taps does not survive 8 bits of mantissa.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.taps = config.taps
        width = config.filter_order
        act = Sin(config)  # all activations of a layer share their frequencies, as published
        layers: list[nn.Module] = [nn.Linear(config.emb_dim, width), act]
        for _ in range(config.num_inner_mlps):
            layers += [nn.Linear(width, width), Sin(config, like=act)]
        self.implicit_filter = nn.Sequential(*layers, nn.Linear(width, config.d_model, bias=False))
        self.bias = nn.Parameter(torch.empty(config.d_model))
        self.pos_emb = Positions(config)
        self.modulation = Modulation(config)

    def forward(self, length: int) -> Tensor:
        """k (D, K) float32 for inputs of ``length`` tokens, differentiable; K is the length, or all taps if fewer.

        Without kernels that make it at once, a long one is made in chunks, each again in a backward pass.
        """
        length = min(length, self.taps)
        with full_precision(self.bias):
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
        places = self.pos_emb(start, stop)
        h = filters.sine_network(places, self._layers(), self._frequency())
        rates, shift = self.modulation.rates(), self.modulation.config.modulation_shift
        return filters.taps(self._linears()[-1].weight, h, rates, places, shift=shift)

    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        return [(layer.weight, layer.bias) for layer in self._linears()[:-1]]

    def _linears(self) -> list[nn.Linear]:
        return [layer for layer in self.implicit_filter if isinstance(layer, nn.Linear)]

    def _frequency(self) -> Tensor:
        sine = self.implicit_filter[1]
        assert isinstance(sine, Sin)
        return sine.freq[0]
