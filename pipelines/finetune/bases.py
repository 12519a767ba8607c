"""What a run with ``--per-base`` learns from: windows of a genome, and a target for each of their bases."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from genoconv.digests import file_digest
from genoconv.errors import DataError, UsageError
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.intervals import equal_parts
from genoconv.pipelines.finetune.inputs import Dataset, checked, log_notes, split_records
from genoconv.pipelines.finetune.leaks import Leaks
from genoconv.pipelines.finetune.options import FinetuneConfig
from genoconv.pipelines.finetune.targets import BaseTargets, Targets, open_targets
from genoconv.pipelines.lengths import DEFAULT_WINDOW
from genoconv.pipelines.records.bed_records import BedRecords
from genoconv.pipelines.records.record import Wanted
from genoconv.pipelines.records.sources import is_bed, is_fasta
from genoconv.tokens import A, T, Tokens, reverse_complement
from genoconv.wording import count, listed

if TYPE_CHECKING:
    from genoconv.train.readers import Reader

_LETTERS, _VALUES = "letters other than A, C, G and T", "no value in the track"

Numbers = npt.NDArray[np.int64]


class Window(NamedTuple):
    """A stretch of a contig, named as in the FASTA; 0-based half-open. On ``.`` it may be read on either strand."""

    where: str
    name: str
    contig: str
    start: int
    end: int
    strand: str
    split: str


@dataclass(frozen=True)
class BaseLabels:
    """Targets of every base of all records; beside :class:`.Labels`, which are of whole records.

    Attributes:
        kind, names, reason: as of :class:`.Labels`.
        stranded: whether the targets of a strand are its own.
        targets: of each record (bases, C), in the direction of reading; NaN where nothing is known.
        opposite: those of the opposite strand in its direction, where they differ; else None.
        windows: where the records lie, on the strand on which they are read.
        masked: how many bases have no target, by the reason.
        sources: name and digest of each file of targets.
    """

    kind: Any
    names: tuple[str, ...]
    reason: str
    stranded: bool
    targets: list[Targets]
    opposite: list[Targets] | None
    windows: list[Window]
    masked: Counter[str]
    sources: list[dict[str, str]]

    def has_target(self, record: int) -> npt.NDArray[np.bool_]:
        """Which bases of a record have a target, (bases,)."""
        return np.asarray(np.isfinite(self.targets[record]).any(axis=1), np.bool_)

    def known(self, members: Numbers) -> Targets:
        """Targets (M, C) of the bases of some records that have one."""
        parts = [self.targets[number][self.has_target(number)] for number in members.tolist()]
        return np.concatenate(parts)

    def reader(self, sequences: Sequence[Tokens], members: Numbers, features: Targets | None) -> "Reader":
        """What training reads of some records."""
        from genoconv.train.records import BaseReader

        assert features is None
        numbers = members.tolist()
        opposite = None if self.opposite is None else [self.opposite[number] for number in numbers]
        return BaseReader([sequences[n] for n in numbers], [self.targets[n] for n in numbers], opposite=opposite)

    def describe(self) -> dict[str, Any]:
        """For ``data.json``, beside what is the same for all labels."""
        bases = sum(int(self.has_target(number).sum()) for number in range(len(self.targets)))
        return {"per_base": {"targets": self.sources, "bases_with_target": bases, "bases_without": dict(self.masked)}}


class _Windows:
    """The windows of a run, before they are read.

    Attributes:
        name, has_split, placed: as of :class:`.records.record.Source`.
        fasta: their sequence.
        notes: what was understood.
    """

    placed = True

    def __init__(self, config: FinetuneConfig) -> None:
        assert config.table is not None
        self.name, self.has_split, self.notes = str(config.table), False, list[str]()
        self._bed = None
        if is_fasta(config.table):
            if config.fasta is not None:
                raise UsageError(
                    f"--fasta is only for a BED file of windows; {config.table} contains its own sequences"
                )
            self.fasta = Fasta(config.table)
        elif config.fasta is not None or is_bed(config.table):
            if config.fasta is None:
                raise UsageError(f"{config.table}: a BED file needs a reference sequence: add --fasta FILE")
            wanted = Wanted(path=config.table, fasta=config.fasta, split=config.split_column, need_label=False)
            self._bed = BedRecords(wanted)
            self.fasta, self.has_split, self.notes = self._bed.fasta, self._bed.has_split, list(self._bed.notes)
        else:
            raise UsageError(
                f"--per-base: {config.table} is a table of sequences without genomic coordinates;"
                " give a BED file of windows with --fasta, or a FASTA to read its contigs in windows"
            )

    def cut(self, targets: BaseTargets, *, longest: int) -> Iterator[Window]:
        """Windows of at most ``longest`` bases with targets on their contig.

        Raises:
            DataError: a BED file names a contig that the targets lack, or they lack all.
        """
        if self._bed is not None:
            for row in self._bed.intervals():
                lack = targets.lacks(row.target)
                if lack is not None:
                    raise DataError(f"{row.where}: no targets: {lack}")
                parts = list(equal_parts(row.start, row.end, longest))
                for number, (start, end) in enumerate(parts, 1):
                    name = row.name if len(parts) == 1 else f"{row.name}:{number}/{len(parts)}"
                    yield Window(row.where, name, row.target, start, end, row.strand, row.split)
            return
        lacks = {contig: lack for contig in self.fasta.contigs if (lack := targets.lacks(contig)) is not None}
        if len(lacks) == len(self.fasta.contigs):
            raise DataError(f"{self.name}: no contig has targets; {next(iter(lacks.values()))}")
        if lacks:
            self.notes.append(f"left out without targets: {listed(lacks)}; {next(iter(lacks.values()))}")
        for contig, length in self.fasta.contigs.items():
            for start, end in equal_parts(0, length, longest) if contig not in lacks else ():
                yield Window(f"{self.name}: {contig}", f"{contig}:{start + 1}-{end}", contig, start, end, ".", "")


def gather_bases(config: FinetuneConfig, *, longest: int) -> Dataset:
    """Read windows, their sequence and their targets; says what was understood.

    Args:
        config: with ``per_base``.
        longest: bases that the model reads at once.

    Raises:
        UsageError: options that do not fit the files.
        DataError: a window or targets that cannot be used.
    """
    if config.window is not None and config.window > longest:
        raise UsageError(f"--window {config.window:,}: this model reads up to {longest:,} bases at once")
    source = _Windows(config)
    fasta = source.fasta
    targets = open_targets(
        config.per_base, fasta=fasta.path, contigs=fasta.contigs, labels=config.label, task=config.task
    )
    windows = list(source.cut(targets, longest=config.window or min(longest, DEFAULT_WINDOW)))
    labels, sequences, owners = _read(source, windows, targets)
    sources = [{"name": path.name, "sha256": file_digest(path)} for path in config.per_base]
    labels.sources.extend(sources)
    kept = [windows[owner] for owner in dict.fromkeys(owners)]
    found, rule = split_records(config, source, kept, [0] * len(kept))
    place = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    each = found[[place[owner] for owner in owners]]
    none = Leaks(np.empty(0, np.int64), np.empty(0, np.int64), 0)
    names = [window.name for window in labels.windows]
    data = checked(config, Dataset(source.name, names, sequences, labels, each, rule, none))
    _check_learnable(data, labels)
    log_notes(config, data, [*source.notes, *_notes(labels, left_out=len(windows) - len(kept))])
    return data


def _read(
    source: _Windows, windows: Sequence[Window], targets: BaseTargets
) -> tuple[BaseLabels, list[Tokens], list[int]]:
    """Targets and tokens of all records, and the window of each by number; those without a target are left out."""
    masked: Counter[str] = Counter()
    found, opposite, sequences, places, owners = [], [], [], [], []
    for number, window in enumerate(windows):
        tokens = source.fasta.tokens(window.contig, window.start, window.end)
        letters = (tokens >= A) & (tokens <= T)
        both = window.strand == "." and targets.stranded
        for strand in ("+", "-") if both else ("-" if window.strand == "-" else "+",):
            mine = _masked(targets, window, strand, letters)
            known = np.isfinite(mine).any(axis=1)
            masked[_LETTERS] += int((~letters).sum())
            masked[_VALUES] += int((letters & ~known).sum())
            if not known.any():
                continue
            found.append(mine)
            if targets.stranded:
                opposite.append(_masked(targets, window, "+" if strand == "-" else "-", letters))
            sequences.append(reverse_complement(tokens) if strand == "-" else tokens)
            places.append(window._replace(strand=strand))
            owners.append(number)
    if not found:
        raise DataError(f"{source.name}: no base of its {count(len(windows), 'window')} has a target")
    others = opposite if targets.stranded else None
    labels = BaseLabels(
        targets.kind, targets.names, targets.reason, targets.stranded, found, others, places, +masked, []
    )
    return labels, sequences, owners


def _masked(targets: BaseTargets, window: Window, strand: str, letters: npt.NDArray[np.bool_]) -> Targets:
    """Targets of one strand of a window in its direction, NaN where the letter is not a base."""
    found = targets.of(window.contig, window.start, window.end, strand)
    found[~letters] = np.nan
    return np.ascontiguousarray(found[::-1]) if strand == "-" else found


def _check_learnable(data: Dataset, labels: BaseLabels) -> None:
    """Refuse targets that are the same at every base of the training windows.

    Raises:
        DataError: they are.
    """
    known = labels.known(data.members("train"))
    outputs = (
        [*labels.names] if known.shape[1] > 1 else [labels.names[-1] if labels.kind == "binary" else labels.names[0]]
    )
    for name, column in zip(outputs, known.T, strict=True):
        values = column[np.isfinite(column)]
        if not len(values) or (values == values[0]).all():
            if labels.kind == "regression":
                what = f"{name} is {values[0]:g} at every base" if len(values) else f"{name} has no value"
            elif labels.kind == "multiclass":
                what = f"every base is {labels.names[int(values[0])]}"
            else:
                what = f"{'every' if values[0] else 'no'} base is {name}"
            raise DataError(f"{data.name}: {what} in the training windows; nothing can be learned")


def _notes(labels: BaseLabels, *, left_out: int) -> list[str]:
    notes = [f"{labels.kind} for every base: {labels.reason}"]
    masked = [f"{count(number, 'base')} with {reason}" for reason, number in labels.masked.items()]
    if masked:
        notes.append(f"not learned from: {', '.join(masked)}")
    if left_out:
        notes.append(f"{count(left_out, 'window')} without a target skipped")
    return notes
