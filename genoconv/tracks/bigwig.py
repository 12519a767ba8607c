"""bigWig tracks, for genome browsers."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

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
    try:
        import pybigtools
    except ImportError:
        raise UsageError("a .bw output needs pybigtools: pip install 'genoconv[bigwig]'") from None

    # bigWig's tree of contigs is sorted by name; so are the values that bigtools takes.
    pybigtools.open(str(path), "w").write(dict(contigs), _values(blocks, column, sorted(contigs)))


def _values(blocks: Blocks, column: int, contigs: list[str]) -> Iterator[tuple[str, int, int, float]]:
    for contig in contigs:
        for block in blocks(contig):
            for position, value in enumerate(block.values[:, column].tolist(), block.start):
                if value == value:
                    yield contig, position, position + 1, value


def write_spans(path: Path, spans: Sequence[tuple[str, int, int, float]], *, contigs: Mapping[str, int]) -> None:
    """One value per span.

    Args:
        path: to be written; UTF-8.
        spans: contig, start, end (0-based half-open) and value; sorted, without overlaps, at least one.
        contigs: names and lengths of the contigs.

    Raises:
        DataError: there is no span, which a bigWig cannot express.
    """
    import pybigtools

    if not spans:
        raise DataError(f"{path.name}: no value to write; a track needs one")
    used = {contig for contig, *_ in spans}
    lengths = {name: length for name, length in contigs.items() if name in used}
    pybigtools.open(str(path), "w").write(lengths, iter(spans))
