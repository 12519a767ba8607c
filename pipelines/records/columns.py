"""Which column of a table holds what: names that people use, and messages about those that are missing or doubtful."""

from collections.abc import Sequence
from dataclasses import dataclass

from genoconv.errors import DataError, UsageError
from genoconv.lines import shortened
from genoconv.wording import did_you_mean, listed

SEQUENCE = ("sequence", "seq", "dna", "dna_sequence", "sequences", "text")
LABEL = ("label", "labels", "target", "targets", "class", "y", "value", "score")
SPLIT = ("split", "set", "subset", "partition", "fold")
NAME = ("id", "name", "seq_id", "sequence_id", "seqid")


@dataclass(frozen=True)
class Chosen:
    """The columns of a table by number, from 0; None where there is none.

    Attributes:
        names: header of the table.
        labels: one or several.
        found: of what was chosen by another name than the first of its kind: ``sequence in column seq``.
    """

    names: tuple[str, ...]
    sequence: int | None
    labels: tuple[int, ...]
    split: int | None
    name: int | None
    found: tuple[str, ...]


def choose_columns(
    header: Sequence[str],
    *,
    source: str,
    labels: Sequence[str],
    split: str | None,
    need_sequence: bool = True,
    need_label: bool = True,
) -> Chosen:
    """Find the columns of a table.

    Args:
        header: names of the columns.
        source: file, for messages.
        labels, split: names that the user gave; by default usual names are looked for.
        need_sequence, need_label: whether the table must have them.

    Raises:
        UsageError: a name that the user gave is not there.
        DataError: no column, or several, under the usual names.
    """
    names = tuple(name.strip() for name in header)
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{source}: line 1: two columns are named {twice!r}; rename one")
    notes: list[str] = []

    def usual(kind: str, aliases: Sequence[str], *, needed: bool, remedy: str) -> int | None:
        hits = [number for number, name in enumerate(names) if name.lower().lstrip("#") in aliases]
        exact = [number for number in hits if names[number] == aliases[0]]
        if len(hits) > 1 and len(exact) != 1:
            which = listed(names[number] for number in hits)
            raise DataError(f"{source}: line 1: columns {which} could each be the {kind}; {remedy}")
        if not hits:
            if needed and len(names) == 1:
                one = shortened(names[0])
                raise DataError(f"{source}: line 1: only one column, {one}; expected several, with tabs or commas")
            if needed:
                raise DataError(
                    f"{source}: line 1: no column for the {kind}; looked for {', '.join(aliases)} among"
                    f" {listed(names, limit=8)}; {remedy}"
                )
            return None
        place = (exact or hits)[0]
        if names[place] != aliases[0]:
            notes.append(f"{kind} in column {names[place]}")
        return place

    def named(name: str, option: str) -> int:
        if name not in names:
            raise UsageError(
                f"{option} {name}: {source} has no such column{did_you_mean(name, names)}; it has"
                f" {listed(names, limit=8)}"
            )
        return names.index(name)

    sequence = usual("sequence", SEQUENCE, needed=need_sequence, remedy="name that column sequence")
    if labels:
        chosen = tuple(named(name, "--label") for name in labels)
    else:
        one = usual("label", LABEL, needed=need_label, remedy="say which with --label NAME")
        chosen = () if one is None else (one,)
    where = named(split, "--split-column") if split else usual("split", SPLIT, needed=False, remedy="--split-column")
    return Chosen(names, sequence, chosen, where, usual("id", NAME, needed=False, remedy="rename one"), tuple(notes))
