"""``metrics.csv``: what a resumed run reads back, and what it refuses."""

from pathlib import Path

import pytest

from genoconv.errors import DataError
from genoconv.train.metrics import has_rows, read_rows

HEADER = "step,tokens,split,loss,perplexity,learning_rate,tokens_per_second\n"
TRAIN, VALID = "1,100,train,1.4,4.1,0.001,50.0\n", "2,200,valid,1.3,3.7,0.001,\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.csv"


def test_rows_are_read_back(path: Path) -> None:
    assert read_rows(path) == []
    assert not has_rows(path)
    path.write_text(HEADER)
    assert read_rows(path) == []
    assert not has_rows(path)
    path.write_text(HEADER + TRAIN + VALID)
    train, valid = read_rows(path)
    assert (train.step, train.tokens, train.split, train.loss, train.tokens_per_second) == (1, 100, "train", 1.4, 50.0)
    assert (valid.split, valid.perplexity, valid.tokens_per_second) == ("valid", 3.7, None)
    assert has_rows(path)


@pytest.mark.parametrize("cut", range(1, len(VALID)))
def test_a_last_line_cut_by_a_kill_is_dropped(path: Path, cut: int) -> None:
    path.write_text(HEADER + TRAIN + VALID[:-cut])
    assert [row.step for row in read_rows(path)] == [1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\n", "byte 0 is not UTF-8"),
        (b"a,b\n", "line 1: not the header of a training run"),
        (b'"\n', "not a table of comma-separated values"),
        (f"{HEADER}{TRAIN}1,2\n".encode(), "line 3: expected 7 values of a measurement"),
        (f"{HEADER}{TRAIN.replace('1.4', 'x')}".encode(), "line 2: expected 7 values of a measurement"),
        (f"{HEADER}{TRAIN.replace('train', 'other')}".encode(), "line 2: not a measurement"),
        (f"{HEADER}{TRAIN.replace('1,100', '-1,100')}".encode(), "line 2: not a measurement"),
        (f"{HEADER}{TRAIN.replace('1.4', '')}".encode(), "line 2: not a measurement"),
    ],
)
def test_damage_is_refused_with_its_line(path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{path}: {words}; restore the file, or move it away"):
        read_rows(path)
