"""Where ``genoconv score-variants`` writes: a VCF with its index, a table, or both; complete or not at all."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from genoconv.atomic import atomic_file, refuse_existing, refuse_inputs, refuse_not_utf8
from genoconv.errors import DataError, OutputError, UsageError
from genoconv.models.checkpoint import model_files
from genoconv.pipelines.references import GenomeFiles
from genoconv.pipelines.score.fields import Fields
from genoconv.pipelines.score.inputs import Inputs
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.pipelines.score.results import Result
from genoconv.tasks.journal import refuse_finished_pieces
from genoconv.variants.bcf_limits import BcfCheck
from genoconv.variants.writer import Put, install_index, open_writer, output_kind, remove_indexes, write_index

log = logging.getLogger(__name__)

_BCF_LIMIT = 2**31 - 1
_TABLES = (".tsv", ".tsv.gz", ".csv", ".csv.gz", ".parquet", ".xlsx")

WriteResult = Callable[[Result], object]


@dataclass(frozen=True, slots=True)
class Outputs:
    """The VCF and the table of one run.

    Attributes:
        vcf: None where it is not wanted; ``Path("-")`` is standard output.
        table: None where it is not wanted.
        kind: format of the VCF: ``v``, ``z``, ``u`` or ``b``.
        index: whether to index the VCF where that is possible.
    """

    vcf: Path | None
    table: Path | None
    kind: str
    index: bool

    @classmethod
    def of(cls, options: ScoreOptions, genome: GenomeFiles) -> "Outputs":
        """Check, before any work, what could not be written at its end, or would be lost by it.

        Raises:
            UsageError: an output that is an input or is written twice, ``--resume`` without a file.
            OutputError: a file exists or cannot be created, or an interrupted run left finished pieces.
        """
        files = options.files
        if options.output is not None and not options.output_type and options.output.name.lower().endswith(_TABLES):
            raise UsageError(f"--output {options.output}: the output is a VCF or BCF; --tsv FILE writes a table")
        if options.tsv is not None and str(options.tsv) == "-":
            raise UsageError("--tsv -: write the table to a file; standard output is for the VCF")
        if options.resume and not files:
            raise UsageError("--resume needs an output file (-o FILE): standard output cannot be resumed")
        if len(files) == 2 and files[1].absolute() in {path.absolute() for path in (files[0], *_indexes(files[0]))}:
            raise UsageError(f"--tsv {files[1]} is also written as --output or its index; choose another name")
        for path in files:
            if path.is_dir():
                raise OutputError(f"{path} is a folder; name a file in it")
        inputs = {"VCF": options.vcf, "--fasta": genome.fasta, "--annotation": genome.annotation}
        inputs |= {"--regions-file": options.regions_file}
        inputs |= {f"--model ({path.name})": path for path in model_files(options.model)}
        inputs |= {f"{path.name}, an index": path for path in (*_indexes(options.vcf), *_indexes(genome.fasta))}
        refuse_inputs(files, inputs=inputs)
        for path in files:
            refuse_existing(path, force=options.force)
        if files:
            refuse_finished_pieces(files[0], resume=options.resume, force=options.force)
        vcf = options.vcf_output
        kind = output_kind(vcf, options.output_type)
        if vcf is not None and (kind in "ub" or (kind == "z" and options.index)):
            refuse_not_utf8(vcf, by="htslib, which writes BCF and indexes,")
        return cls(vcf, options.tsv, kind, options.index)

    def check_positions(self, inputs: Inputs) -> None:
        """Refuse BCF for records that it cannot hold, before any is scored.

        Raises:
            DataError: a contig has records beyond the reach of 32 bits.
        """
        far = [contig for contig, end in inputs.survey.contigs.items() if end > _BCF_LIMIT]
        if far and self.kind in "ub":
            raise DataError(
                f"{inputs.source.name}: {far[0]} has a record beyond {_BCF_LIMIT:,}, the largest position in "
                "BCF; write VCF: -O z"
            )

    def check_records(self, header: Sequence[str], inputs: Inputs) -> None:
        """Refuse BCF for what it cannot hold, before any record is scored.

        Raises:
            OutputError: a value would be rounded or dropped; record and key are named.
        """
        if self.vcf is not None and self.kind in "ub" and not inputs.source.is_bcf:
            check = BcfCheck(header, source=inputs.source.name)
            for record in inputs.records():
                check(record.line)

    @contextlib.contextmanager
    def open(self, header: Sequence[str], *, fields: Fields, is_sorted: bool) -> Iterator[WriteResult]:
        """Open the outputs and yield the function that writes a result to them.

        Files get their names, and the VCF its index if it ``is_sorted``, when the block has ended well.
        """
        with contextlib.ExitStack() as stack:
            writing: list[WriteResult] = []
            if self.table is not None:
                rows = stack.enter_context(_table(self.table, fields))
                writing.append(lambda result: rows(result.table))
            if self.vcf is not None:
                opened = _vcf(self.vcf, kind=self.kind, header=header, is_sorted=is_sorted, index=self.index)
                put = stack.enter_context(opened)
                writing.append(lambda result: put(result.vcf))

            def write(result: Result) -> None:
                for one in writing:
                    one(result)

            yield write


def _indexes(path: Path | None) -> list[Path]:
    """What an index of this file may be called."""
    if path is None or str(path) == "-":
        return []
    return [path.with_name(path.name + suffix) for suffix in (".tbi", ".csi", ".fai", ".gzi")]


@contextlib.contextmanager
def _table(path: Path, fields: Fields) -> Iterator[Callable[[str], object]]:
    with (
        atomic_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as lines,
    ):
        lines.write(fields.table_header() + "\n")
        yield lines.write


@contextlib.contextmanager
def _vcf(
    output: Path,
    *,
    kind: str,
    header: Sequence[str],
    is_sorted: bool,
    index: bool,
) -> Iterator[Put]:
    if str(output) == "-":
        with open_writer(None, kind=kind, header=header) as put:
            yield put
        return
    made: Path | None = None
    try:
        with atomic_file(output) as temporary:
            with open_writer(temporary, kind=kind, header=header) as put:
                yield put
            if index and kind in "zb":
                made = _index(temporary, output, kind=kind, is_sorted=is_sorted)
            # First the old index goes: a moment without one is better than one of other records.
            remove_indexes(output)
        if made is not None:
            install_index(made, output)
    finally:
        if made is not None:
            made.unlink(missing_ok=True)


def _index(temporary: Path, output: Path, *, kind: str, is_sorted: bool) -> Path | None:
    """The index of a finished file; a file that cannot be indexed is kept."""
    if not is_sorted:
        log.warning("%s: the records are not sorted, so no index was written", output)
        return None
    try:
        return write_index(temporary, kind=kind)
    except OSError as error:
        log.warning("%s: no index was written: htslib cannot index these records (%s)", output, error)
        return None
