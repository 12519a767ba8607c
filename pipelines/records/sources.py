"""Find out what a file of records is: a table, a FASTA or a BED file."""

from pathlib import Path

from genoconv.errors import UsageError
from genoconv.formats import open_binary
from genoconv.pipelines.records.bed_records import BedRecords
from genoconv.pipelines.records.fasta_records import FastaRecords
from genoconv.pipelines.records.record import Source, Wanted
from genoconv.pipelines.records.table_records import TableRecords


def open_source(wanted: Wanted) -> Source:
    """Find out what a file is, by its content and, for BED, by its name or ``fasta``.

    Raises:
        UsageError: options that do not go together.
        DataError: the file cannot be used.
    """
    path = wanted.path
    is_fasta = str(path) == "-" or _first_byte(path) == b">"
    if wanted.fasta is not None and is_fasta:
        raise UsageError(f"--fasta goes with a BED file; {path} has its sequence itself")
    if wanted.label_file is not None and not is_fasta:
        raise UsageError(f"--labels goes with a FASTA; {path} is not one")
    if is_fasta:
        return FastaRecords(wanted)
    name = path.name.lower().removesuffix(".gz").removesuffix(".bgz")
    if wanted.fasta is not None or name.endswith((".bed", ".narrowpeak", ".broadpeak")):
        if wanted.fasta is None:
            raise UsageError(f"{path}: a BED file needs its sequence: add --fasta FILE")
        return BedRecords(wanted)
    return TableRecords(wanted)


def _first_byte(path: Path) -> bytes:
    with open_binary(path) as stream:
        return stream.peek(1)[:1]
