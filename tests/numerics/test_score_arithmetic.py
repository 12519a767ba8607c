"""Every kind of allele against arithmetic done by hand on strings."""

import numpy as np
import pytest
from toy_scoring import KmerModel, rc, record, scorer, write_fasta

from genoconv.tasks.comparison import Reduce
from genoconv.tasks.planning import Strand
from genoconv.variants.alleles import Status
from genoconv.variants.windows import GeneBody, Window

WIDTH = 64
RNG = np.random.default_rng(11)
CONTIG = "".join(RNG.choice(list("ACGT"), 400))
MODEL = KmerModel()


@pytest.fixture
def fasta(tmp_path):
    return write_fasta(tmp_path / "toy.fa", {"c": CONTIG, "tiny": CONTIG[:20], "n": CONTIG[:100] + "N" * 300})


def other(base: str) -> str:
    return {"A": "C", "C": "G", "G": "T", "T": "A"}[base]


def windows(start: int, ref: str, alt: str, *, centre: int, contig: str = CONTIG) -> tuple[str, str, int]:
    """Both windows of 64 and the variant's offset, for variants away from the contig's ends."""
    left = min(max(0, centre - WIDTH // 2), len(contig) - WIDTH)
    changed = contig[:start] + alt + contig[start + len(ref) :]
    return contig[left : left + WIDTH], changed[left : left + WIDTH], start - left


def by_hand(ref: str, alt: str, offset: int, bases: int, reduce: Reduce) -> tuple[float, float]:
    """Forward and reverse score from two windows as strings."""
    values = []
    for a, b, first in ((ref, alt, offset), (rc(ref), rc(alt), WIDTH - offset - bases)):
        p, q = MODEL.log_p(a), MODEL.log_p(b)
        if reduce == Reduce.SITE:
            p, q = p[first : first + bases], q[first : first + bases]
        total = sum(q) - sum(p)
        values.append(total / (len(a) - 1) if reduce == Reduce.MEAN else total)
    return values[0], values[1]


# start, trimmed REF, trimmed ALT, as written in the record, in the record's position
CASES = {
    "snv": (150, CONTIG[150], other(CONTIG[150]), 0),
    "mnv": (151, CONTIG[151:154], "".join(map(other, CONTIG[151:154])), 0),
    "insertion": (150, "", "".join(map(other, CONTIG[150:153])), 1),
    "deletion": (148, "CAT", "", 1),
    "delins": (152, CONTIG[152:154], other(CONTIG[152]) + "A" + other(CONTIG[153]), 0),
}


@pytest.mark.parametrize("reduce", list(Reduce))
@pytest.mark.parametrize("kind", list(CASES))
def test_against_strings(tmp_path, kind, reduce):
    start, ref, alt, anchor = CASES[kind]
    contig = CONTIG
    if kind == "deletion":
        # Bases around it that differ, so that the deletion has one placement.
        contig = CONTIG[:147] + "G" + ref + "GG" + CONTIG[153:]
    path = write_fasta(tmp_path / "c.fa", {"c": contig})
    before = contig[start - anchor : start]
    centre = (start + 2) // 4 * 4
    one, two, offset = windows(start, ref, alt, centre=centre, contig=contig)
    forward, reverse = by_hand(one, two, offset, max(len(ref), len(alt)), reduce)
    [[[score]]] = scorer(path, reduce=reduce, model=MODEL).score(
        [record("c", start - anchor, before + ref, before + alt)]
    )
    assert score.status == Status.OK
    assert abs(forward) > 1e-3
    np.testing.assert_allclose(score.forward, forward, atol=1e-5)
    np.testing.assert_allclose(score.reverse, reverse, atol=1e-5)
    np.testing.assert_allclose(score.llr, (forward + reverse) / 2, atol=1e-5)


@pytest.mark.parametrize("strand", [Strand.FORWARD, Strand.REVERSE])
def test_one_strand(fasta, strand):
    start, ref, alt, _ = CASES["snv"]
    [[[both]]] = scorer(fasta).score([record("c", start, ref, alt)])
    [[[one]]] = scorer(fasta, strand=strand).score([record("c", start, ref, alt)])
    assert one.llr == pytest.approx(both.forward if strand == Strand.FORWARD else both.reverse, abs=1e-6)
    assert (one.forward is None) == (strand == Strand.REVERSE)
    assert (one.reverse is None) == (strand == Strand.FORWARD)


def test_multiallelic_gives_one_score_an_alt_in_order(fasta):
    ref = CONTIG[200:202]
    alts = (other(ref[0]) + ref[1], "*", ref[0], "<DEL>", ref + "AC", ref[0] + "N")
    [found] = scorer(fasta).score([record("c", 200, ref, *alts)])
    assert [a[0].status for a in found] == ["ok", "star", "ok", "symbolic", "ok", "non_acgt"]
    for alt, [score] in zip(alts, found, strict=True):
        if score.status == Status.OK:
            [[[alone]]] = scorer(fasta).score([record("c", 200, ref, alt)])
            assert score.llr == pytest.approx(alone.llr, abs=1e-5)


def test_the_way_of_writing_does_not_matter(fasta):
    snv = record("c", 150, CONTIG[150], other(CONTIG[150]))
    padded = record("c", 149, CONTIG[149:152], CONTIG[149] + other(CONTIG[150]) + CONTIG[151])
    lower = record("c", 150, CONTIG[150].lower(), other(CONTIG[150]).lower())
    a, b, c = (s[0][0] for s in scorer(fasta).score([snv, padded, lower]))
    assert a == b == c


def test_first_and_last_base(fasta):
    last = len(CONTIG) - 1
    for start in (0, last):
        ref = CONTIG[start]
        for alt in (other(ref), ref + "GAT", "GAT" + ref):
            [[[score]]] = scorer(fasta).score([record("c", start, ref, alt)])
            assert score.status == Status.OK
            assert abs(score.llr) > 1e-3
    # The first base itself is not predicted; it still is the context of what follows.
    one, two, _ = windows(0, CONTIG[0], other(CONTIG[0]), centre=0)
    [[[score]]] = scorer(fasta, model=MODEL).score([record("c", 0, CONTIG[0], other(CONTIG[0]))])
    np.testing.assert_allclose(score.forward, sum(MODEL.log_p(two)) - sum(MODEL.log_p(one)), atol=1e-5)


@pytest.mark.parametrize("start", [2, 388])
@pytest.mark.parametrize(("bases", "alt"), [(1, None), (1, "TTTT"), (4, None), (3, "GG")])
def test_windows_clipped_at_either_end(fasta, start, bases, alt):
    """SNV, insertion, deletion and delins; beyond the contig's end there is nothing to fill up a deletion with."""
    ref = CONTIG[start : start + bases]
    alt = alt or (other(ref) if bases == 1 else ref[0])
    alt = ref[0] + alt[1:] if bases != 3 and len(alt) != bases else alt
    changed = CONTIG[:start] + alt + CONTIG[start + bases :]
    left = 0 if start < 200 else len(CONTIG) - WIDTH
    length = min(WIDTH, len(changed) - left)
    one, two = CONTIG[left : left + length], changed[left : left + length]
    [[[score]]] = scorer(fasta, model=MODEL).score([record("c", start, ref, alt)])
    forward = sum(MODEL.log_p(two)) - sum(MODEL.log_p(one))
    reverse = sum(MODEL.log_p(rc(two))) - sum(MODEL.log_p(rc(one)))
    assert min(abs(forward), abs(reverse)) > 1e-3
    np.testing.assert_allclose((score.forward, score.reverse), (forward, reverse), atol=1e-5)
    np.testing.assert_allclose(score.llr, (forward + reverse) / 2, atol=1e-5)


def test_contig_shorter_than_the_window(fasta):
    text = CONTIG[:20]
    [[[score]]] = scorer(fasta, model=MODEL).score([record("tiny", 10, text[10], other(text[10]))])
    changed = text[:10] + other(text[10]) + text[11:]
    np.testing.assert_allclose(score.forward, sum(MODEL.log_p(changed)) - sum(MODEL.log_p(text)), atol=1e-5)


def test_unknown_bases_add_nothing(fasta):
    contig = CONTIG[:100] + "N" * 300
    start = 90
    one, two, _ = windows(start, contig[start], other(contig[start]), centre=92, contig=contig)
    [[[score]]] = scorer(fasta, model=MODEL).score([record("n", start, contig[start], other(contig[start]))])
    assert score.status == Status.OK
    assert one.count("N") == 24
    np.testing.assert_allclose(score.forward, sum(MODEL.log_p(two)) - sum(MODEL.log_p(one)), atol=1e-5)
    [[[mean]]] = scorer(fasta, model=MODEL, reduce=Reduce.MEAN).score(
        [record("n", start, contig[start], other(contig[start]))]
    )
    np.testing.assert_allclose(mean.forward, score.forward / (64 - 24 - 1), atol=1e-6)


def test_reasons_for_no_score(fasta):
    def status(*arguments, **settings):
        return scorer(fasta, **settings).score([record(*arguments)])[0][0][0].status

    assert status("n", 99, CONTIG[99], other(CONTIG[99])) == Status.OK
    assert status("n", 120, "N", "A") == Status.NON_ACGT
    assert status("n", 120, "A", "C") == Status.NON_ACGT
    assert status("n", 99, CONTIG[99], other(CONTIG[99]), widths=(16,), grid=(1,), max_indel=4) == Status.OK
    assert status("n", 99, CONTIG[99], other(CONTIG[99]), widths=(300,), grid=(1,)) == Status.N_RICH
    assert status("c", 10, other(CONTIG[10]), CONTIG[10]) == Status.REF_MISMATCH
    assert status("c", 5000, "A", "C") == Status.REF_MISMATCH
    assert status("absent", 10, "A", "C") == Status.NO_CONTIG
    assert status("absent", 10, "A", "<DEL>") == Status.SYMBOLIC
    assert status("c", 10, CONTIG[10], CONTIG[10] + "ACGT" * 5) == Status.TOO_LONG
    assert scorer(fasta).score([record("c", 10, CONTIG[10])]) == [[]]


@pytest.mark.parametrize(("bases", "status"), [(16, Status.OK), (17, Status.TOO_LONG)])
def test_the_longest_allele_is_still_scored(fasta, bases, status):
    inserted = record("c", 150, CONTIG[150], CONTIG[150] + other(CONTIG[151]) * bases)
    deleted = record("c", 150, CONTIG[150 : 151 + bases], CONTIG[150])
    found = scorer(fasta, max_indel=16).score([inserted, deleted])
    assert [score.status for [[score]] in found] == [status, status]


@pytest.mark.parametrize("alt", ["T", "TT"])
@pytest.mark.parametrize(("unknown", "status"), [(32, Status.OK), (33, Status.N_RICH)])
def test_a_window_of_which_half_is_unknown_is_scored(tmp_path, alt, unknown, status):
    path = write_fasta(tmp_path / "n.fa", {"c": "C" * (64 - unknown) + "N" * unknown})
    [[[score]]] = scorer(path).score([record("c", 5, "C", alt)])
    assert score.status == status


def test_an_allele_equal_to_the_reference_scores_zero(fasta):
    [[[score]]] = scorer(fasta).score([record("c", 10, CONTIG[10], CONTIG[10].lower())])
    assert (score.status, score.llr) == (Status.OK, 0.0)


@pytest.mark.parametrize("reverse", [False, True])
def test_gene_body_in_the_direction_of_the_gene(fasta, reverse):
    gene = Window(120, 190, reverse)
    settings = {
        "widths": (0,),
        "grid": (1,),
        "gene": lambda contig, allele: GeneBody("g", gene),
        "strand": Strand.FORWARD,
    }
    start = 140
    [[[score]]] = scorer(fasta, model=MODEL, **settings).score(
        [record("c", start, CONTIG[start], other(CONTIG[start]))]
    )
    one = CONTIG[120:190]
    two = CONTIG[120:start] + other(CONTIG[start]) + CONTIG[start + 1 : 190]
    if reverse:
        one, two = rc(one), rc(two)
    np.testing.assert_allclose(score.llr, sum(MODEL.log_p(two)) - sum(MODEL.log_p(one)), atol=1e-5)
    none = {**settings, "gene": lambda contig, allele: None}
    assert scorer(fasta, **none).score([record("c", 1, CONTIG[1], "N")])[0][0][0].status == Status.NON_ACGT
    [[[outside]]] = scorer(fasta, **none).score([record("c", start, CONTIG[start], other(CONTIG[start]))])
    assert outside.status == Status.NO_GENE
    assert (score.gene, outside.gene) == ("g", None)
    [[[long]]] = scorer(fasta, **settings, max_length=60).score(
        [record("c", start, CONTIG[start], other(CONTIG[start]))]
    )
    assert (long.status, long.gene) == (Status.TOO_LONG, "g")


def test_several_windows_give_one_score_each(fasta):
    one = record("c", 150, CONTIG[150], other(CONTIG[150]))
    [[both]] = scorer(fasta, widths=(64, 128), grid=(4, 8)).score([one])
    for index, width in enumerate((64, 128)):
        [[[alone]]] = scorer(fasta, widths=(width,), grid=(width // 16,)).score([one])
        assert both[index].llr == pytest.approx(alone.llr, abs=1e-6)


def test_nothing_is_computed_twice(fasta):
    model = KmerModel()
    site = record("c", 150, CONTIG[150], *[base for base in "ACGT" if base != CONTIG[150]])
    near = record("c", 151, CONTIG[151], other(CONTIG[151]))
    scorer(fasta, model=model).score([site, near, near, site])
    # One reference and four alternatives, on two strands.
    assert model.rows == 10
    assert model.prepared == [(64,)]
