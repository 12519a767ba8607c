"""From the text of label columns to targets: what kind of task it is, and the names of its classes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genoconv.errors import DataError, UsageError
from genoconv.lines import shortened
from genoconv.tokens import Tokens
from genoconv.wording import count, listed

if TYPE_CHECKING:
    from genoconv.train.readers import Reader

TASKS = ("binary", "multiclass", "multilabel", "regression")
_MOST_CLASSES = 1000
_FEW_NUMBERS = 20
"""Distinct whole numbers up to which they are taken for classes."""
_SEPARATOR = ";"
_LARGEST = float(np.finfo(np.float32).max)

Targets = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Labels:
    """Targets of all records.

    Attributes:
        kind: one of :data:`TASKS`.
        names: as :attr:`.HeadConfig.labels`.
        targets: (records, C) float32, as :class:`.Labelled` takes them.
        reason: why this kind, in words.
    """

    kind: Any
    names: tuple[str, ...]
    targets: Targets
    reason: str

    def known(self, members: npt.NDArray[np.int64]) -> Targets:
        """Targets (M, C) of some records."""
        return self.targets[members]

    def check_training(self, members: npt.NDArray[np.int64], *, source: str) -> str | None:
        """What the training records lack that others have, in words; None where nothing.

        Raises:
            DataError: they are all alike, so that nothing can be learned.
        """
        known = self.known(members)
        if self.kind == "regression" or self.kind == "multilabel":
            same = [name for name, column in zip(self.names, known.T, strict=True) if (column == column[0]).all()]
            if len(same) == len(self.names) or (same and self.kind == "regression"):
                raise DataError(
                    f"{source}: {listed(same)} is the same in every training record; nothing can be learned"
                )
            return f"{listed(same)} is the same in every training record" if same else None
        there = set(known[:, 0].astype(int).tolist())
        if len(there) < 2:
            [only] = there
            raise DataError(
                f"{source}: every training record is of class {shortened(self.names[only])}; nothing can be learned:"
                " change the splits"
            )
        lacking = [name for number, name in enumerate(self.names) if number not in there]
        return f"no training record of {listed(lacking)}, which cannot be learned" if lacking else None

    def groups(self) -> list[object]:
        """The class of each record, where it has one; equal for all others."""
        return list(self.targets[:, 0].tolist()) if self.kind in ("binary", "multiclass") else [0] * len(self.targets)

    def reader(self, sequences: Sequence[Tokens], members: npt.NDArray[np.int64], features: Targets | None) -> "Reader":
        """What training reads of some records; with their pooled vectors, where those stay as they are."""
        from genoconv.train.records import RecordReader

        return RecordReader(
            [sequences[number] for number in members],
            self.targets[members],
            features=None if features is None else features[members],
        )

    def describe(self) -> dict[str, Any]:
        """For ``data.json``, beside what is the same for all labels."""
        return {}


def understand(
    columns: Sequence[Sequence[str]], *, names: Sequence[str], where: Sequence[str], task: str | None
) -> Labels:
    """Targets from label columns.

    Args:
        columns: text of each label column, one value per record.
        names: of the columns.
        where: of each record, to begin a message: ``x.csv: line 7``.
        task: one of :data:`TASKS`, or None to infer it.

    Raises:
        DataError: a label is missing or does not fit the task (the line is named), or there is one class only.
        UsageError: the task cannot be that of these columns.
    """
    for name, column in zip(names, columns, strict=True):
        for place, value in zip(where, column, strict=True):
            if not value and task != "multilabel":
                lists = any(_SEPARATOR in other for other in column)
                rest = "add --task multilabel if that means none" if lists else "fill it in, or remove the record"
                raise DataError(f"{place}: no label in column {name}; {rest}")
    if len(columns) > 1:
        return _several(columns, names=names, where=where, task=task)
    [column], [name] = columns, names
    kind, reason = (task, "as --task says") if task else _infer(column, name=name, where=where)
    if kind == "regression":
        return Labels(kind, (name,), _numbers(column, name=name, where=where)[:, None], reason)
    if kind == "multilabel":
        return _listed_labels(column, where=where, reason=reason)
    return _classes(column, name=name, kind=kind, where=where, reason=reason)


def _several(
    columns: Sequence[Sequence[str]], *, names: Sequence[str], where: Sequence[str], task: str | None
) -> Labels:
    """Several columns: a label in each, or a number in each."""
    if task in ("binary", "multiclass"):
        raise UsageError(f"--task {task} takes one label column, not {len(columns)}; give one --label")
    flags = all(value in ("0", "1") for column in columns for value in column)
    kind = task or ("multilabel" if flags else "regression")
    reason = "as --task says" if task else f"{len(columns)} columns of {'0 and 1' if flags else 'numbers'}"
    parts = []
    for name, column in zip(names, columns, strict=True):
        if kind == "multilabel":
            for place, value in zip(where, column, strict=True):
                if value not in ("0", "1"):
                    raise DataError(f"{place}: label {shortened(value)} in column {name}; expected 0 or 1")
        parts.append(_numbers(column, name=name, where=where))
    targets = np.stack(parts, axis=1)
    if kind == "multilabel":
        for name, part in zip(names, parts, strict=True):
            if len(set(part.tolist())) < 2:
                raise DataError(
                    f"{_file(where)}: column {name} is {part[0]:.0f} in every record; nothing can be learned"
                )
    return Labels(kind, tuple(names), targets, reason)


def _infer(column: Sequence[str], *, name: str, where: Sequence[str]) -> tuple[str, str]:
    values = set(column)
    numbers = {value: _decimal(value) for value in values}
    finite = {number for number in numbers.values() if number is not None and number.is_finite()}
    if any(number != number.to_integral_value() for number in finite):
        return "regression", f"column {name} holds numbers with decimals"
    if len(finite) > _FEW_NUMBERS and None not in numbers.values():
        return "regression", f"column {name} holds {len(finite):,} different whole numbers"
    if any(_SEPARATOR in value for value in values):
        return "multilabel", f"column {name} holds lists separated by {_SEPARATOR}"
    text = next(((place, value) for place, value in zip(where, column, strict=True) if numbers[value] is None), None)
    if text is not None and len(values) > max(_FEW_NUMBERS, min(_MOST_CLASSES, len(column) // 2)):
        shown = f"{text[0]}: label {shortened(text[1])} in column {name} is not a number"
        raise DataError(
            f"{shown}, and {len(values):,} different values in {count(len(column), 'record')} are not classes"
        )
    distinct = len({_normal(value) for value in values})
    return ("binary" if distinct <= 2 else "multiclass"), f"column {name} holds {count(distinct, 'class', 'classes')}"


def _classes(column: Sequence[str], *, name: str, kind: str, where: Sequence[str], reason: str) -> Labels:
    for place, value in zip(where, column, strict=True):
        if value.lower() in ("nan", "na", "null", "none", "n/a", "inf", "-inf"):
            raise DataError(f"{place}: label {shortened(value)} in column {name} is not a class; remove the record")
    values = [_normal(value) for value in column]
    counts = Counter(values)
    if len(counts) < 2:
        raise DataError(
            f"{_file(where)}: column {name} holds one class only, {shortened(values[0])}; nothing can be learned"
        )
    if kind == "binary" and len(counts) > 2:
        raise UsageError(f"--task binary: column {name} holds {len(counts):,} classes: {listed(sorted(counts))}")
    if len(counts) > _MOST_CLASSES:
        raise DataError(f"{_file(where)}: column {name} holds {len(counts):,} classes; {_MOST_CLASSES:,} are the most")
    names = tuple(sorted(counts, key=_order))
    number = {name: place for place, name in enumerate(names)}
    return Labels(kind, names, np.array([[number[value]] for value in values], np.float32), reason)


def _listed_labels(column: Sequence[str], *, where: Sequence[str], reason: str) -> Labels:
    """One column of names separated by semicolons; empty is none of them."""
    lists = [[part.strip() for part in value.split(_SEPARATOR) if part.strip()] for value in column]
    names = tuple(sorted({name for names in lists for name in names}, key=_order))
    if not names or len(names) > _MOST_CLASSES:
        raise DataError(f"{_file(where)}: {count(len(names), 'label')} in all; 1 to {_MOST_CLASSES:,} can be learned")
    number = {name: place for place, name in enumerate(names)}
    targets = np.zeros((len(lists), len(names)), np.float32)
    for row, found in zip(targets, lists, strict=True):
        row[[number[name] for name in found]] = 1
    constant = np.flatnonzero((targets == targets[:1]).all(0))
    if len(constant):
        every = "in every record" if targets[0, constant[0]] else "in no record"
        raise DataError(f"{_file(where)}: label {shortened(names[constant[0]])} is {every}; nothing can be learned")
    return Labels("multilabel", names, targets, reason)


def _numbers(column: Sequence[str], *, name: str, where: Sequence[str]) -> Targets:
    found = np.empty(len(column), np.float64)
    for row, (place, value) in enumerate(zip(where, column, strict=True)):
        number = _decimal(value)
        if number is None:
            raise DataError(f"{place}: label {shortened(value)} in column {name} is not a number")
        if not number.is_finite() or abs(float(number)) > _LARGEST:
            raise DataError(f"{place}: label {shortened(value)} in column {name} is not a finite number of 32 bits")
        found[row] = float(number)
    if found.std() <= 1e-12 * max(1.0, float(np.abs(found).max())):
        raise DataError(f"{_file(where)}: column {name} is {found[0]:g} in every record; nothing can be learned")
    return found.astype(np.float32)


def _decimal(value: str) -> Decimal | None:
    """A number of any length, written as tables do; None for other text."""
    try:
        return Decimal(value) if value.isascii() and "_" not in value and not value.lower().startswith("snan") else None
    except InvalidOperation:
        return None


def _normal(value: str) -> str:
    """One spelling of a class: ``1`` for 1, 1.0 and 01."""
    number = _decimal(value)
    if number is None or not number.is_finite() or number != number.to_integral_value() or abs(number) >= 10**100:
        return value
    return str(int(number))


def _order(name: str) -> tuple[int, Decimal, str]:
    number = _decimal(name)
    return (0, number, name) if number is not None and number.is_finite() else (1, Decimal(0), name)


def _file(where: Sequence[str]) -> str:
    return where[0].rpartition(": ")[0]
