"""Files of predictions for every base: TSV, Parquet, and a bigWig track per output; made from the spool."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genoconv.atomic import atomic_files
from genoconv.errors import DataError
from genoconv.pipelines.predict.formats import files_of, parquet_file, shown, tsv_file
from genoconv.pipelines.spool import Array, Row, Spool
from genoconv.tracks.bigwig import write_bigwig
from genoconv.tracks.blocks import Block

_BLOCK = 1 << 16
"""Bases that are read back at once."""


def write_bases(
    output: Path, spool: Spool, *, columns: Sequence[str], metadata: Mapping[str, Any], contigs: Mapping[str, int]
) -> None:
    """Write predictions for all bases.

    Args:
        output: decides the format.
        spool: the bases.
        columns: names of the predictions.
        metadata: where they come from.
        contigs: lengths of the contigs.

    Raises:
        DataError: there is no value to write to a track.
    """
    if output.suffix == ".tsv":
        _write_tsv(output, spool, columns, metadata)
    elif output.suffix == ".parquet":
        _write_parquet(output, spool, columns, metadata)
    else:
        blocks = _Blocks(spool, name=output.name)
        lengths = {name: contigs[name] for name in blocks.contigs}
        with atomic_files(list(files_of(output, columns).values())) as temporaries:
            for column, temporary in enumerate(temporaries):
                write_bigwig(temporary, blocks, column=column, contigs=lengths)


def _blocks(spool: Spool, row: Row, first: int) -> Iterator[tuple[int, Array]]:
    """Starts of parts of an interval, and the vectors of their bases."""
    for start in range(row.start, row.end, _BLOCK):
        count = min(_BLOCK, row.end - start)
        yield start, spool.read(first + start - row.start, count)


def _write_tsv(output: Path, spool: Spool, columns: Sequence[str], metadata: Mapping[str, Any]) -> None:
    with tsv_file(output, columns, metadata) as stream:
        for row, first in spool.intervals():
            for start, values in _blocks(spool, row, first):
                for place, numbers in enumerate(values.tolist(), start):
                    stream.write(f"{row.name}\t{row.contig}\t{place}\t{place + 1}\t{row.strand}\t{shown(numbers)}\n")


def _write_parquet(output: Path, spool: Spool, columns: Sequence[str], metadata: Mapping[str, Any]) -> None:
    import pyarrow as pa

    with parquet_file(output, columns, metadata) as writer:
        for row, first in spool.intervals():
            for start, values in _blocks(spool, row, first):
                texts = [pa.repeat(text, len(values)) for text in (row.name, row.contig, row.strand)]
                places = np.arange(start, start + len(values))
                numbers = [pa.array(np.ascontiguousarray(values[:, k]), pa.float32()) for k in range(values.shape[1])]
                arrays = [*texts[:2], pa.array(places), pa.array(places + 1), texts[2], *numbers]
                writer.write_table(pa.Table.from_arrays(arrays, schema=writer.schema))


class _Blocks:
    """Predictions by contig and position; see :class:`.tracks.blocks.Blocks`.

    Attributes:
        contigs: that have intervals.

    Raises:
        DataError: no base has a prediction.
    """

    def __init__(self, spool: Spool, *, name: str) -> None:
        self._spool = spool
        found: dict[str, list[tuple[Row, int]]] = {}
        for row, first in spool.intervals():
            found.setdefault(row.contig, []).append((row, first))
        self._rows = {
            contig: sorted(rows, key=lambda some: some[0].start) for contig, rows in found.items()
        }  # none overlaps
        self.contigs = sorted(contig for contig in found if self._has_values(contig))
        if not self.contigs:
            raise DataError(f"{name}: no values to write; a track needs at least one")

    def _has_values(self, contig: str) -> bool:
        return any(bool(np.isfinite(block.values).any()) for block in self(contig))

    def __call__(self, contig: str | None = None, /) -> Iterator[Block]:
        for name in self.contigs if contig is None else (contig,):
            for row, first in self._rows[name]:
                for start, values in _blocks(self._spool, row, first):
                    yield Block(name, start, np.empty(0, np.uint8), values)
