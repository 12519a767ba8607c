"""Where ``genoconv score-variants`` writes: a VCF with its index, a table, or both; complete or not at all."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from genoconv.atomic import atomic_file, refuse_existing
from genoconv.errors import UsageError
from genoconv.pipelines.score_fields import Fields
from genoconv.tasks.score import Score
from genoconv.variants.reader import Record, VariantFile
from genoconv.variants.survey import Survey
from genoconv.variants.writer import Write, install_index, open_writer, write_index

log = logging.getLogger(__name__)

WriteScores = Callable[[Record, Sequence[Sequence[Score]]], None]


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
        refuse_existing(path, force=force)


@contextlib.contextmanager
def open_outputs(
    output: Path | None,
    tsv: Path | None,
    *,
    kind: str,
    header: Sequence[str],
    replaced: frozenset[str],
    source: VariantFile,
    found: Survey,
    fields: Fields,
    index: bool,
) -> Iterator[WriteScores]:
    """Open the outputs and yield the function that writes a record with its scores to them.

    Files get their names, and their index, when the block has ended well.
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
            opened = _vcf(output, kind=kind, header=header, replaced=replaced, source=source, found=found, index=index)
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
    source: VariantFile,
    found: Survey,
    index: bool,
) -> Iterator[Write]:
    if str(output) == "-":
        with open_writer(None, kind=kind, header=header, source=source, replaced=replaced) as write:
            yield write
        return
    made: Path | None = None
    try:
        with atomic_file(output) as temporary:
            with open_writer(temporary, kind=kind, header=header, source=source, replaced=replaced) as write:
                yield write
            if index and kind in "zb":
                if found.is_sorted:
                    made = write_index(temporary, kind=kind, greatest_end=max(found.contigs.values(), default=0))
                else:
                    log.warning("%s: the records are not sorted, so there is no index", output)
        if made is not None:
            install_index(made, output)
    finally:
        if made is not None:
            made.unlink(missing_ok=True)
