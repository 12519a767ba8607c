"""Windows and haplotypes against plain string arithmetic."""

import numpy as np
import pytest

from genoconv import tokens
from genoconv.variants.alleles import Allele, trimmed
from genoconv.variants.windows import Window, grid_window, haplotypes, unknown_fraction

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def rc(text: str) -> str:
    return text.translate(COMPLEMENT)[::-1]


def fetch_from(contig: str):
    return lambda start, end: tokens.encode(contig[max(start, 0) : end])


@pytest.mark.parametrize("grid", [1, 4, 16, 60])
def test_nearest_centre_inside_the_contig(grid):
    width, length = 64, 1000
    for position in range(length):
        window = grid_window(position, contig_length=length, width=width, grid=grid)
        assert len(window) == width
        assert 0 <= window.start <= position < window.end <= length
        centre = window.start + width // 2
        if 0 < window.start < length - width:
            assert centre % grid == 0
            assert abs(centre - position) <= grid / 2
    assert grid_window(500, contig_length=1000, width=64, grid=1) == Window(468, 532)


def test_neighbours_share_a_window():
    windows = {grid_window(p, contig_length=10_000, width=1024, grid=64) for p in range(4000, 4640)}
    assert len(windows) == 10


def test_short_contig_is_its_own_window():
    assert grid_window(3, contig_length=10, width=64, grid=4) == Window(0, 10)


def naive(contig: str, start: int, end: int, position: int, ref: str, alt: str) -> tuple[str, str]:
    """Both haplotypes from the window's first base on, cut to the length that both reach."""
    changed = contig[:position] + alt + contig[position + len(ref) :]
    length = min(end - start, len(changed) - start)
    return contig[start : start + length], changed[start : start + length]


@pytest.mark.parametrize(("ref", "alt"), [("A", "G"), ("A", "ATTT"), ("ACGT", "A"), ("ACGT", "TGCA"), ("AC", "GTTTT")])
@pytest.mark.parametrize("position", [0, 1, 30, 50, 70, 90, 96])
def test_against_strings(ref, alt, position):
    rng = np.random.default_rng(position)
    letters = rng.choice(list("ACGT"), 100)
    letters[position : position + len(ref)] = list(ref)
    contig = "".join(letters)
    allele = trimmed(position, ref, alt)
    window = grid_window(allele.start, contig_length=100, width=40, grid=8)
    pair = haplotypes(window, allele, fetch=fetch_from(contig))
    assert pair is not None
    got = tokens.decode(pair.ref), tokens.decode(pair.alt)
    assert len(got[0]) == len(got[1])
    if position < 90:
        assert got == naive(contig, window.start, window.end, position, ref, alt)
    (ref_start, ref_end), (alt_start, alt_end) = pair.ref_site, pair.alt_site
    assert got[0][ref_start:ref_end].startswith(allele.ref)
    assert got[1][alt_start:alt_end].startswith(allele.alt)


def test_insertion_after_the_last_base_stays_visible():
    contig = "ACGTACGTAC"
    pair = haplotypes(Window(0, 10), trimmed(9, "C", "CGG"), fetch=fetch_from(contig))
    assert pair is not None
    assert tokens.decode(pair.ref) == contig
    assert tokens.decode(pair.alt) == "GTACGTACGG"
    assert pair.alt_site == (8, 10)


def test_deletion_reads_further_or_trims_the_reference():
    contig = "ACGTACGTACGGTTCA"
    pair = haplotypes(Window(2, 12), trimmed(5, "CGT", "C"), fetch=fetch_from(contig))
    assert pair is not None
    assert tokens.decode(pair.alt) == "GTACACGGTT"
    pair = haplotypes(Window(6, 16), trimmed(8, "ACG", "A"), fetch=fetch_from(contig))
    assert pair is not None
    assert tokens.decode(pair.ref) == "GTACGGTT"
    assert tokens.decode(pair.alt) == "GTAGTTCA"


@pytest.mark.parametrize(("ref", "alt"), [("A", "G"), ("A", "ATTT"), ("ACGT", "A"), ("ACGT", "TG")])
def test_minus_strand_is_the_mirror_image(ref, alt):
    rng = np.random.default_rng(7)
    letters = rng.choice(list("ACGT"), 100)
    letters[50 : 50 + len(ref)] = list(ref)
    contig = "".join(letters)
    allele = trimmed(50, ref, alt)
    pair = haplotypes(Window(30, 70, reverse=True), allele, fetch=fetch_from(contig))
    mirrored = trimmed(100 - allele.end, rc(allele.ref), rc(allele.alt))
    other = haplotypes(Window(30, 70), mirrored, fetch=fetch_from(rc(contig)))
    assert pair is not None
    assert other is not None
    np.testing.assert_array_equal(pair.ref, other.ref)
    np.testing.assert_array_equal(pair.alt, other.alt)
    assert (pair.ref_site, pair.alt_site) == (other.ref_site, other.alt_site)


def test_allele_outside_the_window():
    contig = "ACGT" * 10
    assert haplotypes(Window(0, 10), trimmed(8, "ACGT", "A"), fetch=fetch_from(contig)) is None
    assert haplotypes(Window(0, 10), trimmed(20, "A", "C"), fetch=fetch_from(contig)) is None


def test_unknown_fraction():
    assert unknown_fraction(tokens.encode("ACGN")) == 0.25
    assert unknown_fraction(tokens.encode("")) == 0.0


@pytest.mark.parametrize(("inserted", "fits"), [(4, True), (5, False)])
def test_an_insertion_at_the_end_of_a_contig_that_fills_its_window(inserted: int, fits: bool) -> None:
    pair = haplotypes(Window(6, 10), Allele(10, "", "ACGTA"[:inserted]), fetch=fetch_from("ACGTACGTAC"))
    assert (pair is not None) == fits
