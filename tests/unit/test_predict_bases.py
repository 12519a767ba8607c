"""Predictions for every base: pieces of long records, their places on either strand, bases without a letter."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from genoconv.errors import ModelError
from genoconv.pipelines.predict.bases import compute_bases
from genoconv.tasks.bases import Stretch
from genoconv.tasks.spans import Span
from genoconv.tokens import encode, reverse_complement

SEQUENCE = "ACGTACGTAC"


class Outputs:
    """Predicts of each base its place in its record, in the direction of reading."""

    def predictions(self, stretches: Sequence[Stretch], *, advance: object) -> list[np.ndarray]:
        return [np.arange(one.first, one.last, dtype=np.float32)[:, None] for one in stretches]


class Spool:
    finished: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.rows: list[tuple[Any, list[float]]] = []

    def append(self, values: Sequence[np.ndarray], rows: Sequence[Any], *, mark: str) -> None:
        self.rows += [(row, value[:, 0].tolist()) for row, value in zip(rows, values, strict=True)]


def computed(spans: list[Span], *, chunk: int, outputs: Any = None) -> list[tuple[Any, list[float]]]:
    rows: Any = SimpleNamespace(spans=lambda: iter(spans), digest=lambda: "", name="in.fa")
    options: Any = SimpleNamespace(chunk=chunk, model=Path("m"), precision="32")
    spool: Any = Spool()
    compute_bases(options, rows, outputs or Outputs(), spool, advance=lambda amount: None)
    return spool.rows


@pytest.mark.parametrize("chunk", [3, 4, 100])
@pytest.mark.parametrize("strand", ["+", "-"])
def test_each_base_of_a_record_has_its_place_whatever_the_pieces(strand: str, chunk: int) -> None:
    tokens = encode(SEQUENCE)
    read = reverse_complement(tokens) if strand == "-" else tokens
    found = computed([Span("r", "c", 50, 60, strand, read)], chunk=chunk)
    places = {}
    for row, values in found:
        assert (row.name, row.contig, row.strand) == ("r", "c", strand)
        assert row.end - row.start == len(values) <= chunk
        places |= dict(zip(range(row.start, row.end), values, strict=True))  # in the order of the forward strand
    expected = range(10) if strand == "+" else range(9, -1, -1)
    assert places == dict(zip(range(50, 60), expected, strict=True))


def test_bases_without_a_letter_have_no_prediction() -> None:
    [(_, values)] = computed([Span("r", "c", 0, 5, "+", encode("ANCRT"))], chunk=100)
    np.testing.assert_array_equal(values, [0, np.nan, 2, np.nan, 4])


def test_a_base_without_a_number_names_its_record() -> None:
    class Lost(Outputs):
        def predictions(self, stretches: Sequence[Stretch], *, advance: object) -> list[np.ndarray]:
            found = super().predictions(stretches, advance=advance)
            found[-1][1] = np.inf
            return found

    spans = [Span(name, "c", 0, 3, "+", encode(bases)) for name, bases in (("a", "ACG"), ("b", "ACG"))]
    with pytest.raises(ModelError, match=r"m: its predictions are not finite \(first for b\)"):
        computed(spans, chunk=100, outputs=Lost())
    unknown = [spans[0], Span("b", "c", 0, 3, "+", encode("ANG"))]
    assert len(computed(unknown, chunk=100, outputs=Lost())) == 2
