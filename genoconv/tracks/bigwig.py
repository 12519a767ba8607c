"""bigWig tracks, for genome browsers."""

import errno
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat, starmap
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genoconv.errors import DataError, UsageError
from genoconv.tracks.blocks import Blocks


def write_bigwig(path: Path, blocks: Blocks, *, column: int, contigs: Mapping[str, int]) -> None:
    """One value per base, from one column of the blocks; bases without a value (NaN) are left out.

    Args:
        path: to be written; UTF-8, as pybigtools panics on any other.
        blocks: at least one.
        column: which of their columns.
        contigs: names and lengths of the contigs that have values.

    Raises:
        UsageError: pybigtools is not installed.
    """
    parts = (
        (block.contig, block.start, block.values[:, column]) for contig in sorted(contigs) for block in blocks(contig)
    )
    write_parts(path, parts, contigs=contigs)


Part = tuple[str, int, npt.NDArray[np.floating]]
"""Contig, start and values of bases in a row, (n,)."""


def write_parts(path: Path, parts: Iterable[Part], *, contigs: Mapping[str, int]) -> None:
    """One value per base, NaN for none; ``parts`` by name of contig, as in bigWig's tree of them, then by start.

    ``path`` and ``contigs`` are those of :func:`write_bigwig`.

    Raises:
        UsageError: pybigtools is not installed.
    """
    _write(path, contigs, chain.from_iterable(starmap(_entries, parts)))


Entry = tuple[str, int, int, float]
"""Contig, start, end (0-based half-open) and value."""


def _write(path: Path, contigs: Mapping[str, int], entries: Iterable[Entry]) -> None:
    """Write a track.

    pybigtools prints what ``entries`` raises, or which of them it refuses, and takes the track for complete; where it
    cannot write, it panics.
    """
    try:
        import pybigtools
    except ImportError:
        raise UsageError("a .bw output needs pybigtools: pip install 'genoconv[bigwig]'") from None

    raised: list[BaseException] = []
    ended = False

    def watched() -> Iterator[Entry]:
        nonlocal ended
        try:
            yield from entries
            ended = True
        except GeneratorExit:
            raise
        except BaseException as error:
            raised.append(error)

    try:
        pybigtools.open(str(path), "w").write(dict(contigs), watched())
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # its text names a place in pybigtools
            raise OSError(errno.EIO, "pybigtools failed; is the disk full?", str(path)) from error
        if type(error) is Exception:
            raise OSError(errno.EIO, _line(error), str(path)) from None
        raise
    if raised:
        raise raised[0]
    if not ended:
        raise OSError(errno.EIO, "pybigtools refused a value", str(path))


def _entries(contig: str, start: int, values: npt.NDArray[np.floating]) -> Iterator[Entry]:
    known = np.flatnonzero(~np.isnan(values))
    first = start + known
    return zip(repeat(contig), first.tolist(), (first + 1).tolist(), values[known].tolist())


def write_spans(path: Path, spans: Sequence[Entry], *, contigs: Mapping[str, int]) -> None:
    """One value per span.

    Args:
        path: to be written; UTF-8.
        spans: contig, start, end (0-based half-open) and value; sorted, without overlaps, at least one.
        contigs: names and lengths of the contigs.

    Raises:
        DataError: there is no span, which a bigWig cannot express.
    """
    if not spans:
        raise DataError(f"{path.name}: no values to write; a track needs at least one")
    used = {contig for contig, *_ in spans}
    lengths = {name: length for name, length in contigs.items() if name in used}
    _write(path, lengths, spans)


_MAGIC = (bytes.fromhex("888ffc26"), bytes.fromhex("26fc8f88"))


def is_bigwig(path: Path) -> bool:
    """Whether a file begins as a bigWig does."""
    with path.open("rb") as stream:
        return stream.read(4) in _MAGIC


class BigWig:
    """A bigWig track that is read.

    Attributes:
        path: the file.
        contigs: name -> length in bases.

    Raises:
        DataError: damaged, or not a bigWig.
        UsageError: pybigtools is not installed.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            import pybigtools
        except ImportError:
            raise UsageError(f"{path}: a bigWig needs pybigtools: pip install 'genoconv[bigwig]'") from None

        self.path = path
        self._errors = (pybigtools.BBIReadError, ValueError, KeyError, OSError)
        stream = path.open("rb")  # pybigtools takes a path by its suffix only, and prints errors
        weakref.finalize(self, stream.close)
        try:
            self._track = pybigtools.open(stream)
            self.contigs: dict[str, int] = self._track.chroms()
        except self._errors as error:
            raise DataError(f"{path}: damaged, or not a bigWig: {_line(error)}") from None

    def values(self, contig: str, start: int, end: int) -> npt.NDArray[np.float32]:
        """(end - start,) values of bases, 0-based half-open; NaN where the track has none.

        Raises:
            DataError: the file is damaged.
        """
        try:
            found = self._track.values(contig, start, end, fillna=None)
        except self._errors as error:
            raise DataError(f"{self.path}: cannot be read at {contig}:{start + 1}-{end}: {_line(error)}") from None
        return np.asarray(found, np.float32)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
