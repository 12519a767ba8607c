"""Alleles: what they are and their shortest form."""

import numpy as np
import pytest

from genoconv import tokens
from genoconv.variants.alleles import Allele, Status, check_alt, check_ref, symbolic_or_star, trimmed


@pytest.mark.parametrize(
    ("start", "ref", "alt", "expected"),
    [
        (9, "A", "G", Allele(9, "A", "G")),
        (9, "a", "g", Allele(9, "A", "G")),
        (9, "TCG", "TGG", Allele(10, "C", "G")),
        (9, "TCGGT", "TGGGG", Allele(10, "CGGT", "GGGG")),
        (9, "T", "TAC", Allele(10, "", "AC")),
        (9, "TAC", "T", Allele(10, "AC", "")),
        (9, "CAA", "CA", Allele(10, "A", "")),
        (9, "ac", "aCc", Allele(10, "", "C")),
        (9, "A", "A", Allele(9, "", "")),
        (9, "GTC", "AC", Allele(9, "GT", "A")),
    ],
)
def test_shortest_form(start, ref, alt, expected):
    assert trimmed(start, ref, alt) == expected


def test_shortest_form_makes_the_same_sequence():
    rng = np.random.default_rng(0)
    for _ in range(300):
        sequence = "".join(rng.choice(list("ACGT"), 30))
        start, length = int(rng.integers(0, 25)), int(rng.integers(1, 5))
        ref = sequence[start : start + length]
        alt = "".join(rng.choice(list("ACGT"), rng.integers(1, 6)))
        allele = trimmed(start, ref, alt)
        assert sequence[allele.start : allele.end] == allele.ref
        changed = sequence[: allele.start] + allele.alt + sequence[allele.end :]
        assert changed == sequence[:start] + alt + sequence[start + length :]
        if allele.ref and allele.alt:
            assert allele.ref[0] != allele.alt[0]
            assert allele.ref[-1] != allele.alt[-1]


@pytest.mark.parametrize(
    ("alt", "status"),
    [
        ("*", Status.STAR),
        ("<DEL>", Status.SYMBOLIC),
        ("C<ctg1>", Status.SYMBOLIC),
        ("<NON_REF>", Status.SYMBOLIC),
        ("<INS:ME:LINE1>", Status.SYMBOLIC),
        ("A[chr15:12345[", Status.SYMBOLIC),
        ("]chr1:5]T", Status.SYMBOLIC),
        ("G.", Status.SYMBOLIC),
        (".G", Status.SYMBOLIC),
        ("ACG", None),
        ("n", None),
    ],
)
def test_alleles_without_a_sequence(alt, status):
    assert symbolic_or_star(alt) == status


@pytest.mark.parametrize(
    ("ref", "genome", "status"),
    [
        ("ACG", "ACG", None),
        ("acg", "ACG", None),
        ("ACG", "acg", None),
        ("ACG", "ACT", Status.REF_MISMATCH),
        ("ACG", "AC", Status.REF_MISMATCH),
        ("A", "", Status.REF_MISMATCH),
        ("R", "A", Status.NON_ACGT),
        ("R", "C", Status.REF_MISMATCH),
        ("N", "C", Status.NON_ACGT),
        ("A", "N", Status.NON_ACGT),
        ("CA", "NG", Status.REF_MISMATCH),
        (".", "A", Status.NON_ACGT),
        ("", "", Status.NON_ACGT),
    ],
)
def test_ref_against_the_genome(ref, genome, status):
    assert check_ref(ref, tokens.encode(genome)) == status


def test_alt_letters():
    assert check_alt("acgT") is None
    assert check_alt("ACN") == Status.NON_ACGT
    assert check_alt("") == Status.NON_ACGT
