"""The effect of a variant from the outputs of a fine-tuned head."""

import numpy as np
import pytest
from embed_files import small_model

from genoconv.models.heads import HeadConfig, Predictor
from genoconv.tasks.deltas import Alignment, HeadOutputs, Strand, _EachBase, _Pooled
from genoconv.tokens import encode, reverse_complement


def column(*values: float) -> np.ndarray:
    """(bases, 1)."""
    return np.array(values)[:, None]


def test_pooled_outputs_are_compared_on_both_strands_and_averaged() -> None:
    outputs = _Pooled(np.array([[1.0, 5.0], [2.0, 5.0], [1.0, 0.0], [6.0, 1.0]]))
    strands = [Strand(0, 1, False), Strand(2, 3, True)]
    assert outputs.delta(strands, None) == [3.0, 0.5]
    assert outputs.delta(strands[:1], None) == [1.0, 0.0]
    assert str(outputs.delta([Strand(1, 1, False)], None)[0]) == "0.0", "never -0"


@pytest.mark.parametrize(
    ("stranded", "opposite", "expected"),
    [
        (False, (6, 0, 0), 3.5),
        (False, (-6, 0, 0), -2.5),  # the first of two that are equally great
        (True, (6, 0, 0), 6.0),
        (True, (-4, 0, 0), 5.0),
    ],
)
def test_of_every_base_the_greatest_change_counts(stranded: bool, opposite: tuple[float, ...], expected: float) -> None:
    """Changes are 1, -4, 5 forwards; the opposite strand's bases come in the other order."""
    none = column(0, 0, 0)
    outputs = _EachBase([none, column(1, -4, 5), column(*opposite[::-1])], stranded=stranded)
    assert outputs.delta([Strand(0, 1, False), Strand(0, 2, True)], None) == [expected]


@pytest.mark.parametrize(
    ("alignment", "ref", "alt", "expected"),
    [
        (Alignment(2, 2, 1, 1), (1, 2, 3, 4), (1, 2, 9, 4), (0, 0, 6, 0)),  # SNV
        (Alignment(1, 1, 2, 0), (1, 2, 3, 4), (1, 8), (0, 4)),  # deletion of two bases
        (Alignment(1, 1, 0, 2), (1, 8), (1, 2, 3, 4), (0, -4)),  # insertion of two
        (Alignment(1, 1, 2, 1), (1, 2, 3, 4), (1, 5, 6), (0, 3, 2)),  # the first base of the allele corresponds
        (Alignment(2, 1, 1, 1), (0, 1, 2, 3), (1, 4, 5), (0, 2, 2)),  # the alternative begins later
    ],
)
def test_bases_before_and_after_an_allele_correspond(
    alignment: Alignment, ref: tuple[int, ...], alt: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert alignment.change(column(*ref), column(*alt)).ravel().tolist() == list(expected)


def test_a_sequence_and_its_reverse_complement_are_read_once() -> None:
    config = HeadConfig(kind="regression", labels=("x",), pooling="none", both_strands=True)
    model = Predictor.on(small_model(max_length=42), config).eval()
    for parameter in model.head.parameters():
        parameter.data.normal_()
    tokens = encode("ACGTTGCAAGCCTTA")
    outputs = HeadOutputs(model)
    found = outputs([tokens, reverse_complement(tokens), tokens])
    assert isinstance(found, _EachBase)
    forward, backward, again = found._values
    assert len(np.unique(forward)) > 5
    np.testing.assert_array_equal(backward, forward[::-1])
    np.testing.assert_array_equal(again, forward)
    alone = outputs([reverse_complement(tokens)])
    assert isinstance(alone, _EachBase)
    np.testing.assert_allclose(alone._values[0], backward, atol=1e-5)
