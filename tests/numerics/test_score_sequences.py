"""``genoconv.score`` on strings and tokens: the number of ``score-variants``, without its files."""

import numpy as np
import pytest
import torch
from toy_scoring import KmerModel, rc, record, scorer, write_fasta

import genoconv
from genoconv import tokens
from genoconv.errors import ModelError, UsageError
from genoconv.models import HyenaDNA, ModelConfig

RNG = np.random.default_rng(2)
CONTIG = "".join(RNG.choice(list("ACGT"), 400))
REF = CONTIG[118:182]
ALT = REF[:32] + ("A" if REF[32] != "A" else "C") + REF[33:]
MODEL = KmerModel()


@pytest.mark.parametrize("reduce", ["sum", "mean", "site"])
@pytest.mark.parametrize("strand", ["both", "forward", "reverse"])
def test_it_is_the_score_of_the_window(tmp_path, reduce, strand):
    fasta = write_fasta(tmp_path / "c.fa", {"c": CONTIG})
    settings = {"grid": (1,), "reduce": reduce, "strand": strand}
    [[[expected]]] = scorer(fasta, model=MODEL, **settings).score([record("c", 150, REF[32], ALT[32])])
    found = genoconv.score(MODEL, REF, ALT, reduce=reduce, strand=strand)
    assert isinstance(found, float)
    assert abs(found) > 1e-4
    assert found == pytest.approx(expected.llr, abs=1e-6)


def test_by_hand_with_different_lengths():
    first, last = ("ACGT"[("ACGT".index(base) + 1) % 4] for base in (REF[20], REF[19]))
    longer = REF[:20] + first + "ATTAC" + last + REF[20:]  # has one placement
    expected = (
        sum(MODEL.log_p(longer)) - sum(MODEL.log_p(REF)) + sum(MODEL.log_p(rc(longer))) - sum(MODEL.log_p(rc(REF)))
    ) / 2
    assert genoconv.score(MODEL, REF, longer) == pytest.approx(expected, abs=1e-5)
    site = np.mean([
        sum(MODEL.log_p(two)[a : a + 7]) - sum(MODEL.log_p(one)[b : b + 7])
        for one, two, a, b in ((REF, longer, 20, 20), (rc(REF), rc(longer), 44, 37))
    ])  # fmt: skip
    assert genoconv.score(MODEL, REF, longer, reduce="site") == pytest.approx(site, abs=1e-5)


def test_strings_tokens_and_several():
    alts = [ALT, REF, REF[:50] + rc(REF[50:])]
    found = genoconv.score(MODEL, REF, alts)
    assert found.shape == (3,)
    assert found.dtype == np.float64
    assert found[1] == 0
    ids = torch.from_numpy(np.stack([tokens.encode(text) for text in alts])).long()
    np.testing.assert_array_equal(genoconv.score(MODEL, torch.from_numpy(tokens.encode(REF)), ids), found)
    np.testing.assert_array_equal(genoconv.score(MODEL, [REF] * 3, ids.numpy()), found)
    np.testing.assert_allclose(genoconv.score(MODEL, alts, REF), -found, atol=1e-6)
    assert genoconv.score(MODEL, REF.lower(), ALT) == pytest.approx(found[0])
    model = KmerModel()
    genoconv.score(model, [REF] * 3, alts)
    assert model.rows == 2 * 3  # the reference and two alternatives, a strand each time


def test_with_a_network():
    torch.manual_seed(0)
    model = HyenaDNA(ModelConfig(d_model=8, n_layer=1, max_length=100, filter_order=8)).eval()
    with torch.no_grad():
        one, two = (model(torch.from_numpy(tokens.encode(text)).long()[None])[0, :-1, 7:11] for text in (REF, ALT))
    logits, other = one.log_softmax(-1), two.log_softmax(-1)
    ids, alt = (torch.from_numpy(tokens.encode(text)).long() - 7 for text in (REF, ALT))
    expected = other.gather(1, alt[1:, None]).sum() - logits.gather(1, ids[1:, None]).sum()
    assert genoconv.score(model, REF, ALT, strand="forward") == pytest.approx(float(expected), abs=1e-4)
    with pytest.raises(ModelError, match="takes 1 to"):
        genoconv.score(model, REF * 4, ALT * 4)


@pytest.mark.parametrize(
    ("ref", "alt", "message"),
    [
        ("", "A", "ref: no sequence"),
        ("A", [], "alt: no sequence"),
        (["A", "C"], ["A", "C", "G"], "2 ref and 3 alt"),
        ("A", torch.zeros(2), "alt: got float32"),
        ("A", torch.tensor([[[7]]]), "token ids are integers"),
        ("A", torch.tensor([99]), "0 to 11, got 99 to 99"),
        ("A", torch.tensor([-1]), "got -1 to -1"),
    ],
)
def test_what_it_refuses(ref, alt, message):
    with pytest.raises(UsageError, match=message):
        genoconv.score(MODEL, ref, alt)
    with pytest.raises(UsageError, match="median"):
        genoconv.score(MODEL, "AC", "AG", reduce="median")
