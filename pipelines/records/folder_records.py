"""Records of a folder: a class is a FASTA file, or a folder with a file per record, perhaps inside train and test."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from genoconv.errors import DataError, UsageError
from genoconv.formats import open_binary
from genoconv.genome.fasta.records import read_records
from genoconv.lines import numbered_lines, utf8
from genoconv.pipelines.records.record import Record, Wanted, checked_sequence
from genoconv.tokens import Tokens, encode

_SPLITS = ("train", "training", "valid", "validation", "val", "dev", "test", "testing")
_LONGEST = 1 << 24
"""Letters of a record that has a file of its own."""


class _File(NamedTuple):
    path: Path
    label: str
    split: str
    name: str
    """Of its one record; empty where the file may hold many."""


class FolderRecords:
    """``DIR/[SPLIT/]CLASS/*`` or ``DIR/[SPLIT/]CLASS.fa``, as GenomicBenchmarks has it; a :class:`.Source`."""

    placed = False

    def __init__(self, wanted: Wanted) -> None:
        if wanted.labels or wanted.split:
            raise UsageError(f"--label and --split-column name columns; {wanted.path} is a folder of classes")
        self.name = str(wanted.path)
        self.labels: tuple[str, ...] = ("label",)
        self._files = list(_files(wanted.path))
        self.has_split = any(file.split for file in self._files)
        if not self._files:
            raise DataError(f"{self.name}: no records in this folder; expected one folder or FASTA file per class")
        self.notes = [f"class{' and split' if self.has_split else ''} by the names of folders and files"]

    def records(self) -> Iterator[Record]:
        for file in self._files:
            for where, name, tokens in _read(file):
                yield Record(where, name, name, 0, len(tokens), "+", tokens, (file.label,), file.split)


def _files(top: Path) -> Iterator[_File]:
    inside = [path for path in _visible(top) if path.is_dir() and path.name.lower() in _SPLITS]
    other = next((path for path in _visible(top) if inside and path not in inside), None)
    if other is not None:
        raise DataError(f"{other}: not part of {inside[0].name}; move it out of {top}")
    for folder in inside or [top]:
        split = folder.name if inside else ""
        for path in _visible(folder):
            if not path.is_dir():
                yield _File(path, path.name.removesuffix(".gz").partition(".")[0], split, "")
                continue
            for one in _visible(path):
                if one.is_dir():
                    raise DataError(f"{one}: a folder inside the folder of class {path.name}; expected files")
                yield _File(one, path.name, split, str(one.relative_to(top)))


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _read(file: _File) -> Iterator[tuple[str, str, Tokens]]:
    """Place for messages, name and tokens of each record of a file."""
    with open_binary(file.path) as stream:
        is_fasta = stream.peek(1)[:1] == b">"
    if is_fasta:
        for record in read_records(file.path):
            where = f"{file.path}: line {record.line}"
            if not record.sequence:
                raise DataError(f"{where}: this record is empty; remove it")
            yield where, record.name, encode(record.sequence)
        return
    if not file.name:
        raise DataError(f"{file.path}: not a FASTA; expected one folder or FASTA file per class")
    with open_binary(file.path, table=True) as stream:
        lines = numbered_lines(stream, source=str(file.path), kind="a sequence", longest=_LONGEST)
        text = "".join(utf8(raw, source=str(file.path), line=number).strip() for number, raw in lines)
    where = f"{file.path}: line 1"
    yield where, file.name, checked_sequence(text, where=where)
