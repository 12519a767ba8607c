"""What a fine-tuned head makes of sequences, on its own scale: the difference between two of them is an effect."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from genoconv.models.heads import Predictor
from genoconv.tasks.embed import Span
from genoconv.tasks.predict import PooledVectors, outputs
from genoconv.tokens import Tokens


class HeadOutputs:
    """Outputs of a head for sequences, each read in the one direction in which it is given.

    Args:
        model: a fine-tuned model.
        batch_size: sequences read at once; from free memory if None.
    """

    def __init__(self, model: Predictor, *, batch_size: int | None = None) -> None:
        self.model = model
        self._vectors = PooledVectors(model, both_strands=False, batch_size=batch_size)

    def __call__(self, sequences: Sequence[Tokens]) -> npt.NDArray[np.float64]:
        """(N, K): log-odds of ``binary`` and ``multilabel``, logits of ``multiclass``, values of ``regression``."""
        spans = [Span(str(n), str(n), 0, len(tokens), "+", tokens) for n, tokens in enumerate(sequences)]
        return outputs(self.model, self._vectors(spans))
