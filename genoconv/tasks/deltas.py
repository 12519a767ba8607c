"""What a fine-tuned head makes of two sequences: the difference of its outputs is the effect of a variant."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from genoconv.models.heads import Predictor
from genoconv.tasks.bases import BaseOutputs, whole
from genoconv.tasks.predict import PooledVectors, outputs
from genoconv.tasks.spans import Span
from genoconv.tokens import Tokens, reverse_complement

Array = npt.NDArray[np.floating]


class Alignment(NamedTuple):
    """Which bases of an alternative correspond to those of its reference: all before and after the allele.

    Of the allele itself, the first bases do, as many as both have.

    Attributes:
        ref_start, alt_start: first base of the allele in each sequence, 0-based.
        ref_bases, alt_bases: its length in each.
    """

    ref_start: int
    alt_start: int
    ref_bases: int
    alt_bases: int

    def change(self, ref: Array, alt: Array) -> Array:
        """(n, K) ``alt`` less ``ref`` at the n bases that correspond, from values (bases, K) of each."""
        shared = min(self.ref_bases, self.alt_bases)
        before = min(self.ref_start, self.alt_start)
        starts = (self.ref_start - before, self.ref_start + shared), (self.alt_start - before, self.alt_start + shared)
        ref_after, alt_after = ref[self.ref_start + self.ref_bases :], alt[self.alt_start + self.alt_bases :]
        after = min(len(ref_after), len(alt_after))
        found: Array = np.concatenate(
            [alt[slice(*starts[1])] - ref[slice(*starts[0])], alt_after[:after] - ref_after[:after]]
        )
        return found


class Strand(NamedTuple):
    """One reading of a reference and an alternative: their rows, and whether it is that of the opposite strand."""

    ref_row: int
    alt_row: int
    backwards: bool


class Outputs(Protocol):
    """Outputs of a head for some sequences."""

    def delta(self, strands: Sequence[Strand], alignment: Alignment | None) -> list[float]:
        """(K,) the effect of an alternative.

        Args:
            strands: the readings of it.
            alignment: in the order of the forward strand; None where every base corresponds to its own.
        """
        ...


class _Pooled:
    def __init__(self, values: npt.NDArray[np.float64]) -> None:
        self._values = values

    def delta(self, strands: Sequence[Strand], alignment: Alignment | None) -> list[float]:
        """Outputs of the alternative less those of the reference, the mean over the strands that were read."""
        changes = [self._values[strand.alt_row] - self._values[strand.ref_row] for strand in strands]
        return [float(value) + 0.0 for value in np.mean(changes, axis=0)]


class _EachBase:
    def __init__(self, values: list[Array], *, stranded: bool) -> None:
        self._values = values
        self._stranded = stranded

    def delta(self, strands: Sequence[Strand], alignment: Alignment | None) -> list[float]:
        """The greatest change at a base, up or down, of the mean over strands; of stranded targets on either strand."""
        changes = [self._change(strand, alignment) for strand in strands]
        whole = np.concatenate(changes) if self._stranded else np.mean(changes, axis=0)
        greatest = np.abs(whole).argmax(0)
        return [float(whole[place, k]) + 0.0 for k, place in enumerate(greatest.tolist())]

    def _change(self, strand: Strand, alignment: Alignment | None) -> Array:
        ref, alt = (self._values[row] for row in (strand.ref_row, strand.alt_row))
        ref, alt = (values[::-1] if strand.backwards else values for values in (ref, alt))
        return alt - ref if alignment is None else alignment.change(ref, alt)


class HeadOutputs:
    """Outputs of a head for sequences.

    A pooled head reads each sequence in the one direction in which it is given: log-odds of ``binary`` and
    ``multilabel``, logits of ``multiclass``, values of ``regression``. A head without pooling predicts every base as it
    was trained, perhaps from both strands: probabilities or values.

    Args:
        model: a fine-tuned model.
        batch_size: sequences read at once; from free memory if None.
    """

    def __init__(self, model: Predictor, *, batch_size: int | None = None) -> None:
        self.model = model
        self._bases = self._vectors = None
        if model.head.config.per_base:
            self._bases = BaseOutputs(model, batch_size=batch_size)
        else:
            self._vectors = PooledVectors(model, both_strands=False, batch_size=batch_size)

    def __call__(self, sequences: Sequence[Tokens]) -> Outputs:
        if self._vectors is not None:
            spans = [Span(str(n), str(n), 0, len(tokens), "+", tokens) for n, tokens in enumerate(sequences)]
            return _Pooled(outputs(self.model, self._vectors(spans)))
        assert self._bases is not None
        head = self.model.head.config
        alike = head.both_strands and not head.stranded  # the opposite strand has the same predictions
        keys = [_key(tokens) if alike else tokens.tobytes() for tokens in sequences]
        distinct = {key: number for number, key in enumerate(keys)}
        found = self._bases.predictions([whole(sequences[number]) for number in distinct.values()])
        values = dict(zip(distinct, found, strict=True))
        each: list[Array] = [
            values[key] if np.array_equal(tokens, sequences[distinct[key]]) else values[key][::-1]
            for key, tokens in zip(keys, sequences, strict=True)
        ]
        return _EachBase(each, stranded=head.stranded)


def _key(tokens: Tokens) -> bytes:
    """The same for a sequence and its reverse complement."""
    return min(tokens.tobytes(), reverse_complement(tokens).tobytes())
