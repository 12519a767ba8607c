"""Plain rivals of a fine-tuned model: a linear model on GC content, on k-mers, or on given vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from genoconv.models.heads import Head, HeadConfig
from genoconv.tokens import A, C, G, T, Tokens

Array = npt.NDArray[np.float32]

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_STEPS = 200


def gc_share(sequences: Sequence[Tokens]) -> Array:
    """(N, 1): GC content among the bases A, C, G, T."""
    found = [((s == C) | (s == G)).sum() / max(1, ((s >= A) & (s <= T)).sum()) for s in sequences]
    return np.array(found, np.float32)[:, None]


def kmer_shares(sequences: Sequence[Tokens], k: int, *, both_strands: bool) -> Array:
    """(N, 4^k): share of each k-mer among those without other letters; with ``both_strands``, of both strands."""
    found = np.zeros((len(sequences), 4**k), np.float32)
    for row, sequence in zip(found, sequences, strict=True):
        numbers = _numbers(sequence, k)
        if len(numbers):
            row += np.bincount(numbers, minlength=4**k) / len(numbers)
    return ((found + found[:, _opposites(k)]) / 2).astype(np.float32) if both_strands else found


def _numbers(sequence: Tokens, k: int) -> npt.NDArray[np.int64]:
    if len(sequence) < k:
        return np.empty(0, np.int64)
    digits, known = sequence.astype(np.int64) - A, (sequence >= A) & (sequence <= T)
    numbers = np.zeros(len(digits) - k + 1, np.int64)
    whole = np.ones(len(digits) - k + 1, np.bool_)
    for offset in range(k):
        numbers = numbers * 4 + digits[offset : len(digits) - k + 1 + offset]
        whole &= known[offset : len(digits) - k + 1 + offset]
    return numbers[whole]


def _opposites(k: int) -> npt.NDArray[np.int64]:
    """Number of each k-mer's reverse complement."""
    numbers = np.arange(4**k)
    found = np.zeros(4**k, np.int64)
    for _ in range(k):
        found = found * 4 + (3 - numbers % 4)
        numbers //= 4
    return found


@dataclass(frozen=True)
class Probe:
    """A linear model on standardised features.

    Attributes:
        head: what it predicts.
        loss: on the validation set.
    """

    head: HeadConfig
    loss: float
    weights: Tensor
    bias: Tensor
    scales: "_Scales"

    def predict(self, features: Array) -> Array:
        """(N, F) -> (N, K): probabilities or values, as :meth:`.Predictor.predict`."""
        outputs = self.scales.features(features) @ self.weights + self.bias
        if self.head.kind == "regression":
            outputs = outputs * self.scales.unit + self.scales.offset
        else:
            outputs = outputs.softmax(1) if self.head.kind == "multiclass" else outputs.sigmoid()
        found: Array = outputs.float().numpy()
        return found

    @torch.no_grad()
    def give(self, head: Head) -> None:
        """Let a head, which has its scales already, predict what this model does."""
        center, spread, offset, unit = (
            tensor.double().cpu() for tensor in (head.center, head.spread, head.offset, head.unit)
        )
        ours = self.scales
        weights = self.weights * (spread / ours.spread)[:, None]
        bias = self.bias + ((center - ours.center) / ours.spread) @ self.weights
        if self.head.kind == "regression":
            weights, bias = weights * ours.unit / unit, (bias * ours.unit + ours.offset - offset) / unit
        head.linear.weight.copy_(weights.T)
        head.linear.bias.copy_(bias)


@dataclass(frozen=True)
class _Scales:
    """Mean and standard deviation of features and, of a regression, of targets."""

    center: Tensor
    spread: Tensor
    offset: Tensor
    unit: Tensor

    @classmethod
    def of(cls, features: Array, targets: Array) -> "_Scales":
        found = []
        for values in (features, targets):
            spread = np.nanstd(values, axis=0, dtype=np.float64)
            center = np.nanmean(values, axis=0, dtype=np.float64)
            found += [center, np.where(spread > 1e-9 * np.maximum(1e-9, np.abs(center)), spread, 1.0)]
        return cls(*map(torch.from_numpy, found))

    def features(self, features: Array) -> Tensor:
        return (torch.from_numpy(features).double() - self.center) / self.spread

    def targets(self, head: HeadConfig, targets: Array) -> Tensor:
        values = torch.from_numpy(targets).double()
        return (values - self.offset) / self.unit if head.kind == "regression" else values


def fit_probe(head: HeadConfig, features: Array, targets: Array, *, valid: tuple[Array, Array]) -> Probe:
    """Logistic or linear regression, fitted to convergence for each of :data:`PENALTIES`.

    Args:
        head: the task.
        features: (N, F) of the training set.
        targets: (N, C) as :class:`.Labelled` takes them; of several, some may be NaN.
        valid: features and targets by which the penalty is chosen: the lowest loss.
    """
    scales = _Scales.of(features, targets)
    x, y = scales.features(features), scales.targets(head, targets)
    held_x, held_y = scales.features(valid[0]), scales.targets(head, valid[1])
    parameters = torch.zeros(x.shape[1] + 1, head.outputs, dtype=torch.float64)
    found = []
    for penalty in sorted(PENALTIES, reverse=True):
        parameters = _fit(head, x, y, penalty=penalty, start=parameters)
        loss = float(_loss(head, held_x @ parameters[:-1] + parameters[-1], held_y))
        found.append(Probe(head, loss, parameters[:-1], parameters[-1], scales))
    return min(found, key=lambda probe: probe.loss)


def _fit(head: HeadConfig, x: Tensor, y: Tensor, *, penalty: float, start: Tensor) -> Tensor:
    parameters = start.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([parameters], max_iter=_STEPS, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = _loss(head, x @ parameters[:-1] + parameters[-1], y)
        value = value + penalty * parameters[:-1].square().sum() / 2
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return parameters.detach()


def _loss(head: HeadConfig, outputs: Tensor, targets: Tensor) -> Tensor:
    if head.kind == "multiclass":
        return F.cross_entropy(outputs, targets[:, 0].long())
    known = targets.isfinite()
    each = F.mse_loss if head.kind == "regression" else F.binary_cross_entropy_with_logits
    return each(outputs[known], targets[known])
