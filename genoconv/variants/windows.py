"""The window of reference in which a variant is scored, and the two haplotypes it becomes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genoconv import tokens as tokenizer
from genoconv.variants.alleles import Allele

Tokens = npt.NDArray[np.uint8]
Slice = Callable[[int, int], Tokens]
"""``fetch(start, end)``: tokens of a contig, 0-based half-open, without what lies outside the contig."""


@dataclass(frozen=True, slots=True)
class Window:
    """Part of a contig, 0-based half-open; ``reverse`` where it is to be read along the minus strand.

    On a circular contig it may begin before 0 or end after the last base: it then continues at the other end.
    """

    start: int
    end: int
    reverse: bool = False

    def __len__(self) -> int:
        return self.end - self.start


class GeneBody(NamedTuple):
    """A gene and where it is; the window has the gene's direction."""

    id: str
    window: Window


@dataclass(frozen=True, slots=True)
class Haplotypes:
    """Reference and alternative sequence of equal length, as tokens, in the window's own direction.

    Attributes:
        ref, alt: tokens, shape (L,).
        ref_site, alt_site: half-open spans of the variant's own bases in each: as many as the longer of the two
            alleles has, or as the window still holds.
    """

    ref: Tokens
    alt: Tokens
    ref_site: tuple[int, int]
    alt_site: tuple[int, int]


def grid_window(position: int, *, contig_length: int, width: int, grid: int) -> Window:
    """The window of a position: centred on the nearest multiple of ``grid``, then moved inside the contig.

    A function of the locus alone, so that a score does not depend on which other variants are in the file; with
    ``grid`` 1 the position itself is the centre. A contig shorter than ``width`` is its own window.

    Args:
        position: 0-based position of the variant's first base.
        contig_length: bases in the contig.
        width: bases in a window.
        grid: distance between centres, in bases.
    """
    centre = (position + grid // 2) // grid * grid
    start = max(0, min(centre - width // 2, contig_length - width))
    return Window(start, min(start + width, contig_length))


def haplotypes(window: Window, allele: Allele, *, fetch: Slice) -> Haplotypes | None:
    """Build the two sequences to compare.

    Both begin at the window's first base and have equal length: the downstream flank of the longer allele is
    trimmed, which for a deletion means that the alternative reads further into the reference than the window.
    Where the contig ends before that is possible, the reference is trimmed instead, and where the variant itself
    touches the contig's end, the longer haplotype gives up bases at its upstream end.

    Args:
        window: where; its direction is that of the result.
        allele: what changes; must lie inside the window.
        fetch: gives the contig's tokens; what it cannot give is where the contig ends.

    Returns:
        None if the allele does not fit into the window.
    """
    gap = max(0, len(allele.ref) - len(allele.alt))
    ref_bases, alt_bases = tokenizer.encode(allele.ref), tokenizer.encode(allele.alt)
    if window.reverse:
        sequence = tokenizer.reverse_complement(fetch(window.start - gap, window.end))
        ref_bases, alt_bases = map(tokenizer.reverse_complement, (ref_bases, alt_bases))
        offset = window.end - allele.end
    else:
        sequence = fetch(window.start, window.end + gap)
        offset = allele.start - window.start
    if offset < 0 or offset + len(ref_bases) > len(window):
        return None
    downstream = sequence[offset + len(ref_bases) :]
    ref = sequence[: len(window)]
    alt = np.concatenate([sequence[:offset], alt_bases, downstream])
    length = min(len(ref), len(alt))
    ref, ref_offset = _trim(ref, length, offset, flank=len(ref) - offset - len(ref_bases))
    alt, alt_offset = _trim(alt, length, offset, flank=len(downstream))
    if min(ref_offset, alt_offset) < 0:
        return None
    bases = max(len(ref_bases), len(alt_bases))
    return Haplotypes(
        ref, alt, (ref_offset, min(ref_offset + bases, length)), (alt_offset, min(alt_offset + bases, length))
    )


def _trim(sequence: Tokens, length: int, offset: int, *, flank: int) -> tuple[Tokens, int]:
    """Shorten to ``length`` at the downstream end, or upstream for what the downstream ``flank`` lacks."""
    upstream = max(0, len(sequence) - length - flank)
    return sequence[upstream : upstream + length], offset - upstream


def unknown_fraction(tokens: Tokens) -> float:
    """Fraction of the tokens that are not A, C, G or T; 0 for none at all."""
    if not len(tokens):
        return 0.0
    # Unsigned bytes wrap around below A, so one comparison does for both ends of the range.
    return 1.0 - np.count_nonzero(tokens - np.uint8(tokenizer.A) <= tokenizer.T - tokenizer.A) / len(tokens)
