"""Files of vectors: ``.npz``, ``.npy`` with ``.tsv`` and ``.json``, ``.parquet``, ``.h5ad``; written block by block.

All hold the same: one vector per row, its name, contig, start, end (0-based half-open) and strand, and one JSON object
with the provenance. Nothing is pickled, and the same rows give the same bytes.
"""

import contextlib
import importlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genoconv.atomic import atomic_file, refuse_existing
from genoconv.errors import UsageError
from genoconv.pipelines.embed.columns import COLUMNS, Metadata
from genoconv.pipelines.embed.h5ad import write_h5ad
from genoconv.pipelines.pieces import bytes_of
from genoconv.pipelines.spool import Spool

Finished = Callable[[], Metadata]
"""Waits until all rows are in the spool, and gives what is known at the end."""
Writer = Callable[[Path, Spool, Finished], None]


def write_npz(output: Path, spool: Spool, finished: Finished) -> None:
    """``numpy.load(output)``: embeddings (rows, width), names, contigs, starts, ends, strand, metadata (JSON)."""
    # At level 1 ascending numbers become smaller than at the usual level 6, in a tenth of the time.
    with (
        atomic_file(output) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):

        def member(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], blocks: Iterator[npt.NDArray[Any]]) -> None:
            file = f"{name}.npy"  # of the year 1980, as zipfile has it
            # Vectors do not compress; names and numbers do.
            with archive.open(zipfile.ZipInfo(file) if name == "embeddings" else file, "w", force_zip64=True) as stream:
                stream.write(_npy_header(dtype, shape))
                for block in blocks:
                    stream.write(bytes_of(block.astype(dtype, copy=False)))

        member("embeddings", spool.dtype, (spool.total, spool.width), spool.vectors())
        metadata = finished()
        for column, name in COLUMNS.items():
            member(name, _dtype(column, spool), (spool.rows,), spool.column(column))
        text = np.array(json.dumps(metadata))
        member("metadata", text.dtype, (), iter([text]))


def _dtype(column: str, spool: Spool) -> np.dtype[Any]:
    if column in ("start", "end"):
        return np.dtype(np.int64)
    widest = max((block.dtype.itemsize for block in spool.column(column)), default=4)
    return np.dtype(f"<U{widest // 4}")


def _npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The start of a ``.npy`` file, format version 1.0."""
    buffer = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def write_npy(output: Path, spool: Spool, finished: Finished) -> None:
    """The bare array, for ``numpy.load(output, mmap_mode="r")``, with the table and the metadata beside it."""
    with contextlib.ExitStack() as stack:
        # The last to be opened is the first to get its name: the array comes last.
        array, table, facts = (stack.enter_context(atomic_file(path)) for path in _npy_files(output))
        with array.open("wb") as stream:
            stream.write(_npy_header(spool.dtype, (spool.total, spool.width)))
            for block in spool.vectors():
                stream.write(bytes_of(block))
        metadata = finished()
        with table.open("w", encoding="utf-8", newline="") as lines:
            lines.write("\t".join(COLUMNS) + "\n")
            for rows in spool.lines():
                lines.writelines(rows)
        facts.write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")


def _npy_files(output: Path) -> tuple[Path, Path, Path]:
    return output, output.with_suffix(".tsv"), output.with_suffix(".json")


def write_parquet(output: Path, spool: Spool, finished: Finished) -> None:
    """A fixed-size list column ``embedding`` beside the table; metadata under the schema's key ``genoconv``."""
    import pyarrow as pa
    from pyarrow import parquet

    value = pa.float16() if spool.dtype == np.float16 else pa.float32()
    vector = pa.list_(pa.field("element", value, nullable=False), spool.width)
    types = {"start": pa.int64(), "end": pa.int64()}
    fields = [pa.field(column, types.get(column, pa.string()), nullable=False) for column in COLUMNS]
    schema = pa.schema([*fields, pa.field("embedding", vector, nullable=False)], {"genoconv": json.dumps(finished())})
    with (
        atomic_file(output) as temporary,
        temporary.open("wb") as sink,  # a stream: pyarrow takes no path that is not UTF-8
        parquet.ParquetWriter(sink, schema, compression="zstd") as writer,
    ):
        for vectors, block in zip(spool.vectors(), spool.columns(*COLUMNS), strict=True):
            flat = pa.array(vectors.reshape(-1), value)
            columns = [pa.array(values, field.type) for values, field in zip(block, fields, strict=True)]
            columns.append(pa.FixedSizeListArray.from_arrays(flat, type=vector))
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


# suffix -> writer, module that it needs, extra that brings it.
_FORMATS: dict[str, tuple[Writer, str, str]] = {
    ".npz": (write_npz, "numpy", ""),
    ".npy": (write_npy, "numpy", ""),
    ".parquet": (write_parquet, "pyarrow", "parquet"),
    ".h5ad": (lambda output, spool, finished: write_h5ad(output, spool, finished()), "h5py", "h5ad"),
}


def writer_for(output: Path, *, force: bool) -> Writer:
    """The writer for a file's name, after a look at whether it could write it.

    Raises:
        UsageError: no such format, or the package that writes it is not installed.
        OutputError: the file exists, or could not be created.
    """
    suffix = output.suffix.lower()
    if suffix not in _FORMATS or str(output) == "-":
        raise UsageError(f"--output {output}: the name should end in {', '.join(_FORMATS)}")
    writer, module, extra = _FORMATS[suffix]
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise UsageError(f"{output}: {suffix} needs {module}; pip install 'genoconv[{extra}]'") from error
    for path in files_of(output):
        refuse_existing(path, force=force)
    return writer


def files_of(output: Path) -> tuple[Path, ...]:
    """All files that the writer of an output makes."""
    return _npy_files(output) if output.suffix.lower() == ".npy" else (output,)
