"""Where ``genoconv score-variants`` writes: a VCF with its index, a table, or both; complete or not at all."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from genoconv.atomic import atomic_file, refuse_existing
from genoconv.errors import DataError, OutputError, UsageError
from genoconv.pipelines.score.fields import Fields
from genoconv.tasks.score import Score
from genoconv.variants.reader import Record
from genoconv.variants.survey import Survey
from genoconv.variants.writer import Write, install_index, open_writer, write_index

log = logging.getLogger(__name__)

_BCF_LIMIT = 2**31 - 1

WriteScores = Callable[[Record, Sequence[Sequence[Score]]], object]


def check_outputs(output: Path | None, tsv: Path | None, *, resume: bool, force: bool) -> None:
    """Refuse before any work what could not be written at its end.

    Raises:
        UsageError: nothing to write, or ``--resume`` without a file.
        OutputError: a file exists, or its folder does not.
    """
    files = [path for path in (output, tsv) if path is not None and str(path) != "-"]
    if output is None and tsv is None:
        raise UsageError("nothing to write: give -o/--output or --tsv")
    if tsv is not None and str(tsv) == "-":
        raise UsageError("--tsv - : the table goes to a file; standard output is for the VCF")
    if resume and not files:
        raise UsageError("--resume needs an output file (-o FILE): there is nothing to go on with on standard output")
    if len(files) == 2 and files[0].absolute() == files[1].absolute():
        raise UsageError(f"--output and --tsv are the same file: {files[0]}")
    for path in files:
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give the name of a file in it")
        refuse_existing(path, force=force)


def check_positions(name: str, found: Survey, *, kind: str) -> None:
    """Refuse BCF for records that it cannot hold, before any is scored.

    Raises:
        DataError: a contig has records beyond the reach of 32 bits.
    """
    far = [contig for contig, end in found.contigs.items() if end > _BCF_LIMIT]
    if far and kind in "ub":
        raise DataError(
            f"{name}: {far[0]} has a record beyond {_BCF_LIMIT:,}, where BCF's positions end; write VCF: -O z"
        )


@contextlib.contextmanager
def open_outputs(
    output: Path | None,
    tsv: Path | None,
    *,
    kind: str,
    header: Sequence[str],
    replaced: frozenset[str],
    is_sorted: bool,
    fields: Fields,
    index: bool,
) -> Iterator[WriteScores]:
    """Open the outputs and yield the function that writes a record with its scores to them.

    ``is_sorted`` tells whether the VCF can have an index. Files get their names, and the index, when the block has
    ended well.
    """
    with contextlib.ExitStack() as stack:
        sinks: list[WriteScores] = []
        if tsv is not None:
            table = stack.enter_context(atomic_file(tsv))
            lines = stack.enter_context(table.open("w", encoding="utf-8", errors="surrogateescape", newline=""))
            lines.write(fields.table_header() + "\n")
            sinks.append(
                lambda record, scores: lines.writelines(f"{row}\n" for row in fields.table_rows(record, scores))
            )
        if output is not None:
            opened = _vcf(output, kind=kind, header=header, replaced=replaced, is_sorted=is_sorted, index=index)
            write = stack.enter_context(opened)
            sinks.append(lambda record, scores: write(record, fields.info_values(record, scores)))

        def write_all(record: Record, scores: Sequence[Sequence[Score]]) -> None:
            for sink in sinks:
                sink(record, scores)

        yield write_all


@contextlib.contextmanager
def _vcf(
    output: Path,
    *,
    kind: str,
    header: Sequence[str],
    replaced: frozenset[str],
    is_sorted: bool,
    index: bool,
) -> Iterator[Write]:
    if str(output) == "-":
        with open_writer(None, kind=kind, header=header, replaced=replaced) as write:
            yield write
        return
    made: Path | None = None
    try:
        with atomic_file(output) as temporary:
            with open_writer(temporary, kind=kind, header=header, replaced=replaced) as write:
                yield write
            if index and kind in "zb":
                made = _index(temporary, output, kind=kind, is_sorted=is_sorted)
        if made is not None:
            install_index(made, output)
    finally:
        if made is not None:
            made.unlink(missing_ok=True)


def _index(temporary: Path, output: Path, *, kind: str, is_sorted: bool) -> Path | None:
    """The index of a finished file; what cannot be indexed is no reason to lose it."""
    if not is_sorted:
        log.warning("%s: the records are not sorted, so there is no index", output)
        return None
    try:
        return write_index(temporary, kind=kind)
    except OSError as error:
        log.warning("%s: no index: htslib cannot make one of these records (%s)", output, error)
        return None
