"""AnnData files of vectors, written block by block.

Written with h5py, because anndata wants all rows in memory.
Source: the on-disk format of AnnData, https://anndata.readthedocs.io/en/latest/fileformat-prose.html
"""

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from genoconv.atomic import atomic_file
from genoconv.pipelines.embed.columns import COLUMNS, Metadata
from genoconv.pipelines.spool import Spool


def write_h5ad(output: Path, spool: Spool, metadata: Metadata) -> None:
    """Vectors in ``X``, the table in ``obs``, metadata as JSON in ``uns["genoconv"]``.

    ``obs_names`` are the records' names where each is there once, and otherwise ``contig:start-end``, with a 1-based
    start.
    """
    import h5py

    with atomic_file(output) as temporary, temporary.open("w+b") as stream:
        sink = _Sink(stream)
        with h5py.File(sink, "w") as file:
            _fill(_Tree(file, sink), spool, metadata)
        sink.check()


def _fill(tree: "_Tree", spool: Spool, metadata: Metadata) -> None:
    root = tree.root
    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    tree.dataset(root, "X", spool.dtype, (spool.rows, spool.width), spool.vectors())
    obs = tree.frame("obs", list(COLUMNS))
    each_once = metadata["rows"] == "records" and not metadata["per_base"]
    tree.dataset(obs, "_index", tree.text, (spool.rows,), spool.column("name") if each_once else _places(spool))
    for name in COLUMNS:
        dtype = np.int64 if name in ("start", "end") else tree.text
        tree.dataset(obs, name, dtype, (spool.rows,), spool.column(name))
    names = np.arange(spool.width).astype(str)
    tree.dataset(tree.frame("var", []), "_index", tree.text, (spool.width,), [names])
    for what in ("layers", "obsm", "obsp", "varm", "varp"):
        tree.group(root, what, "dict", "0.1.0")
    unstructured = tree.group(root, "uns", "dict", "0.1.0")
    facts = unstructured.create_dataset("genoconv", data=json.dumps(metadata), dtype=tree.text)
    facts.attrs.update({"encoding-type": "string", "encoding-version": "0.2.0"})


class _Tree:
    """Groups and arrays of an AnnData file, with the attributes that say what each is."""

    def __init__(self, root: Any, sink: "_Sink") -> None:
        import h5py

        self.root = root
        self.sink = sink
        self.text = h5py.string_dtype()

    def group(self, parent: Any, name: str, encoding: str, version: str) -> Any:
        made = parent.create_group(name)
        made.attrs.update({"encoding-type": encoding, "encoding-version": version})
        return made

    def frame(self, name: str, order: list[str]) -> Any:
        made = self.group(self.root, name, "dataframe", "0.2.0")
        made.attrs["_index"] = "_index"
        made.attrs.create("column-order", order, dtype=self.text, shape=(len(order),))
        return made

    def dataset(self, parent: Any, name: str, dtype: Any, shape: tuple[int, ...], blocks: Iterable[Any]) -> None:
        made = parent.create_dataset(name, shape, dtype=dtype)
        encoding = "string-array" if dtype is self.text else "array"
        made.attrs.update({"encoding-type": encoding, "encoding-version": "0.2.0"})
        first = 0
        for block in blocks:
            made[first : first + len(block)] = block.astype(object) if dtype is self.text else block
            first += len(block)
            self.sink.check()


def _places(spool: Spool) -> Iterator[npt.NDArray[Any]]:
    for contigs, starts, ends in spool.columns("contig", "start", "end"):
        yield np.array([f"{c}:{s + 1}-{e}" for c, s, e in zip(contigs, starts, ends, strict=True)])


class _Sink(io.RawIOBase):
    """A file that HDF5 writes to, from which it never hears of a full disk.

    HDF5 answers a write that failed with lines of its own and with tracebacks when its objects are taken down. So the
    first failure is kept for :meth:`check`, and everything after it is dropped.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.failure: BaseException | None = None

    def check(self) -> None:
        """Raise what has failed, if anything has."""
        if self.failure is not None:
            raise self.failure

    def write(self, data: Any) -> int:
        try:
            if self.failure is None:
                self.stream.write(data)
        except BaseException as failure:
            self.failure = failure
        return len(data)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        found = self.stream.read(len(view))
        view[: len(found)] = found
        view[len(found) :] = bytes(len(view) - len(found))
        return len(view)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        return self.stream.tell()

    def truncate(self, size: int | None = None) -> int:
        try:
            if self.failure is None:
                self.stream.truncate(size)
        except OSError as failure:
            self.failure = failure
        return size or 0

    def flush(self) -> None:
        try:
            if self.failure is None:
                self.stream.flush()
        except OSError as failure:
            self.failure = failure
