"""Find out what holds records: a table, a FASTA or a BED file, or a folder of classes."""

from pathlib import Path

from genoconv.errors import UsageError
from genoconv.formats import open_binary
from genoconv.pipelines.records.bed_records import BedRecords
from genoconv.pipelines.records.fasta_records import FastaRecords
from genoconv.pipelines.records.folder_records import FolderRecords
from genoconv.pipelines.records.record import Source, Wanted
from genoconv.pipelines.records.table_records import TableRecords


def open_source(wanted: Wanted) -> Source:
    """Find out what a file is, by its content and, for BED, by its name or ``fasta``.

    Raises:
        UsageError: options that do not go together.
        DataError: the file cannot be used.
    """
    path = wanted.path
    if path.is_dir():
        if wanted.fasta is not None or wanted.label_file is not None:
            raise UsageError(f"{path} is a folder of classes; drop --fasta and --labels")
        return FolderRecords(wanted)
    fasta = is_fasta(path)
    if wanted.fasta is not None and fasta:
        raise UsageError(f"--fasta is only for a BED file; {path} contains its own sequences")
    if wanted.label_file is not None and not fasta:
        raise UsageError(f"--labels is only for a FASTA, which {path} is not")
    if fasta:
        return FastaRecords(wanted)
    if wanted.fasta is not None or is_bed(path):
        if wanted.fasta is None:
            raise UsageError(f"{path}: a BED file needs a reference sequence: add --fasta FILE")
        return BedRecords(wanted)
    return TableRecords(wanted)


def is_fasta(path: Path) -> bool:
    """Whether a file is a FASTA, by its first letter; standard input is."""
    return str(path) == "-" or _first_byte(path) == b">"


def is_bed(path: Path) -> bool:
    """Whether a file is BED, by its name."""
    name = path.name.lower().removesuffix(".gz").removesuffix(".bgz")
    return name.endswith((".bed", ".narrowpeak", ".broadpeak"))


def _first_byte(path: Path) -> bytes:
    with open_binary(path) as stream:
        return stream.peek(1)[:1]
