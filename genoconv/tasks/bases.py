"""Predictions of a head without pooling, base by base, for sequences of any length."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from genoconv.models.heads import Predictor
from genoconv.models.parts import overlapping
from genoconv.tasks.batching import portions
from genoconv.tasks.embed import Embedder
from genoconv.tasks.pooling import Pool
from genoconv.tasks.predict import outputs
from genoconv.tasks.spans import Span
from genoconv.tokens import Tokens, reverse_complement

Array = npt.NDArray[np.float32]

_HELD_VALUES = 1 << 24
"""Of states that are held at once: 64 MiB."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bases ``first`` to ``last`` of a record, which is read as far as they need it.

    Attributes:
        tokens: of the whole record, in the direction of reading.
        first, last: 0-based half-open.
    """

    tokens: Tokens
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    def part(self, first: int, last: int) -> "Stretch":
        """Bases ``first`` to ``last`` of these, 0-based half-open."""
        return Stretch(self.tokens, self.first + first, self.first + last)


def whole(tokens: Tokens) -> Stretch:
    """All bases of a record."""
    return Stretch(tokens, 0, len(tokens))


class BaseVectors:
    """What a head without pooling sees of each base: :meth:`.Predictor.pooled`, whatever the batch.

    Args:
        model: a fine-tuned model that predicts every base.
        both_strands: read the opposite strand too; None as the head was trained.
        batch_size: windows read at once; from free memory if None.
    """

    def __init__(self, model: Predictor, *, both_strands: bool | None = None, batch_size: int | None = None) -> None:
        self.model = model
        head = model.head.config
        self.both = head.both_strands if both_strands is None else both_strands
        assert self.both or head.sides == 1
        self.embedder = Embedder(model, pool=Pool.NONE, batch_size=batch_size)
        self.most = max(_HELD_VALUES // (model.config.d_model * head.sides), self.embedder.max_length)

    def __call__(self, stretches: Sequence[Stretch]) -> list[Array]:
        """(bases, S) float32 of each stretch, in the order of its bases."""
        forward = self._states(stretches, backwards=False)
        if not self.both:
            return forward
        other = self._states(stretches, backwards=True)
        if self.model.head.config.stranded:
            return [np.concatenate(pair, axis=1) for pair in zip(forward, other, strict=True)]
        return [(one + two) / np.float32(2) for one, two in zip(forward, other, strict=True)]

    def _states(self, stretches: Sequence[Stretch], *, backwards: bool) -> list[Array]:
        pieces = [piece for stretch in stretches for piece in self._pieces(stretch, backwards=backwards)]
        states = iter(zip(self.embedder([span for span, _ in pieces]), pieces, strict=True))
        found = []
        for stretch in stretches:
            parts, missing = [np.empty((0, self.embedder.width), np.float32)], len(stretch)
            while missing:
                values, (_, kept) = next(states)
                parts.append(values[kept:])
                missing -= len(parts[-1])
            joined = np.concatenate(parts)
            found.append(joined[::-1] if backwards else joined)
        return found

    def _pieces(self, stretch: Stretch, *, backwards: bool) -> Iterator[tuple[Span, int]]:
        """Windows to read, and from which of their bases on they are kept; backwards, from the end of the record."""
        if not len(stretch):
            return
        tokens, length = stretch.tokens, len(stretch.tokens)
        first, last = (length - stretch.last, length - stretch.first) if backwards else (stretch.first, stretch.last)
        for start, kept, end in overlapping(first, last, length=length, longest=self.embedder.max_length):
            part = reverse_complement(tokens[length - end : length - start]) if backwards else tokens[start:end]
            yield Span("", "", start, end, "+", part), kept - start


class BaseOutputs:
    """Outputs and predictions for every base; arguments as of :class:`BaseVectors`."""

    def __init__(self, model: Predictor, *, both_strands: bool | None = None, batch_size: int | None = None) -> None:
        self.model = model
        self._vectors = BaseVectors(model, both_strands=both_strands, batch_size=batch_size)

    def __call__(
        self, stretches: Sequence[Stretch], *, advance: Callable[[float], None] | None = None
    ) -> list[npt.NDArray[np.float64]]:
        """Logits, or values in the unit of the targets, (bases, K) of each stretch; see :func:`.predict.outputs`.

        Args:
            stretches: any number, of any length.
            advance: called with the number of bases that have just been done.
        """
        found: list[list[npt.NDArray[np.float64]]] = [[] for _ in stretches]
        numbers, most = range(len(stretches)), self._vectors.most
        for group in portions(numbers, size=lambda number: len(stretches[number]), most=most):
            parts = [stretches[number].part(first, last) for number, first, last in group]
            for (number, _, _), vectors in zip(group, self._vectors(parts), strict=True):
                found[number].append(outputs(self.model, vectors))
            if advance is not None:
                advance(sum(map(len, parts)))
        blank = np.empty((0, self.model.head.config.outputs))
        return [np.concatenate(parts) if parts else blank for parts in found]

    def predictions(
        self, stretches: Sequence[Stretch], *, advance: Callable[[float], None] | None = None
    ) -> list[Array]:
        """Probabilities or values (bases, K) of each stretch; see :meth:`.Predictor.predict`."""
        found = self(stretches, advance=advance)
        return [probabilities(self.model, some).astype(np.float32) for some in found]


def probabilities(model: Predictor, found: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of logits (..., K); values of a regression as they are."""
    if model.head.config.kind == "regression":
        return found
    values: npt.NDArray[np.float64] = model.head.predictions(torch.from_numpy(found)).numpy()
    return values
