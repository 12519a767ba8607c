"""A region as users write it: ``chr1``, ``chr1:100``, ``chr1:100-``, ``chr1:1,000-2,000``, ``{HLA:01}:1-9``."""

import re
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from genoconv.contigs import ContigFinder
from genoconv.errors import UsageError
from genoconv.wording import listed, printable

_SPAN = re.compile(r"([0-9,]{1,24})(?:(-)([0-9,]{0,24}))?", re.ASCII)
_BRACED = re.compile(r"\{(.+)\}(?::(.*))?")
_SHOWN = 80


class Region(NamedTuple):
    """Part of a contig, 0-based half-open; ``end`` is None where the region reaches to the contig's end."""

    contig: str
    start: int
    end: int | None


class Contigs(Protocol):
    """The contigs of a file."""

    @property
    def names(self) -> Mapping[str, int]:
        """Those that messages list."""

    def has(self, name: str) -> bool:
        """Whether there is a contig of exactly this name."""

    def find(self, name: str) -> str | None:
        """What the file calls a contig of any name; None where there is no such contig."""


class NamedContigs:
    """The contigs of a FASTA: name -> length in bases, and further names of them."""

    def __init__(self, names: Mapping[str, int], aliases: Mapping[str, str]) -> None:
        self.names = names
        self._finder = ContigFinder(names, aliases=aliases)

    def has(self, name: str) -> bool:
        """Whether there is a contig of exactly this name."""
        return name in self.names

    def find(self, name: str) -> str | None:
        """What the FASTA calls a contig of any name; None where there is no such contig."""
        return self._finder.find(name)


def parse_region(text: str, *, contigs: Contigs, source: str) -> Region:
    """Read a region; positions are 1-based, the last one is included, commas may stand in numbers.

    A name with colons in it (HLA alleles) is recognised by being one of ``contigs``; ``{name}:from-to`` leaves no
    doubt where the name ends, as in bcftools.

    Args:
        text: the region, blanks around it are left out.
        contigs: where it lies.
        source: whose contigs they are, for messages: ``the VCF``.

    Raises:
        UsageError: no such contig, or not a region.
    """
    text = text.strip()
    if (":" in text or text in contigs.names) and contigs.has(text):
        return Region(text, 0, None)
    where = f"--region {printable(text[:_SHOWN])}"
    braced = _BRACED.fullmatch(text)
    name, span = (braced[1], braced[2] or "") if braced else text.rpartition(":")[::2]
    match = _SPAN.fullmatch(span)
    whole = braced is not None and not span
    contig = contigs.find(name if whole or (name and match) else text)
    if contig is None:
        if name and not whole and match is None and contigs.find(name):
            raise UsageError(f"{where}: '{printable(span[:_SHOWN])}' is not FROM-TO or a position, counted from 1")
        raise UsageError(f"{where}: {source} has no such contig; it has {listed(contigs.names) or 'none'}")
    if not name or match is None:
        return Region(contig, 0, None)
    first, last = (int((part or "").replace(",", "") or 0) for part in (match[1], match[3]))
    end = last if match[3] else None if match[2] else first
    if first < 1 or (end is not None and end < first):
        raise UsageError(f"{where}: positions are counted from 1, and the first must not exceed the last")
    return Region(contig, first - 1, end)
