"""bigWig tracks that are written at the same time."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from genoconv.pipelines.pieces import StoppedError
from genoconv.tracks import parallel
from genoconv.tracks.bigwig import write_spans
from genoconv.tracks.blocks import Block
from genoconv.tracks.parallel import write_bigwigs

CONTIGS = {"c2": 700, "c10": 300}
VALUES = {
    name: np.random.default_rng(3).normal(size=(length, 3)).astype(np.float32) for name, length in CONTIGS.items()
}
VALUES["c2"][100:200] = np.nan


def blocks(contig: str | None = None, /) -> Iterator[Block]:
    for name in CONTIGS if contig is None else (contig,):
        for start in range(0, CONTIGS[name], 256):
            part = VALUES[name][start : start + 256]
            yield Block(name, start, np.empty(0, np.uint8), part)


def test_processes_write_the_bytes_of_one_and_what_is_read_back_is_what_went_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pybigtools

    one, many = ([tmp_path / f"{name}{n}.bw" for n in range(3)] for name in ("one", "many"))
    write_bigwigs(one, blocks, contigs=CONTIGS, positions=1000)
    monkeypatch.setattr(parallel, "MANY", 10)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    write_bigwigs(many, blocks, contigs=CONTIGS, positions=1000)
    for column, (this, that) in enumerate(zip(one, many, strict=True)):
        assert this.read_bytes() == that.read_bytes()
        track = pybigtools.open(str(that))
        for name, length in CONTIGS.items():
            found = track.values(name, 0, length, fillna=np.nan)
            np.testing.assert_array_equal(np.asarray(found, np.float32), VALUES[name][:, column])
    with pytest.raises(OSError, match=r"[Nn]o such file.*nowhere/x\.bw"):
        write_bigwigs([one[0], tmp_path / "nowhere" / "x.bw"], blocks, contigs=CONTIGS, positions=1000)


def test_temporary_files_of_many_small_contigs_are_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parallel, "_MEMORY", tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=64 << 20))
    small = {str(number): 40 for number in range(20_000)}
    assert parallel.scratch(small, positions=800_000, tracks=4) == tmp_path
    assert parallel.scratch(small, positions=800_000, tracks=8) is None, "more than half of what is free"
    assert parallel.scratch({**small, "large": 1 << 20}, positions=800_000, tracks=4) is None
    assert parallel.scratch({"1": 40}, positions=40, tracks=4) is None, "few contigs"


@pytest.mark.parametrize("positions", [1000, parallel.MANY])
def test_a_track_whose_values_fail_is_not_taken_for_complete(
    positions: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)

    def failing(contig: str | None = None, /) -> Iterator[Block]:
        yield from blocks(contig)
        if contig == "c2":
            raise StoppedError

    with pytest.raises(StoppedError):
        write_bigwigs([tmp_path / f"{n}.bw" for n in range(3)], failing, contigs=CONTIGS, positions=positions)

    class Spans(list[tuple[str, int, int, float]]):
        def __iter__(self) -> Iterator[tuple[str, int, int, float]]:
            yield self[0]
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        write_spans(tmp_path / "s.bw", Spans([("c2", 0, 5, 1.0)]), contigs=CONTIGS)
    assert capfd.readouterr() == ("", "")


def test_what_pybigtools_refuses_or_cannot_write_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="refused a value"):
        write_spans(tmp_path / "s.bw", [("c2", 5, 6, 1.0), ("c2", 0, 1, 1.0)], contigs=CONTIGS)
    with pytest.raises(OSError, match=r"[Nn]o such file.*nowhere/s\.bw"):
        write_spans(tmp_path / "nowhere" / "s.bw", [("c2", 0, 1, 1.0)], contigs=CONTIGS)
