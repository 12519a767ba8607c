"""How messages put counts, lists of names and suggestions into words."""

import difflib
import shlex
from collections.abc import Iterable


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 gene``, ``2,000 genes``; ``plural`` for nouns that do not take an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Iterable[str], *, limit: int = 5) -> str:
    """``a, b, c``; beyond ``limit`` names ``a, b, c and 12 more``. Names are made :func:`printable`."""
    every = list(names)
    shown = ", ".join(map(printable, every[:limit]))
    return f"{shown} and {len(every) - limit:,} more" if len(every) > limit else shown


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that is most like ``name``, if one is like it at all (0 <= cutoff <= 1)."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The end of a message about an unknown name: ``; did you mean X?``, or nothing."""
    near = nearest(name, known, cutoff=cutoff)
    return f"; did you mean {near}?" if near else ""


def shell(*words: object) -> str:
    """A command that a message recommends, quoted for a shell: ``genoconv train --resume 'my run'``."""
    return printable(shlex.join(map(str, words)))


def printable(text: str) -> str:
    """``text`` as one line that a terminal shows and does not obey.

    Names from files may hold anything. Control characters (escape sequences, line ends), invisible formatting (text
    direction) and bytes that are not UTF-8 become ``\\x1b``, ``\\u202e``, ``\\xff``.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name, as Python carries it
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
