"""Targets for every base of a window: numbers of bigWig tracks, or the labels of a BED file's intervals."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from genoconv.contigs import match_contigs
from genoconv.errors import DataError, UsageError
from genoconv.lines import shortened
from genoconv.pipelines.records.bed_records import BedRecords, Interval
from genoconv.pipelines.records.record import Wanted
from genoconv.tracks.bigwig import BigWig, is_bigwig
from genoconv.wording import count, listed

Targets = npt.NDArray[np.float32]

_MOST_LABELS = 20
"""Distinct names up to which column 4 of a BED file is taken for labels without being asked for."""
_MOST_NAMED = 1000
OUTSIDE, INSIDE, NONE = "outside", "inside", "none"


class BaseTargets(Protocol):
    """What is to be predicted of every base.

    Attributes:
        kind, names: as :attr:`.HeadConfig.kind` and :attr:`.HeadConfig.labels`.
        stranded: whether the targets of a strand are its own.
        reason: what was understood, in words.
    """

    kind: Any
    names: tuple[str, ...]
    stranded: bool
    reason: str

    def lacks(self, contig: str) -> str | None:
        """Why there is nothing to be known of a contig of the FASTA; None where there is."""
        ...

    def of(self, contig: str, start: int, end: int, strand: str) -> Targets:
        """(end - start, C) in the order of the forward strand, as :class:`.Labelled` takes them.

        Args:
            contig: of the FASTA.
            start, end: 0-based half-open.
            strand: ``+`` or ``-``, whose labels are wanted.
        """
        ...


def open_targets(
    paths: Sequence[Path], *, fasta: Path, contigs: Mapping[str, int], labels: tuple[str, ...], task: str | None
) -> BaseTargets:
    """Find out what the targets are: bigWig by content, else BED.

    Args:
        paths: one BED file, or bigWig files.
        fasta: what their coordinates belong to, with its ``contigs``: name -> length.
        labels: the column of a BED file that holds the label of an interval; empty looks for it.
        task: as :attr:`.FinetuneConfig.task`.

    Raises:
        UsageError: files or options that do not go together.
        DataError: a file that cannot be used.
    """
    tracks = [path for path in paths if is_bigwig(path)]
    if not tracks:
        if len(paths) > 1:
            raise UsageError(
                f"--per-base: {len(paths)} BED files; give one, with the label of each interval in a column"
            )
        return _Intervals(paths[0], fasta=fasta, labels=labels, task=task)
    if len(tracks) < len(paths):
        other = next(path for path in paths if path not in tracks)
        raise UsageError(
            f"--per-base: {other} is not a bigWig, but {tracks[0]} is; use bigWig files only, or one BED file"
        )
    if labels:
        raise UsageError("--label names a column of a BED file, but a bigWig has no columns")
    if task not in (None, "regression"):
        raise UsageError(f"--task {task}: a bigWig contains numbers; labels of bases must be a BED file")
    return _Tracks(tracks, contigs)


class _Tracks:
    """bigWig tracks: a value per track."""

    kind = "regression"
    stranded = False

    def __init__(self, paths: Sequence[Path], contigs: Mapping[str, int]) -> None:
        self._tracks = [BigWig(path) for path in paths]
        self._contigs = contigs
        self._names = [match_contigs(contigs, track.contigs) for track in self._tracks]
        self.names = tuple(_stem(path) for path in paths)
        twice = next((name for name in self.names if self.names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(
                f"--per-base: two tracks are named {twice}; rename a file, because outputs are named after the files"
            )
        self.reason = count(len(paths), "bigWig track")

    def lacks(self, contig: str) -> str | None:
        for track, names in zip(self._tracks, self._names, strict=True):
            if contig not in names:
                there = track.contigs.get(contig)
                if there is not None:
                    return f"{contig} has {there:,} bases in {track.path} and {self._contigs[contig]:,} in the FASTA"
                return f"{track.path} has no contig {shortened(contig)}; it has {listed(track.contigs)}"
        return None

    def of(self, contig: str, start: int, end: int, strand: str) -> Targets:
        columns = [t.values(names[contig], start, end) for t, names in zip(self._tracks, self._names, strict=True)]
        found = np.stack(columns, axis=1)
        found[~np.isfinite(found)] = np.nan
        return found


def _stem(path: Path) -> str:
    name = path.name
    return next((name[: -len(end)] for end in (".bw", ".bigwig") if name.lower().endswith(end)), name) or name


@dataclass(frozen=True)
class _Contig:
    """Intervals of one contig by start; ``reach`` is how far those up to each of them extend."""

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    reach: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    strands: list[str]

    @classmethod
    def of(cls, rows: list[Interval], numbers: Mapping[str, int]) -> "_Contig":
        rows.sort(key=lambda row: row.start)
        starts, ends = (np.array([row[at] for row in rows], np.int64) for at in (3, 4))
        labels = np.array([numbers[row.labels[0]] if row.labels else 0 for row in rows], np.int64)
        return cls(starts, ends, np.maximum.accumulate(ends), labels, [row.strand for row in rows])

    def mark(self, held: Targets, start: int, end: int, strand: str | None) -> None:
        """Set ``held`` (end - start, labels) to 1 for the bases of the intervals of a strand (None: of any)."""
        first, last = np.searchsorted(self.reach, start, side="right"), np.searchsorted(self.starts, end)
        for row in range(int(first), int(last)):
            if strand is None or self.strands[row] in (strand, "."):
                held[max(self.starts[row] - start, 0) : max(self.ends[row] - start, 0), self.labels[row]] = 1


class _Intervals:
    """A BED file: a base has the labels of the intervals around it."""

    def __init__(self, path: Path, *, fasta: Path, labels: tuple[str, ...], task: str | None) -> None:
        if len(labels) > 1:
            raise UsageError(f"--label: one column of {path} holds the label of an interval, not {len(labels)}")
        if task == "regression":
            raise UsageError(f"--task regression: {path} holds labels; numbers must be a bigWig file")
        bed, rows = _read(path, fasta=fasta, labels=labels)
        self.stranded = bed.has_strand and any(row.strand != "." for row in rows)
        named = [self._label(row) for row in rows] if bed.labels else []
        self._numbers = {name: number for number, name in enumerate(sorted(set(named)))}
        if len(self._numbers) > _MOST_NAMED:
            raise DataError(
                f"{path}: {len(self._numbers):,} labels in column {bed.labels[0]}, first {shortened(min(named))};"
                f" at most {_MOST_NAMED:,} are supported: choose another column with --label"
            )
        contigs: dict[str, list[Interval]] = {}
        for row in rows:
            contigs.setdefault(row.target, []).append(row)
        self._contigs = {name: _Contig.of(some, self._numbers) for name, some in contigs.items()}
        self.kind, self.names = self._task(path, list(self._numbers), task)
        strands = "on the strand that is read" if self.stranded else "on both strands"
        counts = Counter(named)
        shown = listed((f"{name} ({counts[name]:,})" for name in self._numbers), limit=6)
        what = f"intervals with labels {shown}" if named else count(len(rows), "interval")
        self.reason = f"{what}, {strands}"

    @staticmethod
    def _label(row: Interval) -> str:
        [label] = row.labels
        if label in ("", "."):
            raise DataError(f"{row.where}: no label for this interval; fill it in, or remove the row")
        return label

    def _task(self, path: Path, names: list[str], task: str | None) -> tuple[str, tuple[str, ...]]:
        if len(names) < 2:
            if task not in (None, "binary"):
                raise UsageError(f"--task {task}: {path} has one label; a base is inside or outside its intervals")
            return "binary", (OUTSIDE, names[0] if names and names[0] != OUTSIDE else INSIDE)
        if task == "binary":
            raise UsageError(f"--task binary: {path} has {len(names):,} labels: {listed(names)}")
        place = self._overlap()
        if task == "multiclass" and place is not None:
            raise UsageError(f"--task multiclass: {path} has intervals of several labels at {place}; use multilabel")
        if task == "multilabel" or place is not None:
            return "multilabel", tuple(names)
        if NONE in names:
            raise DataError(
                f"{path}: a label is named {NONE!r}, which is reserved for bases without a label; rename it"
            )
        return "multiclass", (NONE, *names)

    def _overlap(self) -> str | None:
        """A place where intervals with different labels overlap on one strand; None where there is none."""
        for contig, held in self._contigs.items():
            for strand in ("+", "-") if self.stranded else (None,):
                reach, label = -1, -1
                for row in range(len(held.starts)):
                    if strand is None or held.strands[row] in (strand, "."):
                        if held.starts[row] < reach and held.labels[row] != label:
                            return f"{contig}:{held.starts[row] + 1:,}"
                        reach, label = max(reach, int(held.ends[row])), int(held.labels[row])
        return None

    def lacks(self, contig: str) -> str | None:
        return None

    def of(self, contig: str, start: int, end: int, strand: str) -> Targets:
        held = np.zeros((end - start, max(1, len(self._numbers))), np.float32)
        if contig in self._contigs:
            self._contigs[contig].mark(held, start, end, strand if self.stranded else None)
        if self.kind == "multiclass":
            found: Targets = (held * np.arange(1, held.shape[1] + 1, dtype=np.float32)).max(1, keepdims=True)
            return found
        return held


def _read(path: Path, *, fasta: Path, labels: tuple[str, ...]) -> tuple[BedRecords, list[Interval]]:
    """The intervals, with the label column that was named, or one that looks like it."""
    bed = BedRecords(Wanted(path=path, fasta=fasta, labels=labels, need_label=False))
    if not labels and not bed.has_header and bed.width in (4, 7):
        tried = BedRecords(Wanted(path=path, fasta=fasta, labels=(str(bed.width),), need_label=False))
        rows = list(tried.intervals())
        _refuse_numbers(rows[0], column=bed.width)
        if len({row.labels[0] for row in rows}) <= _MOST_LABELS:
            return tried, rows
    return bed, list(bed.intervals())


def _refuse_numbers(row: Interval, *, column: int) -> None:
    """Refuse bedGraph, whose fourth column is a value."""
    try:
        is_number = "." in row.labels[0] and bool(np.isfinite(float(row.labels[0])))
    except ValueError:
        return
    if is_number:
        raise DataError(
            f"{row.where}: column {column} holds the number {shortened(row.labels[0])}, as in bedGraph; convert the"
            " file to bigWig (bedGraphToBigWig), or name the column of the label with --label"
        )
