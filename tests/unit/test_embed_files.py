"""Finished rows on disk, and the four formats made of them."""

import json
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calls import call
from embed_files import read_npz
from fasta_files import write_fasta

from genoconv.errors import DataError, OutputError, UsageError
from genoconv.pipelines import spool as embed_spool
from genoconv.pipelines.embed import formats as embed_formats
from genoconv.pipelines.embed.formats import writer_for
from genoconv.pipelines.spool import Row, Spool
from support import HANG

FACTS = {"rows": "windows", "per_base": False, "model": {"name": "m", "sha256": "ab"}}
ROWS = [Row(f"näme_{n}#0:{'x' * (n % 5)}", "chr1", 10 * n, 10 * n + 7, "+-."[n % 3]) for n in range(23)]
VECTORS = np.random.default_rng(0).standard_normal((23, 5)).astype(np.float32)


def spool(output: Path, *, dtype: str = "float32", resume: bool = False, run: str = "this", **options: int) -> Spool:
    return Spool(output, width=5, dtype=dtype, run={"run": run}, resume=resume, **options)


def filled(output: Path, *, dtype: str = "float32", rows: int = 23) -> Spool:
    return fill(spool(output, dtype=dtype), rows)


def fill(made: Spool, rows: int) -> Spool:
    for first in range(0, rows, 10):
        part = slice(first, min(first + 10, rows))
        made.append([VECTORS[part][:3], VECTORS[part][3:]], ROWS[part], mark=str(first))
    return made


def read_back(path: Path) -> tuple[np.ndarray, list[Row], dict]:
    """Vectors, rows and metadata of a file of any format."""
    if path.suffix == ".npz":
        found = read_npz(path)
        columns = [found[name].tolist() for name in ("names", "contigs", "starts", "ends", "strand")]
        return found["embeddings"], [Row(*row) for row in zip(*columns, strict=True)], found["metadata"]
    if path.suffix == ".npy":
        header, *lines = path.with_suffix(".tsv").read_text().splitlines()
        assert header == "name\tcontig\tstart\tend\tstrand"
        cells = [line.split("\t") for line in lines]
        rows = [Row(name, contig, int(start), int(end), strand) for name, contig, start, end, strand in cells]
        return np.load(path, allow_pickle=False), rows, json.loads(path.with_suffix(".json").read_text())
    if path.suffix == ".parquet":
        from pyarrow import parquet

        table = parquet.read_table(path)
        columns = [table[name].to_pylist() for name in Row._fields]
        vectors = np.array(table["embedding"].combine_chunks().flatten()).reshape(-1, 5)
        return vectors, [Row(*r) for r in zip(*columns, strict=True)], json.loads(table.schema.metadata[b"genoconv"])
    import anndata

    data = anndata.read_h5ad(path)
    assert data.obs_names.is_unique
    rows = [Row(*row) for row in data.obs[list(Row._fields)].itertuples(index=False)]
    return data.X, rows, json.loads(data.uns["genoconv"])


@pytest.mark.parametrize("rows", [23, 0])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("suffix", [".npz", ".npy", ".parquet", ".h5ad"])
def test_every_format_gives_back_what_went_in(tmp_path: Path, monkeypatch, suffix: str, dtype: str, rows: int) -> None:
    monkeypatch.setattr(embed_spool, "_BLOCK_BYTES", 100)  # several blocks
    written = []
    for name in ("one", "two"):
        output = tmp_path / f"{name}{suffix}"
        write = writer_for(output, force=False)
        with spool(output, dtype=dtype, **({"expected": rows} if name == "two" else {})) as made:
            assert made.block < 23
            if name == "one":
                write(output, fill(made, rows), lambda: FACTS)
            else:  # while the rows come
                finished: Future[dict[str, Any]] = Future()
                with ThreadPoolExecutor(1) as pool:
                    writing = pool.submit(write, output, made, finished.result)
                    fill(made, rows)
                    assert not writing.done()
                    finished.set_result(FACTS)
                    writing.result(HANG)
            made.remove()
        vectors, found, metadata = read_back(output)
        assert vectors.dtype == dtype
        assert np.array_equal(vectors, VECTORS[:rows].astype(dtype))
        assert found == ROWS[:rows]
        assert metadata == FACTS
        written.append(output.read_bytes())
    assert written[0] == written[1]
    made = {".npy": {"one.npy", "one.tsv", "one.json"}}.get(suffix, {f"one{suffix}"})
    assert {path.name for path in tmp_path.iterdir() if path.stem != "two"} == made


def test_an_array_of_npy_is_mapped_and_aligned(tmp_path: Path) -> None:
    output = tmp_path / "x.npy"
    with filled(output) as made:
        writer_for(output, force=False)(output, made, lambda: FACTS)
    mapped = np.load(output, mmap_mode="r")
    assert mapped.offset % 64 == 0
    assert np.array_equal(mapped, VECTORS)


def test_names_of_records_are_the_names_of_observations(tmp_path: Path) -> None:
    import anndata

    output = tmp_path / "x.h5ad"
    with filled(output) as made:
        embed_formats.write_h5ad(output, made, {**FACTS, "rows": "records"})
        assert list(anndata.read_h5ad(output).obs_names) == [row.name for row in ROWS]
        embed_formats.write_h5ad(output, made, {**FACTS, "rows": "records", "per_base": True})
        assert anndata.read_h5ad(output).obs_names[2] == "chr1:21-27"


@pytest.mark.parametrize(("suffix", "module"), [("parquet", "pyarrow"), ("h5ad", "h5py")])
def test_a_missing_package_is_reported_with_its_extra(tmp_path: Path, monkeypatch, suffix: str, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"x.{suffix}: .{suffix} needs {module}; pip install 'genoconv\[{suffix}\]'"):
        writer_for(tmp_path / f"x.{suffix}", force=False)


def test_names_that_no_format_has(tmp_path: Path) -> None:
    for name in ("x", "x.csv", "-", "x.npz.gz"):
        with pytest.raises(UsageError, match=r"the name should end in \.npz, \.npy, \.parquet, \.h5ad"):
            writer_for(tmp_path / name if name != "-" else Path(name), force=False)
    (tmp_path / "x.tsv").write_text("mine")
    writer_for(tmp_path / "x.npz", force=False)
    with pytest.raises(OutputError, match=r"x\.tsv exists already"):
        writer_for(tmp_path / "x.npy", force=False)


def test_a_spool_goes_on_after_its_last_whole_piece(tmp_path: Path) -> None:
    output = tmp_path / "x.npz"
    filled(output, rows=20).__exit__()
    for what in ("rows", "table", "texts"):  # what a kill leaves of a piece that was not finished
        with (tmp_path / f".x.npz.genoconv-{what}").open("ab") as stream:
            stream.write(b"half a piece" * 100)
    with spool(output, resume=True) as again:
        assert (again.rows, again.finished) == (20, ["0", "10"])
        again.append([VECTORS[20:]], ROWS[20:], mark="20")
        assert np.array_equal(np.concatenate(list(again.vectors())), VECTORS)
        assert np.concatenate(list(again.column("name"))).tolist() == [row.name for row in ROWS]
    with pytest.raises(UsageError, match="the interrupted run had run 'this', this one has 'other'"):
        spool(output, resume=True, run="other")
    with spool(output) as fresh:
        assert (fresh.rows, fresh.finished, list(fresh.vectors())) == (0, [], [])


@pytest.mark.parametrize("what", ["rows", "table", "texts"])
def test_altered_remains_are_not_believed(tmp_path: Path, what: str) -> None:
    output = tmp_path / "x.npz"
    filled(output).__exit__()
    path = tmp_path / f".x.npz.genoconv-{what}"
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="altered since the interrupted run; pass --force to start again"):
        spool(output, resume=True)
    path.write_bytes(data[:-1])
    with pytest.raises(DataError, match="truncated since the interrupted run"):
        spool(output, resume=True)


def test_a_value_beyond_half_precision_is_no_infinity(tmp_path: Path) -> None:
    with (
        spool(tmp_path / "x.npz", dtype="float16") as made,
        pytest.raises(OutputError, match=r"a value of 1e\+05 is out of range for float16; use --dtype float32"),
    ):
        made.append([np.array([[1e5, 0, np.nan, 0, 0]], np.float32)], ROWS[:1], mark="")


def test_a_package_is_missed_before_anything_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model does not even exist: the format is looked at first."""
    fasta = write_fasta(tmp_path / "in.fa", {"r": "ACGT"})
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match=r"x\.h5ad: \.h5ad needs h5py; pip install 'genoconv\[h5ad\]'"):
        call("embed", fasta, "-m", "nowhere", "-o", tmp_path / "x.h5ad")
