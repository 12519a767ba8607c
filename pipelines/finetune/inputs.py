"""What a fine-tuning run learns from: records read and checked, labels understood, splits made, leaks counted."""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from genoconv.errors import UsageError
from genoconv.pipelines.finetune import splits
from genoconv.pipelines.finetune.label_columns import understand
from genoconv.pipelines.finetune.labels import Labels
from genoconv.pipelines.finetune.leaks import K, Leaks, find_leaks
from genoconv.pipelines.finetune.options import FinetuneConfig
from genoconv.pipelines.records.record import Wanted
from genoconv.pipelines.records.sources import open_source
from genoconv.tokens import UNK, Tokens, reverse_complement
from genoconv.wording import count, listed

if TYPE_CHECKING:
    from genoconv.pipelines.finetune.bases import BaseLabels

log = logging.getLogger(__name__)

_SHOWN_CLASSES = 6


@dataclass(frozen=True)
class Dataset:
    """Labelled records in memory.

    Attributes:
        name: the file.
        names: of the records.
        sequences: tokens of each, in the direction of its strand.
        labels: targets of each.
        splits: of each, ``train``, ``valid`` or ``test``; "" for what is left out as a leak.
        split_rule: how the splits were made, in words.
        leaks: training records that are like held-out ones.
    """

    name: str
    names: list[str]
    sequences: list[Tokens]
    labels: "Labels | BaseLabels"
    splits: npt.NDArray[np.str_]
    split_rule: str
    leaks: Leaks

    def members(self, split: str) -> npt.NDArray[np.int64]:
        """Numbers of the records of a split."""
        return np.flatnonzero(self.splits == split)

    def describe(self) -> dict[str, Any]:
        """For ``data.json``: what a resumed run must find again."""
        digest = hashlib.sha256()
        for name, tokens, target, split in zip(
            self.names, self.sequences, self.labels.targets, self.splits.tolist(), strict=True
        ):
            digest.update(f"{name}\t{len(tokens)}\t{split}\n".encode())
            digest.update(target.tobytes())
            digest.update(tokens.tobytes())
        bases = {split: sum(len(self.sequences[n]) for n in self.members(split)) for split in splits.SPLITS}
        return {
            "table": self.name,
            "task": self.labels.kind,
            "labels": list(self.labels.names),
            "split_by": self.split_rule,
            "split": {s: {"records": len(self.members(s)), "bases": bases[s]} for s in splits.SPLITS},
            "leaks": {
                "exact": len(self.leaks.exact),
                "near": len(self.leaks.near),
                "held_out": self.leaks.held_out,
                "left_out": int((self.splits == "").sum()),
            },
            "records_sha256": digest.hexdigest(),
            **self.labels.describe(),
        }


def gather(config: FinetuneConfig) -> Dataset:
    """Read all records and decide what they are for; says what was understood.

    Raises:
        UsageError: options that do not fit the file.
        DataError: an invalid record, label or split; names file and line.
    """
    assert config.table is not None
    source = open_source(
        Wanted(
            path=config.table,
            fasta=config.fasta,
            label_file=config.label_file,
            labels=config.label,
            split=config.split_column,
        )
    )
    records = list(source.records())
    where = [record.where for record in records]
    columns = list(zip(*(record.labels for record in records), strict=True))
    labels = understand(columns, names=source.labels, where=where, task=config.task)
    sequences = [reverse_complement(r.tokens) if r.strand == "-" else r.tokens for r in records]
    found, rule = split_records(config, source, records, labels.groups())
    names = [record.name for record in records]
    data = checked(config, Dataset(source.name, names, sequences, labels, found, rule, _NONE))
    lack = labels.check_training(data.members("train"), source=source.name)
    log_notes(config, data, [*source.notes, *_notes(data, labels)])
    if lack:
        log.warning("%s: %s", source.name, lack)
    return data


def checked(config: FinetuneConfig, data: Dataset) -> Dataset:
    """A data set with its leaks, which are perhaps left out.

    Raises:
        DataError: no record for training or validation.
    """
    found = data.splits.copy()
    splits.check(found, source=data.name)
    leaks = find_leaks(data.sequences, found == "train")
    if config.drop_leaks:
        found[leaks.records] = ""
        splits.check(found, source=f"{data.name}: without the records that --drop-leaks leaves out")
    return replace(data, splits=found, leaks=leaks)


def log_notes(config: FinetuneConfig, data: Dataset, understood: Sequence[str]) -> None:
    """Log what was understood, sizes and leaks."""
    for note in (*understood, *_sizes(data), _leak_note(data, dropped=config.drop_leaks)):
        log.info("%s: %s", data.name, note)


_NONE = Leaks(np.empty(0, np.int64), np.empty(0, np.int64), 0)


class _Source(Protocol):
    """See :class:`.records.record.Source`."""

    @property
    def name(self) -> str: ...

    @property
    def has_split(self) -> bool: ...

    @property
    def placed(self) -> bool: ...


class _Placed(Protocol):
    """See :class:`.records.record.Record`."""

    @property
    def where(self) -> str: ...

    @property
    def contig(self) -> str: ...

    @property
    def split(self) -> str: ...


def split_records(
    config: FinetuneConfig, source: _Source, records: Sequence[_Placed], groups: list[object]
) -> tuple[npt.NDArray[np.str_], str]:
    """The split of each record, and the rule in words.

    Args:
        config: what was asked for.
        source: of the records.
        records: with their places.
        groups: class of each record, or equal for all.

    Raises:
        UsageError: options that do not fit the source.
        DataError: an unknown set in the split column.
    """
    fractions, seed = (config.valid_fraction, config.test_fraction), config.run.seed
    if source.has_split and (config.split_by == "auto" or config.split_column):
        if config.split_by != "auto":
            raise UsageError(f"--split-by {config.split_by} ignores a split column; drop --split-by or --split-column")
        values, where = [r.split for r in records], [r.where for r in records]
        found, rule = splits.from_column(values, where=where, valid=config.valid, test=config.test)
        if "valid" in found:
            return found, rule
        among = found == "train"
        found[among] = splits.stratified(groups, fractions=(fractions[0], 0.0), seed=seed, among=among)[among]
        return found, f"{rule}, and validation at random from train"
    by = config.split_by
    if by == "auto":
        by = "contig" if source.placed and len({r.contig for r in records}) > 2 else "random"
    if by == "contig":
        contigs = [record.contig for record in records]
        found = splits.by_contig(contigs, valid=config.valid, test=config.test, fractions=fractions, seed=seed)
        held = {
            split: sorted({c for c, s in zip(contigs, found, strict=True) if s == split}) for split in splits.SPLITS
        }
        return found, f"contig (valid: {listed(held['valid'])}; test: {listed(held['test']) or 'none'})"
    if config.valid or config.test:
        raise UsageError("--valid and --test name contigs of a BED file or values of a split column; there is neither")
    return splits.stratified(groups, fractions=fractions, seed=seed), "random sampling within each class"


def _notes(data: Dataset, labels: Labels) -> list[str]:
    notes = [f"{labels.kind}, because {labels.reason}" if labels.reason != "as set with --task" else labels.kind]
    if labels.kind in ("binary", "multiclass"):
        counts = Counter(int(number) for number in labels.targets[:, 0])
        shown = [f"{labels.names[number]} ({counts[number]:,})" for number in range(len(labels.names))]
        notes[0] += f": {listed(shown, limit=_SHOWN_CLASSES)}"
        if labels.kind == "binary":
            notes[0] += f"; positive is {listed([labels.names[1]])}"
    else:
        shown = list(labels.names)
        if labels.kind == "regression":
            ends = [some(labels.targets, axis=0).tolist() for some in (np.nanmin, np.nanmax)]
            shown = [f"{name} ({low:g} to {high:g})" for name, low, high in zip(labels.names, *ends, strict=True)]
        notes[0] += f": {listed(shown, limit=_SHOWN_CLASSES)}"
    missing = int(np.isnan(labels.targets).sum())
    if missing:
        notes.append(f"{count(missing, 'label')} missing among {labels.targets.size:,}; these are ignored in training")
    differing = _contradictions(data, labels)
    if differing:
        notes.append(f"{count(differing, 'record')} whose sequence also occurs with another label")
    return notes


def _contradictions(data: Dataset, labels: Labels) -> int:
    """Records whose sequence has different labels elsewhere."""
    keys = [sequence.tobytes() for sequence in data.sequences]
    known: dict[bytes, set[bytes]] = {}
    for key, target in zip(keys, labels.targets, strict=True):
        known.setdefault(key, set()).add(target.tobytes())
    return sum(len(known[key]) > 1 for key in keys)


def _sizes(data: Dataset) -> list[str]:
    parts = ", ".join(f"{split} {len(data.members(split)):,}" for split in splits.SPLITS)
    lengths = [len(sequence) for sequence in data.sequences]
    shortest, longest = min(lengths), max(lengths)
    bases = f"{longest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
    notes = [f"{count(len(lengths), 'record')} of {bases} bases; {parts}, by {data.split_rule}"]
    odd = sum(bool((sequence == UNK).any()) for sequence in data.sequences)
    if odd:
        notes.append(f"{count(odd, 'record')} with letters other than A, C, G, T and N, which are read as unknown")
    return notes


def _leak_note(data: Dataset, *, dropped: bool) -> str:
    leaks = data.leaks
    if not len(leaks.records):
        return "no training record is identical or nearly identical to a validation or test record"
    exact = count(len(leaks.exact), "training record")
    text = f"{exact} identical to a validation or test record, and {len(leaks.near):,} that share half of its {K}-mers"
    return f"{text}: removed" if dropped else f"{text}; metrics will be too good; --drop-leaks removes them"
