"""Files of predictions: TSV, Parquet, and a bigWig track per output; made from the spool, a block at a time."""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from genoconv.atomic import atomic_file, atomic_files, refuse_existing, refuse_not_utf8
from genoconv.errors import UsageError
from genoconv.pipelines.spool import Spool
from genoconv.tracks.bigwig import write_spans
from genoconv.wording import printable

PLACE = ("name", "contig", "start", "end", "strand")
_EXTRAS = {".tsv": ("", ""), ".parquet": ("pyarrow", "parquet"), ".bw": ("pybigtools", "bigwig")}


def files_of(output: Path, columns: Sequence[str]) -> dict[str, Path]:
    """The files of an output by column; the same one for all of them but for tracks of several outputs."""
    if output.suffix != ".bw" or len(columns) == 1:
        return dict.fromkeys(columns, output)
    return {name: output.with_suffix(f".{re.sub(r'[^A-Za-z0-9_-]+', '_', name)}.bw") for name in columns}


def check_output(output: Path, columns: Sequence[str], *, force: bool) -> None:
    """Whether an output can be written.

    Raises:
        UsageError: no such format, or the package that writes it is not installed.
        OutputError: a file exists, or could not be created.
    """
    if output.suffix not in _EXTRAS:
        raise UsageError(f"--output {output}: the name should end in {', '.join(_EXTRAS)}")
    module, extra = _EXTRAS[output.suffix]
    try:
        if module:
            __import__(module)
    except ImportError:
        raise UsageError(f"{output}: {output.suffix} needs {module}; pip install 'genoconv[{extra}]'") from None
    files = files_of(output, columns)
    if len(set(files.values())) not in (1, len(columns)):
        raise UsageError(f"{output}: two outputs of the model would be written to the same file; use .tsv or .parquet")
    for path in files.values():
        refuse_existing(path, force=force)
        if output.suffix == ".bw":
            refuse_not_utf8(path, by="a bigWig")


def write(
    output: Path,
    spool: Spool,
    *,
    columns: Sequence[str],
    metadata: Mapping[str, Any],
    contigs: Mapping[str, int],
    middle: tuple[int, int] | None,
) -> None:
    """Write all rows.

    Args:
        output: decides the format.
        spool: the rows.
        columns: names of the predictions.
        metadata: where they come from.
        contigs: lengths of the contigs of the rows.
        middle: of overlapping windows: the bases of each, 0-based half-open from its start, that a track holds.

    Raises:
        DataError: there is no value to write to a track.
    """
    if output.suffix == ".tsv":
        _write_tsv(output, spool, columns, metadata)
    elif output.suffix == ".parquet":
        _write_parquet(output, spool, columns, metadata)
    else:
        with atomic_files(list(files_of(output, columns).values())) as temporaries:
            for column, temporary in enumerate(temporaries):
                write_spans(temporary, _track(spool, column, middle), contigs=contigs)


@contextlib.contextmanager
def tsv_file(output: Path, columns: Sequence[str], metadata: Mapping[str, Any]) -> Iterator[TextIO]:
    """A table of predictions that has no rows yet: where they come from, and the names of the columns."""
    with atomic_file(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        stream.write(f"## {json.dumps(metadata)}\n")
        stream.write("\t".join((*PLACE, *map(printable, columns))) + "\n")
        yield stream


def shown(values: Sequence[float]) -> str:
    """The predictions of a row as text, tabs between them."""
    return "\t".join("nan" if value != value else f"{value:.7g}" for value in values)


def _write_tsv(output: Path, spool: Spool, columns: Sequence[str], metadata: Mapping[str, Any]) -> None:
    with tsv_file(output, columns, metadata) as stream:
        for values, lines in zip(spool.vectors(), spool.lines(), strict=True):
            for row, line in zip(values.tolist(), lines, strict=True):
                stream.write(f"{line.rstrip(chr(10))}\t{shown(row)}\n")


@contextlib.contextmanager
def parquet_file(output: Path, columns: Sequence[str], metadata: Mapping[str, Any]) -> Iterator[Any]:
    """What writes the rows of a Parquet file of predictions, which says where they come from."""
    import pyarrow as pa
    from pyarrow import parquet

    types = {"start": pa.int64(), "end": pa.int64()}
    fields = [pa.field(name, types.get(name, pa.string()), nullable=False) for name in PLACE]
    names = [f"prediction_{name}" if name in PLACE else name for name in columns]
    fields += [pa.field(name, pa.float32(), nullable=False) for name in names]
    schema = pa.schema(fields, {"genoconv": json.dumps(metadata)})
    with (
        atomic_file(output) as temporary,
        temporary.open("wb") as sink,
        parquet.ParquetWriter(sink, schema, compression="zstd") as writer,
    ):
        yield writer


def _write_parquet(output: Path, spool: Spool, columns: Sequence[str], metadata: Mapping[str, Any]) -> None:
    import pyarrow as pa

    with parquet_file(output, columns, metadata) as writer:
        for values, place in zip(spool.vectors(), spool.columns(*PLACE), strict=True):
            arrays = [*place, *(np.ascontiguousarray(values[:, k]) for k in range(values.shape[1]))]
            typed = [pa.array(array, field.type) for array, field in zip(arrays, writer.schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(typed, schema=writer.schema))


def _track(spool: Spool, column: int, middle: tuple[int, int] | None) -> list[tuple[str, int, int, float]]:
    """Spans with one value each, by contig and start; rows do not overlap but in windows (``middle``)."""
    found = []
    for contig, start, end, value in _rows(spool, column):
        first, last = (start, end) if middle is None else (start + middle[0], min(start + middle[1], end))
        if first < last and value == value:
            found.append((contig, first, last, value))
    return sorted(found)


def _rows(spool: Spool, column: int) -> Iterator[tuple[str, int, int, float]]:
    for values, place in zip(spool.vectors(), spool.columns("contig", "start", "end"), strict=True):
        yield from zip(*(part.tolist() for part in (*place, values[:, column])), strict=True)
