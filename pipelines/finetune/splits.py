"""Which records are learned from, watched and reported: by a column, by contig, or by chance within each class."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from genoconv.errors import DataError, UsageError
from genoconv.lines import shortened
from genoconv.wording import did_you_mean, listed

SPLITS = ("train", "valid", "test")
_SPELLINGS = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "dev", "eval"),
    "test": ("test", "testing", "holdout", "held-out", "held_out"),
}
_NAMES = {spelling: split for split, spellings in _SPELLINGS.items() for spelling in spellings}
_FOLD = re.compile(r"(?:fold|cv|part|split|group)?[ _-]?([0-9]{1,4})(?:\.0)?")
_MOST_FOLDS = 100

Splits = npt.NDArray[np.str_]


def from_column(
    values: Sequence[str], *, where: Sequence[str], valid: Sequence[str] = (), test: Sequence[str] = ()
) -> tuple[Splits, str]:
    """The split of each record from the text of a column, and the rule in words.

    Args:
        values: ``train``, ``valid``, ``test`` and usual spellings; or folds, of which the last is for test and the one
            before it for validation unless others are named.
        where: of each record, to begin a message.
        valid, test: values of the column that are named for these; all others are then for training.

    Raises:
        UsageError: a named value is not in the column.
        DataError: a value that names no split; the line is named.
    """
    if not valid and not test and (folds := _folds(values)):
        valid, test = folds[-2:-1], folds[-1:]
    if valid or test:
        taken = _named(Counter(values), valid=valid, test=test, what="in the split column")
        found = np.array([taken.get(value, "train") for value in values])
        return found, f"the split column (valid: {listed(valid) or 'none'}; test: {listed(test) or 'none'})"
    splits = []
    for place, value in zip(where, values, strict=True):
        split = _NAMES.get(value.lower())
        if split is None:
            raise DataError(
                f"{place}: split {shortened(value)}; expected train, valid or test: --valid and --test name other"
                " values, --split-by random ignores the column"
            )
        splits.append(split)
    return np.array(splits), "the split column"


def _folds(values: Sequence[str]) -> list[str]:
    """The folds that a column numbers, in order; empty where it does not, or where there are only two."""
    each = {value: match for value in set(values) if (match := _FOLD.fullmatch(value.lower()))}
    if len(each) < max(3, len(set(values))) or len(each) > _MOST_FOLDS:
        return []
    return sorted(each, key=lambda value: int(each[value][1]))


def _named(sizes: Counter[str], *, valid: Sequence[str], test: Sequence[str], what: str) -> dict[str, str]:
    """The split of each value that is named for one.

    Raises:
        UsageError: no record has a named value, or it is in both.
    """
    for option, names in (("--valid", valid), ("--test", test)):
        for name in names:
            if name not in sizes:
                raise UsageError(f"{option} {name}: no record {what}{did_you_mean(name, sizes)}")
    both = sorted(set(valid) & set(test))
    if both:
        raise UsageError(f"{listed(both)}: named by both --valid and --test")
    return {**dict.fromkeys(valid, "valid"), **dict.fromkeys(test, "test")}


def by_contig(
    contigs: Sequence[str], *, valid: Sequence[str], test: Sequence[str], fractions: tuple[float, float], seed: int
) -> Splits:
    """Whole contigs to a split: those named, and for what is not named about these shares of the records.

    Args:
        contigs: of each record.
        valid, test: contigs that are named for these.
        fractions: shares of the records for valid and test.
        seed: decides among contigs.

    Raises:
        UsageError: a named contig has no record, or is in both; or there are too few contigs to divide.
    """
    sizes = Counter(contigs)
    taken = _named(sizes, valid=valid, test=test, what="on that contig")
    order = sorted(name for name in sizes if name not in taken)
    np.random.default_rng(seed).shuffle(order)
    order.sort(key=lambda name: sizes[name])  # stable: small ones first, so that the shares are met
    for split, named, fraction in (("test", test, fractions[1]), ("valid", valid, fractions[0])):
        room = 0 if named else round(fraction * len(contigs))
        kept = 2 if split == "test" and not valid else 1  # for training, and for validation where it comes later
        while room > 0 and len(order) > kept:
            fit = [name for name in order if sizes[name] <= room * 1.5] or order[:1]
            name = fit[-1]
            order.remove(name)
            taken[name] = split
            room -= sizes[name]
    found = np.array([taken.get(contig, "train") for contig in contigs])
    if "valid" not in found or "train" not in found:
        raise UsageError(f"{len(sizes)} contigs cannot be divided into training and validation; use --split-by random")
    return found


def stratified(
    groups: Sequence[object], *, fractions: tuple[float, float], seed: int, among: npt.NDArray[np.bool_] | None = None
) -> Splits:
    """A share of every group of records to valid and to test, by chance.

    Args:
        groups: class of each record; one value for all where there are no classes.
        fractions: shares for valid and test.
        seed: decides.
        among: records that may leave ``train``; None is all.
    """
    random = np.random.default_rng(seed)
    found = np.full(len(groups), "train", "<U5")
    members: dict[object, list[int]] = {}
    for number, group in enumerate(groups):
        if among is None or among[number]:
            members.setdefault(group, []).append(number)
    mixed = [random.permutation(numbers) for numbers in members.values()]
    sizes = np.array([len(numbers) for numbers in mixed], np.int64)
    taken = np.zeros_like(sizes)
    for split, fraction in (("valid", fractions[0]), ("test", fractions[1])):
        shares = _shares(fraction * sizes, room=sizes - 1 - taken, least=int(split == "valid" and sizes.sum() > 1))
        for numbers, first, share in zip(mixed, taken.tolist(), shares.tolist(), strict=True):
            found[numbers[first : first + share]] = split
        taken += shares
    return found


def _shares(wanted: npt.NDArray[Any], *, room: npt.NDArray[np.int64], least: int) -> npt.NDArray[np.int64]:
    """Whole numbers near ``wanted`` with their sum: the largest remainders are rounded up.

    Args:
        wanted: records of each group.
        room: how many each group can give; one without more than its last record gives none.
        least: the sum at least, where there is room.
    """
    found: npt.NDArray[np.int64] = np.minimum(np.floor(wanted + 1e-9).astype(np.int64), room.clip(0))
    rest = max(least, round(float(wanted.sum()))) - int(found.sum())
    remainders = np.where(found < room, wanted - found, -1.0)
    for group in np.argsort(-remainders, kind="stable")[: max(0, rest)]:
        found[group] += remainders[group] >= 0
    return found


def check(splits: Splits, *, source: str) -> None:
    """Refuse a division without records to learn from or to watch.

    Raises:
        DataError: no record for training, or none for validation.
    """
    for split, what in (("train", "training"), ("valid", "validation")):
        if split not in splits:
            raise DataError(f"{source}: no record for {what}; change the splits, or add records")
