"""What a fine-tuning run learns from: records read and checked, labels understood, splits made, leaks counted."""

import hashlib
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from genoconv.errors import UsageError
from genoconv.pipelines.finetune import splits
from genoconv.pipelines.finetune.labels import Labels, understand
from genoconv.pipelines.finetune.leaks import K, Leaks, find_leaks
from genoconv.pipelines.finetune.options import FinetuneConfig
from genoconv.pipelines.records.record import Record, Source, Wanted
from genoconv.pipelines.records.sources import open_source
from genoconv.tokens import UNK, Tokens, reverse_complement
from genoconv.wording import count, listed

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
    labels: Labels
    splits: npt.NDArray[np.str_]
    split_rule: str
    leaks: Leaks

    def members(self, split: str) -> npt.NDArray[np.int64]:
        """Numbers of the records of a split."""
        return np.flatnonzero(self.splits == split)

    def groups(self) -> list[object]:
        """The class of each record, where it has one; equal for all others."""
        if self.labels.kind in ("binary", "multiclass"):
            return list(self.labels.targets[:, 0].tolist())
        return [0] * len(self.names)

    def describe(self) -> dict[str, Any]:
        """For ``data.json``: what a resumed run must find again."""
        digest = hashlib.sha256()
        for name, tokens, target, split in zip(
            self.names, self.sequences, self.labels.targets, self.splits.tolist(), strict=True
        ):
            digest.update(f"{name}\t{len(tokens)}\t{split}\t{target.tobytes().hex()}\n".encode())
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
    plain = Dataset(source.name, [r.name for r in records], sequences, labels, np.array([]), "", _NONE)
    found, rule = _split(config, source, records, plain.groups())
    splits.check(found, source=source.name)
    leaks = find_leaks(sequences, found == "train")
    if config.drop_leaks:
        found[leaks.records] = ""
        splits.check(found, source=f"{source.name}: without the records that --drop-leaks leaves out")
    data = Dataset(source.name, plain.names, sequences, labels, found, rule, leaks)
    for note in (*source.notes, *_notes(data), _leak_note(data, dropped=config.drop_leaks)):
        log.info("%s: %s", source.name, note)
    return data


_NONE = Leaks(np.empty(0, np.int64), np.empty(0, np.int64), 0)


def _split(
    config: FinetuneConfig, source: Source, records: list[Record], groups: list[object]
) -> tuple[npt.NDArray[np.str_], str]:
    fractions, seed = (config.valid_fraction, config.test_fraction), config.run.seed
    if source.has_split:
        if config.valid or config.test or config.split_by != "auto":
            raise UsageError(f"{source.name} has a split column; drop --split-by, --valid and --test")
        found = splits.from_column([r.split for r in records], where=[r.where for r in records])
        if "valid" in found:
            return found, "the split column"
        among = found == "train"
        found[among] = splits.stratified(groups, fractions=(fractions[0], 0.0), seed=seed, among=among)[among]
        return found, "the split column, and validation by chance from train"
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
        raise UsageError("--valid and --test name contigs; they go with BED and --split-by contig")
    return splits.stratified(groups, fractions=fractions, seed=seed), "chance within each class"


def _notes(data: Dataset) -> list[str]:
    labels = data.labels
    notes = [f"{labels.kind}, because {labels.reason}" if labels.reason != "as --task says" else labels.kind]
    if labels.kind in ("binary", "multiclass"):
        counts = Counter(int(number) for number in labels.targets[:, 0])
        shown = [f"{labels.names[number]} ({counts[number]:,})" for number in range(len(labels.names))]
        notes[0] += f": {listed(shown, limit=_SHOWN_CLASSES)}"
        if labels.kind == "binary":
            notes[0] += f"; positive is {listed([labels.names[1]])}"
    else:
        notes[0] += f": {listed(labels.names, limit=_SHOWN_CLASSES)}"
    parts = ", ".join(f"{split} {len(data.members(split)):,}" for split in splits.SPLITS)
    lengths = [len(sequence) for sequence in data.sequences]
    notes.append(
        f"{count(len(lengths), 'record')} of {min(lengths):,} to {max(lengths):,} bases; {parts}, by {data.split_rule}"
    )
    odd = sum(bool((sequence == UNK).any()) for sequence in data.sequences)
    if odd:
        notes.append(f"{count(odd, 'record')} with letters other than A, C, G, T and N, which are read as unknown")
    return notes


def _leak_note(data: Dataset, *, dropped: bool) -> str:
    leaks = data.leaks
    if not len(leaks.records):
        return "no training record is, or nearly is, in validation or test"
    exact = count(len(leaks.exact), "training record")
    text = f"{exact} identical to one of validation or test, and {len(leaks.near):,} that share half of its {K}-mers"
    return f"{text}: left out" if dropped else f"{text}; figures will be too good: --drop-leaks leaves them out"
