"""Which records are learned from, watched and reported: by a column, by contig, or by chance within each class."""

from collections import Counter
from collections.abc import Sequence

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

Splits = npt.NDArray[np.str_]


def from_column(values: Sequence[str], *, where: Sequence[str]) -> Splits:
    """The split of each record from the text of a column.

    Raises:
        DataError: a value that names no split; the line is named.
    """
    found = []
    for place, value in zip(where, values, strict=True):
        split = _NAMES.get(value.lower())
        if split is None:
            raise DataError(f"{place}: split {shortened(value)}; expected train, valid or test")
        found.append(split)
    return np.array(found)


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
    for option, names in (("--valid", valid), ("--test", test)):
        for name in names:
            if name not in sizes:
                raise UsageError(f"{option} {name}: no record on that contig{did_you_mean(name, sizes)}")
    both = sorted(set(valid) & set(test))
    if both:
        raise UsageError(f"{listed(both)}: named by both --valid and --test")
    taken = {**dict.fromkeys(valid, "valid"), **dict.fromkeys(test, "test")}
    order = sorted(name for name in sizes if name not in taken)
    np.random.default_rng(seed).shuffle(order)
    order.sort(key=lambda name: sizes[name])  # stable: small ones first, so that the shares are met
    for split, named, fraction in (("test", test, fractions[1]), ("valid", valid, fractions[0])):
        room = 0 if named else round(fraction * len(contigs))
        while room > 0 and len(order) > 1:
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
    for numbers in members.values():
        mixed = random.permutation(numbers)
        first = round(fractions[0] * len(mixed))
        found[mixed[:first]] = "valid"
        found[mixed[first : first + round(fractions[1] * len(mixed))]] = "test"
    return found


def check(splits: Splits, *, source: str) -> None:
    """Refuse a division without records to learn from or to watch.

    Raises:
        DataError: no record for training, or none for validation.
    """
    for split, what in (("train", "training"), ("valid", "validation")):
        if split not in splits:
            raise DataError(f"{source}: no record for {what}; change the splits, or give more records")
