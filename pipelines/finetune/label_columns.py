"""From the text of label columns to targets: what kind of task it is, and the names of its classes."""

import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import numpy as np

from genoconv.errors import DataError, UsageError
from genoconv.lines import shortened
from genoconv.pipelines.finetune.labels import Labels, Targets
from genoconv.wording import count, listed

_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_MOST_CLASSES = 1000
_FEW_NUMBERS = 20
"""Distinct whole numbers up to which they are taken for classes."""
_SEPARATORS = ";|,"
"""Between the labels of one record; the last two are looked for with ``--task multilabel`` alone."""
_FLAGS = {"0": "0", "1": "1", "false": "0", "true": "1"}
_UNKNOWN = ("", "nan", "na", "null", "none", "n/a")
_INFINITE = ("inf", "-inf")
_NEVER = ("nan", *_INFINITE)
"""What is not the name of a class either where ``--task`` says that there are classes."""
_LARGEST = float(np.finfo(np.float32).max)


def understand(
    columns: Sequence[Sequence[str]], *, names: Sequence[str], where: Sequence[str], task: str | None
) -> Labels:
    """Targets from label columns.

    Args:
        columns: text of each label column, one value per record.
        names: of the columns.
        where: of each record, to begin a message: ``x.csv: line 7``.
        task: as :attr:`.FinetuneConfig.task`.

    Raises:
        DataError: a label is missing or does not fit the task (the line is named), or there is one class only.
        UsageError: the task cannot be that of these columns.
    """
    if len(columns) > 1:
        return _several(columns, names=names, where=where, task=task)
    [column], [name] = columns, names
    if task != "multilabel":
        _refuse_empty(column, name=name, where=where)
    kind, reason = (task, "as set with --task") if task else _infer(column, name=name, where=where)
    if kind == "regression":
        return Labels(kind, (name,), _numbers(column, name=name, where=where)[:, None], reason)
    if kind == "multilabel":
        return _listed_labels(column, where=where, reason=reason)
    return _classes(column, name=name, kind=kind, where=where, reason=reason, asked=task is not None)


def _refuse_empty(column: Sequence[str], *, name: str, where: Sequence[str]) -> None:
    empty = [number for number, value in enumerate(column) if not value]
    if empty:
        lists = any(_SEPARATORS[0] in value for value in column)
        rest = "add --task multilabel if that means none" if lists else "fill it in, or remove the record"
        more = f" ({len(empty):,} records have none)" if len(empty) > 1 else ""
        raise DataError(f"{where[empty[0]]}: no label in column {name}{more}; {rest}")


def _several(
    columns: Sequence[Sequence[str]], *, names: Sequence[str], where: Sequence[str], task: str | None
) -> Labels:
    """Several columns: a label in each, or a number in each; some of a record may be missing."""
    if task in ("binary", "multiclass"):
        raise UsageError(f"--task {task} takes one label column, not {len(columns)}; give one --label")
    columns = [["" if value.lower() in _UNKNOWN else value for value in column] for column in columns]
    bare = next((place for place, *row in zip(where, *columns, strict=True) if not any(row)), None)
    if bare is not None:
        raise DataError(f"{bare}: no label in the columns {listed(names)}; fill one in, or remove the record")
    as_flags = [[_FLAGS.get(_normal(value).lower(), value) for value in column] for column in columns]
    flags = all(value in ("0", "1", "") for column in as_flags for value in column)
    kind = task or ("multilabel" if flags else "regression")
    reason = "as set with --task" if task else f"{len(columns)} columns of {'0 and 1' if flags else 'numbers'}"
    parts = []
    for name, column in zip(names, as_flags if kind == "multilabel" else columns, strict=True):
        if kind == "multilabel":
            for place, value in zip(where, column, strict=True):
                if value not in ("0", "1", ""):
                    raise DataError(f"{place}: label {shortened(value)} in column {name}; expected 0 or 1")
        parts.append(_numbers(column, name=name, where=where))
    return Labels(kind, tuple(names), np.stack(parts, axis=1), reason)


def _infer(column: Sequence[str], *, name: str, where: Sequence[str]) -> tuple[str, str]:
    values = set(column)
    numbers = {value: _decimal(value) for value in values}
    finite = {number for number in numbers.values() if number is not None and number.is_finite()}
    if any(number != number.to_integral_value() for number in finite):
        return "regression", f"column {name} contains numbers with decimals"
    if len(finite) > _FEW_NUMBERS and None not in numbers.values():
        return "regression", f"column {name} contains {len(finite):,} different whole numbers"
    comma = next(((place, value) for place, value in zip(where, column, strict=True) if _COMMA.fullmatch(value)), None)
    if comma and all(number is not None or _COMMA.fullmatch(value) for value, number in numbers.items()):
        raise DataError(
            f"{comma[0]}: label {shortened(comma[1])} in column {name} has a decimal comma; use a decimal point, or"
            " set --task"
        )
    if any(_SEPARATORS[0] in value for value in values):
        return "multilabel", f"column {name} contains lists separated by {_SEPARATORS[0]}"
    text = next(((place, value) for place, value in zip(where, column, strict=True) if numbers[value] is None), None)
    if text is not None and len(values) > max(_FEW_NUMBERS, min(_MOST_CLASSES, len(column) // 2)):
        shown = f"{text[0]}: label {shortened(text[1])} in column {name} is not a number"
        raise DataError(
            f"{shown}, and {len(values):,} different values in {count(len(column), 'record')} are not classes"
        )
    distinct = len({_normal(value) for value in values})
    return (
        "binary" if distinct <= 2 else "multiclass"
    ), f"column {name} contains {count(distinct, 'class', 'classes')}"


def _classes(column: Sequence[str], *, name: str, kind: str, where: Sequence[str], reason: str, asked: bool) -> Labels:
    refused = _NEVER if asked else (*_UNKNOWN, *_INFINITE)
    for place, value in zip(where, column, strict=True):
        if value.lower() in refused:
            rest = "" if value.lower() in _NEVER else f", or add --task {kind} if it is one"
            raise DataError(
                f"{place}: label {shortened(value)} in column {name} is not a class; remove the record{rest}"
            )
    values = [_normal(value) for value in column]
    counts = Counter(values)
    if len(counts) < 2:
        raise DataError(
            f"{_file(where)}: column {name} contains one class only, {shortened(values[0])}; nothing can be learned"
        )
    if kind == "binary" and len(counts) > 2:
        raise UsageError(f"--task binary: column {name} contains {len(counts):,} classes: {listed(sorted(counts))}")
    if len(counts) > _MOST_CLASSES:
        raise DataError(
            f"{_file(where)}: column {name} contains {len(counts):,} classes; at most {_MOST_CLASSES:,} are supported"
        )
    names = tuple(sorted(counts, key=_order))
    number = {name: place for place, name in enumerate(names)}
    return Labels(kind, names, np.array([[number[value]] for value in values], np.float32), reason)


def _listed_labels(column: Sequence[str], *, where: Sequence[str], reason: str) -> Labels:
    """One column of names in lists; empty is none of them."""
    used = next((mark for mark in _SEPARATORS if any(mark in value for value in column)), _SEPARATORS[0])
    lists = [[part.strip() for part in value.split(used) if part.strip()] for value in column]
    names = tuple(sorted({name for names in lists for name in names}, key=_order))
    if not names or len(names) > _MOST_CLASSES:
        raise DataError(f"{_file(where)}: {count(len(names), 'label')} in all; 1 to {_MOST_CLASSES:,} are supported")
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
    """Values of a column, NaN where it is empty."""
    found = np.full(len(column), np.nan)
    for row, (place, value) in enumerate(zip(where, column, strict=True)):
        if not value:
            continue
        number = _decimal(value)
        if number is None:
            raise DataError(f"{place}: label {shortened(value)} in column {name} is not a number")
        if not number.is_finite() or abs(float(number)) > _LARGEST:
            raise DataError(f"{place}: label {shortened(value)} in column {name} is not a finite 32-bit number")
        found[row] = float(number)
    known = found[np.isfinite(found)]
    if not len(known):
        raise DataError(f"{_file(where)}: column {name} is empty; nothing can be learned")
    if known.std() <= 1e-12 * float(np.abs(known).max()):
        raise DataError(f"{_file(where)}: column {name} is {known[0]:g} in every record; nothing can be learned")
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
