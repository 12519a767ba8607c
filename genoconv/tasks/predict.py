"""Predictions of a fine-tuned model for sequences of any length, in batches that fit the memory."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from genoconv.models.heads import Predictor
from genoconv.tasks.embed import Embedder
from genoconv.tasks.pooling import Pool, Reading
from genoconv.tasks.spans import Span

Array = npt.NDArray[np.float32]


class PooledVectors:
    """The vectors that a head sees: :meth:`.Predictor.pooled`, whatever the batch; a sequence has the same in any.

    Args:
        model: a fine-tuned model.
        both_strands: read each sequence and its reverse complement; None as the head was trained.
        batch_size: pieces read at once; from free memory if None.
    """

    def __init__(self, model: Predictor, *, both_strands: bool | None = None, batch_size: int | None = None) -> None:
        self.model = model
        self.both = model.head.config.both_strands if both_strands is None else both_strands
        pools = {"mean": Pool.MEAN, "last": Pool.LAST, "attention": Pool.NONE}
        self.pool = pools[model.head.config.pooling]
        reading = Reading.BOTH if self.both and self.pool != Pool.NONE else Reading.FORWARD
        layer: Literal["all"] | None = "all" if model.head.config.layers == "all" else None
        self.embedder = Embedder(model, pool=self.pool, reading=reading, layer=layer, batch_size=batch_size)

    @torch.inference_mode()
    def __call__(self, spans: Sequence[Span], *, advance: Callable[[float], None] | None = None) -> Array:
        """(spans, S) float32, in the order of the spans; NaN for an empty one.

        Args:
            spans: what to read, each in the direction of its strand.
            advance: called with the number of bases of ``spans`` that have just been done.
        """
        if self.pool != Pool.NONE:
            found = self.embedder(spans, advance=advance)
            return np.concatenate(found) if found else np.empty((0, self.embedder.width), np.float32)
        vectors = self._attended(spans, advance)
        if self.both:
            vectors = (vectors + self._attended([_turned(span) for span in spans], None)) / np.float32(2)
        return vectors

    def _attended(self, spans: Sequence[Span], advance: Callable[[float], None] | None) -> Array:
        head, device = self.model.head, self.embedder.device
        found = np.full((len(spans), self.embedder.width), np.nan, np.float32)
        for number, states in enumerate(self.embedder(spans, advance=advance)):
            if len(states):
                whole = torch.from_numpy(np.array(states)).to(device)[None]
                valid = torch.ones(whole.shape[:2], dtype=torch.bool, device=device)
                found[number] = head.pool(whole, valid)[0].cpu().numpy()
        return found


def _turned(span: Span) -> Span:
    return Span(span.name, span.contig, span.start, span.end, "+" if span.strand == "-" else "-", span.tokens)


@torch.inference_mode()
def outputs(model: Predictor, vectors: Array) -> npt.NDArray[np.float64]:
    """Logits, or values in the unit of the labels, (N, K), of pooled vectors (N, D).

    Computed in float64, so that the number of rows does not matter to the last digit.
    """
    head = model.head
    weight, bias, center, spread, unit, offset = (
        tensor.detach().double().cpu()
        for tensor in (head.linear.weight, head.linear.bias, head.center, head.spread, head.unit, head.offset)
    )
    found: npt.NDArray[np.float64] = (
        (((torch.from_numpy(vectors).double() - center) / spread) @ weight.T + bias) * unit + offset
    ).numpy()
    return found


def predictions(model: Predictor, vectors: Array) -> Array:
    """Probabilities or values (N, K) of pooled vectors (N, D); see :meth:`.Predictor.predict`."""
    found = torch.from_numpy(outputs(model, vectors))
    if model.head.config.kind != "regression":
        found = model.head.predictions(found)
    probabilities: Array = found.float().numpy()
    return probabilities
