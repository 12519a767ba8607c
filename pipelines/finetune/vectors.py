"""Pooled vectors of sequences in memory."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from genoconv.models.heads import Predictor
from genoconv.pipelines.shared_options import CHUNK_BASES
from genoconv.tasks.predict import PooledVectors
from genoconv.tasks.spans import Span, chunked
from genoconv.tokens import Tokens


def pooled(
    model: Predictor, sequences: Sequence[Tokens], *, advance: Callable[[float], None] | None = None
) -> npt.NDArray[np.float32]:
    """What the head of ``model`` sees of each sequence, (N, D) float32; see :meth:`.Predictor.pooled`.

    Args:
        model: stays in the mode that it is in.
        sequences: tokens of each, in the direction of reading.
        advance: called with the number of bases that have just been done.
    """
    training = model.training
    vectors = PooledVectors(model)
    spans = (Span(str(n), str(n), 0, len(tokens), "+", tokens) for n, tokens in enumerate(sequences))
    found = [vectors(some, advance=advance) for some in chunked(spans, tokens=CHUNK_BASES)]
    model.prepare().train(training)
    return np.concatenate(found) if found else np.empty((0, model.config.d_model), np.float32)
