"""Checks a published checkpoint's tensors: all there, alike where they are shared, as computed where that is known."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from genoconv.models import weights
from genoconv.models.config import ModelConfig
from genoconv.models.published import layouts
from genoconv.models.published.layouts import Layout

# Largest difference, in float32, between stored and computed positional features that rounding explains: the angle
# reaches 2 pi (bands - 1) and is rounded once or twice at 1e-7 of that.
_ROUNDING = 1e-5

EMBEDDING = "backbone.embeddings.word_embeddings.weight"
_HEAD = "lm_head.weight"


def filter_name(layer: int) -> str:
    """Start of the names of a layer's long filter."""
    return f"backbone.layers.{layer}.mixer.filter_fn."


def published_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors that a published checkpoint holds, duplicates and features included."""
    model = weights.bare_model(replace(config, tied_head=False, stored_positions=False), device="meta")
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for i in range(config.n_layer):
        shapes[f"{filter_name(i)}pos_emb.z"] = (1, config.max_length, config.emb_dim)
        shapes[f"{filter_name(i)}pos_emb.t"] = (1, config.max_length, 1)
    return shapes


def published_positions(config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Positional features z (1, L, E) and time t (1, L, 1), float32, by the formulas of the published code."""
    L, bands = config.max_length, (config.emb_dim - 1) // 2
    t = torch.linspace(0, 1, L)[None, :, None]
    w = 2 * math.pi * torch.linspace(0, L - 1, L)[None, :, None] / L
    f = torch.linspace(1e-4, bands - 1, bands)[None, None]
    return torch.cat([t, torch.cos(-f * w), torch.sin(-f * w)], dim=-1), t


class TensorReader:
    """Checks a checkpoint's tensors against its configuration and takes from them what our model stores.

    Attributes:
        config: the sizes; after :meth:`check` also what the tensors show: a tied head, trained positions.
        problems: one entry per faulty tensor.
        notes: what the user should know.
    """

    def __init__(self, config: ModelConfig, layout: Layout, tensors: Mapping[str, Tensor], *, tie: bool) -> None:
        """Take the ``tensors`` under genoconv's names; ``tie``: the file says that head and embedding are one."""
        self.config = config
        self.layout = layout
        self.tensors = tensors
        self.tie = tie
        self.problems: list[str] = []
        self.notes: list[str] = []

    def check(self) -> None:
        """Fill ``problems`` and ``notes``."""
        shapes = published_shapes(self.config)
        optional = {name for name in shapes if ".pos_emb." in name}
        for i in range(self.config.n_layer):
            freqs = self._freqs(i)
            if any(name in self.tensors for name in freqs):  # safetensors files may hold a shared tensor once
                optional.update(freqs)
        if self.tie and self.layout is layouts.HF:
            optional.add(_HEAD)
        wanted = {name: shape for name, shape in shapes.items() if name not in optional or name in self.tensors}
        self.problems = weights.compare_tensors(self.tensors, wanted)
        if self.problems:
            own = {self.layout.published_name(name) for name in shapes}
            self.problems = [self._in_their_words(problem, own) for problem in self.problems]
            return
        self._check_shared()
        self._check_positions()

    def own(self) -> dict[str, Tensor]:
        """What our model stores, float32."""
        names = weights.expected_shapes(self.config)
        found = dict(self.tensors)
        for i in range(self.config.n_layer):
            freqs = self._freqs(i)
            there = [name for name in freqs if name in self.tensors]
            found.update(dict.fromkeys(freqs, self.tensors[there[0]]) if there else {})
        return {name: found[name].float() for name in names}

    def kept(self) -> dict[str, Tensor]:
        """What the model cannot give back: positional features as the file has them, once where every layer has the
        same, and as ``exact.NAME`` what float32 rounds.
        """
        double = {name: t for name, t in self.tensors.items() if t.dtype == torch.float64}
        own = (f"{filter_name(i)}pos_emb.z" for i in range(self.config.n_layer) if self.config.stored_positions)
        whole = {name for name in double if ".pos_emb." not in name} | set(own) & set(double)
        kept = {f"exact.{name}": double[name].contiguous() for name in sorted(whole)}
        for part in "zt":
            each = {i: self.tensors.get(f"{filter_name(i)}pos_emb.{part}") for i in range(self.config.n_layer)}
            there = {i: t.contiguous() for i, t in each.items() if t is not None}
            if not there or (part == "z" and self.config.stored_positions):
                continue
            first = next(iter(there.values()))
            if all(torch.equal(t, first) for t in there.values()):
                kept[f"pos_emb.{part}"] = first
            else:
                kept.update({f"layers.{i}.pos_emb.{part}": t for i, t in there.items()})
        return kept

    def _freqs(self, layer: int) -> list[str]:
        if not self.config.train_freq:
            return []
        last = 2 * self.config.num_inner_mlps + 1
        return [f"{filter_name(layer)}implicit_filter.{n}.freq" for n in range(1, last + 1, 2)]

    def _in_their_words(self, problem: str, own: set[str]) -> str:
        """Name a tensor as the file does."""
        word, name, rest = problem.split(" ", 2)
        theirs = self.layout.published_name(name)
        return f"{word} {theirs if theirs in own else name} {rest}"

    def _check_shared(self) -> None:
        for i in range(self.config.n_layer):
            there = [name for name in self._freqs(i) if name in self.tensors]
            if any(not torch.equal(self.tensors[name], self.tensors[there[0]]) for name in there):
                names = ", ".join(self.layout.published_name(name) for name in there)
                self.problems.append(f"tensors {names} differ; the activations of a layer share one frequency")
        head = self.tensors.get(_HEAD)
        tied = head is None or torch.equal(head, self.tensors[EMBEDDING])
        if self.tie and not tied:
            theirs = self.layout.published_name
            self.problems.append(f"tensor {theirs(_HEAD)} differs from {theirs(EMBEDDING)}, which it is tied to")
        self.config = replace(self.config, tied_head=tied)

    def _check_positions(self) -> None:
        worst = 0.0
        for part, computed in zip("zt", published_positions(self.config), strict=True):
            for i in range(self.config.n_layer):
                name = f"{filter_name(i)}pos_emb.{part}"
                stored = self.tensors.get(name)
                if stored is None:
                    continue
                rounding = max(_ROUNDING, 2 * torch.finfo(stored.dtype).eps if stored.dtype != torch.float32 else 0.0)
                difference = float((stored.float() - computed).abs().max())
                if part == "z" and difference > rounding:
                    worst = max(worst, difference)
                elif difference > rounding:
                    theirs = self.layout.published_name(name)
                    self.problems.append(
                        f"tensor {theirs} differs by {difference:.2g} from n / (L - 1), L = {self.config.max_length:,}"
                    )
        features = [f"{filter_name(i)}pos_emb.z" for i in range(self.config.n_layer)]
        if worst:
            absent = [self.layout.published_name(name) for name in features if name not in self.tensors]
            self.problems += [f"tensor {name} is missing, and those of other layers were trained" for name in absent]
            self.config = replace(self.config, stored_positions=True)
            self.notes.append(
                f"positional features differ from the computed ones by up to {worst:.2g}: trained, and taken as stored"
            )
        elif not any(name in self.tensors for name in features):
            self.notes.append("no positional features stored: computed")
