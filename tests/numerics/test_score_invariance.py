"""One allele has one score: alone, in any batch, in any order, with any neighbours."""

import random

import numpy as np
import pytest
import torch
from toy_scoring import KmerModel, record, scorer, write_fasta

from genoconv import tokens as tokenizer
from genoconv.models import HyenaDNA, ModelConfig, cpu
from genoconv.models.suffix import SuffixReuse
from genoconv.models.suffix_cpu import CpuSuffixReuse
from genoconv.tasks.comparison import Reduce
from genoconv.tasks.likelihood import CausalLikelihood, Pair
from genoconv.tokens import A, T

RNG = np.random.default_rng(5)
CONTIG = "".join(RNG.choice(list("ACGT"), 3000))
WIDTH = 256


@pytest.fixture(scope="module")
def model() -> HyenaDNA:
    torch.manual_seed(1)
    model = HyenaDNA(ModelConfig(d_model=24, n_layer=3, max_length=600, filter_order=16)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                # Initial weights are small and every score nearly zero; a trained model's are not.
                parameter.mul_(8)
    return model


def variants(count: int) -> list:
    """SNVs, insertions, deletions and MNVs of 1 to 6 bases all over the contig, some at the same place."""
    rng = random.Random(2)
    found = []
    for _ in range(count):
        start = rng.choice([0, 5, len(CONTIG) - 1, rng.randrange(len(CONTIG)), rng.randrange(1500, 1700)])
        ref = CONTIG[start : start + rng.randint(1, 6)]
        alts = {"".join(rng.choices("ACGT", k=rng.randint(1, 6))) for _ in range(rng.randint(1, 3))} - {ref}
        found.append(record("c", start, ref, *sorted(alts)))
    return found


def values(scores) -> list[float]:
    return [window.llr for alleles in scores for allele in alleles for window in allele]


@pytest.mark.parametrize("reduce", list(Reduce))
def test_alone_shuffled_and_in_other_batches(tmp_path, model, reduce):
    path = write_fasta(tmp_path / "c.fa", {"c": CONTIG})
    records = variants(60)
    settings = {"widths": (WIDTH,), "grid": (16,), "max_length": 600, "reduce": reduce}
    together = scorer(path, model=model, **settings).score(records)
    expected = values(together)
    assert np.std(expected) > 1e-3
    for batch_size in (1, 7):
        other = scorer(path, model=model, batch_size=batch_size, **settings).score(records)
        np.testing.assert_allclose(values(other), expected, atol=1e-5)
    order = list(range(len(records)))
    random.Random(0).shuffle(order)
    shuffled = scorer(path, model=model, **settings).score([records[i] for i in order])
    np.testing.assert_allclose(values([shuffled[order.index(i)] for i in range(len(records))]), expected, atol=1e-5)
    alone = [scorer(path, model=model, **settings).score([one])[0] for one in records[:15]]
    np.testing.assert_allclose(values(alone), expected[: len(values(alone))], atol=1e-5)


@pytest.mark.parametrize("most", [1000, 5])
def test_alternatives_of_few_references_fill_a_batch_and_are_divided_where_memory_is_short(model, monkeypatch, most):
    """At ``most`` alternatives fit: a batch holds as many as 8 references would, and then half as many."""
    reference = np.random.default_rng(0).integers(A, T + 1, WIDTH).astype(np.uint8)
    alternatives = [reference.copy() for _ in range(40)]
    places = range(WIDTH // 2 + 1, WIDTH // 2 + 41)
    for place, tokens in zip(places, alternatives, strict=True):
        tokens[place] = A if tokens[place] != A else T
    pairs = [Pair(0, n + 1, place) for n, place in enumerate(places)]
    original, read = SuffixReuse.alternative, []

    def watched(self, ids, states, rows):
        if len(ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        read.append(len(ids))
        return original(self, ids, states, rows)

    monkeypatch.setattr(SuffixReuse, "alternative", watched)
    likelihood = CausalLikelihood(model, starts={WIDTH: WIDTH // 2}, batch_size=8)
    found = likelihood([reference, *alternatives], pairs)
    assert read == ([16, 16, 8] if most > 16 else [4] * 10)
    alone = CausalLikelihood(model, starts={WIDTH: 0})([reference, *alternatives])
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_allclose(one[WIDTH // 2 + 1 :], other[WIDTH // 2 + 1 :], atol=2e-5)


@pytest.mark.parametrize("reduce", list(Reduce))
@pytest.mark.parametrize("batches", [False, True])
def test_reading_from_the_difference_on_equals_reading_everything(tmp_path, model, reduce, batches, monkeypatch):
    monkeypatch.setattr(cpu, "LEAST", 1 << 40 if batches else 0)
    path = write_fasta(tmp_path / "c.fa", {"c": CONTIG})
    settings = {"widths": (WIDTH,), "grid": (16,), "max_length": 600, "reduce": reduce}
    records = variants(60)
    quick = scorer(path, model=model, **settings)
    whole = scorer(path, model=model, **settings)
    whole.likelihood.starts = {WIDTH: 0}
    np.testing.assert_allclose(values(quick.score(records)), values(whole.score(records)), atol=2e-5)
    assert quick.likelihood.tokens < whole.likelihood.tokens


def test_what_is_read(tmp_path, model, monkeypatch):
    """A whole window for each reference, and little more than half of one for each SNV, on each strand."""
    path = write_fasta(tmp_path / "c.fa", {"c": CONTIG})
    starts = [1000, 1003, 1004, 1100]
    records = [record("c", p, CONTIG[p], *[b for b in "ACGT" if b != CONTIG[p]]) for p in starts]
    windows, alleles, start = 2, 12, WIDTH // 2 - 8 - 16

    def tokens():
        quick = scorer(path, model=model, widths=(WIDTH,), grid=(16,), max_length=600)
        quick.score(records)
        return quick.likelihood.tokens

    assert tokens() == 2 * (windows * WIDTH + alleles * (WIDTH - start))
    # With a large model on a CPU an alternative is read from the base before it on: as much as lies behind it on either
    # strand.
    monkeypatch.setattr(cpu, "LEAST", WIDTH * model.config.d_model)
    assert tokens() == 2 * windows * WIDTH + alleles * (WIDTH + 3)


def test_suffix_logits(model):
    start, first = 100, 130
    ids = torch.from_numpy(RNG.integers(7, 11, (3, WIDTH)))
    other = ids.clone()
    other[:, first:] = torch.from_numpy(RNG.integers(7, 11, (3, WIDTH - first)))
    reuse = SuffixReuse(model, length=WIDTH, start=start)
    with torch.inference_mode():
        logits, states = reuse.reference(ids)
        np.testing.assert_allclose(logits, model(ids)[..., A : T + 1], atol=1e-4)
        late, others = reuse.reference(ids, whole=False)
        np.testing.assert_allclose(late, logits[:, start:], atol=1e-5)
        assert all(torch.equal(a.convolved, b.convolved) for a, b in zip(states, others, strict=True))
        rows = torch.tensor([2, 0, 1])
        found = reuse.alternative(other[rows][:, start:], states, rows)
        expected = model(other)[rows][:, start:, A : T + 1]
    assert float(expected.std()) > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)


def other_bases(ids: torch.Tensor, *places: int) -> torch.Tensor:
    found = ids.clone()
    found[list(places)] = (found[list(places)] - A + 1) % 4 + A
    return found


@pytest.mark.parametrize("taps", [0, 40])
@pytest.mark.parametrize("order", [1, 3])
def test_suffix_logits_on_a_cpu(taps, order):
    """One base, several, all from somewhere on: with biases, and filters shorter than a window."""
    torch.manual_seed(2)
    config = ModelConfig(d_model=16, n_layer=3, max_length=120, filter_length=taps, short_filter_order=order)
    model = HyenaDNA(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    ids = torch.from_numpy(RNG.integers(7, 11, 120))
    shifted = torch.cat([ids[:70], ids[72:], ids[:2]])
    with torch.inference_mode():
        reuse = CpuSuffixReuse(model, length=120)
        reading = reuse.reference(ids, start=50, whole=False)
        expected = model(ids[None])[0, :, A : T + 1]
        assert float(expected.std()) > 0.1
        np.testing.assert_allclose(reading.logits, expected[50:], atol=1e-4)
        np.testing.assert_allclose(reuse.reference(ids, start=50, whole=True).logits, expected, atol=1e-4)
        for start, other in (
            (50, other_bases(ids, 51)),
            (60, other_bases(ids, 61)),
            (60, other_bases(ids, 61, 64, 70)),
            (118, other_bases(ids, 119)),
            (60, other_bases(ids, *range(61, 100))),
            (69, shifted),
            (55, ids),
        ):
            found = reuse.alternative(other, reading, start=start)
            np.testing.assert_allclose(found, model(other[None])[0, start:, A : T + 1], atol=1e-4)


def test_other_models_are_read_whole():
    likelihood = CausalLikelihood(KmerModel(), starts={64: 28})
    ref = RNG.integers(7, 11, 64).astype(np.uint8)
    alt = ref.copy()
    alt[32] = 7 + (alt[32] - 6) % 4
    likelihood([ref, alt], [Pair(0, 1, 32)])
    assert likelihood.tokens == 128


def test_padding_is_never_seen(model):
    likelihood = CausalLikelihood(model, starts={WIDTH: 0}, max_length=600)
    short = tokenizer.encode(CONTIG[:100])
    [padded, full] = likelihood([short, tokenizer.encode(CONTIG[:WIDTH])])
    assert len(padded) == 100
    np.testing.assert_allclose(padded, full[:100], atol=1e-5)
    assert [likelihood.padded_length(n) for n in (10, 256, 257, 590)] == [256, 256, 512, 600]


def test_every_length_is_prepared_once():
    toy = KmerModel()
    likelihood = CausalLikelihood(toy, starts={64: 0, 128: 0})
    sequences = [tokenizer.encode(CONTIG[:n]) for n in (60, 64, 100, 128)]
    for _ in range(3):
        likelihood(sequences)
    assert toy.prepared == [(64, 128)]
    likelihood([tokenizer.encode(CONTIG[:200])])
    assert toy.prepared[-1] == (64, 128, 256)


@pytest.mark.parametrize("first", [99, 100, 101])
def test_an_alternative_that_differs_where_the_suffix_begins(model, first):
    ref = RNG.integers(A, T + 1, WIDTH, dtype=np.uint8)
    alt = ref.copy()
    alt[first] = A + (ref[first] - A + 1) % 4
    pairs = [Pair(0, 1, first)]
    _, whole = CausalLikelihood(model, starts={WIDTH: 0})([ref, alt], pairs)
    _, suffix = CausalLikelihood(model, starts={WIDTH: 100})([ref, alt], pairs)
    np.testing.assert_allclose(suffix[first:], whole[first:], atol=1e-4)


@pytest.mark.parametrize("batches", [False, True])
def test_deletions_that_leave_one_sequence_keep_their_own_sites(tmp_path, model, batches, monkeypatch):
    """Either side of where suffixes start, at 104 here; the third variant is why the reference is known before that."""
    monkeypatch.setattr(cpu, "LEAST", 1 << 40 if batches else 0)
    path = write_fasta(tmp_path / "c.fa", {"c": CONTIG[:90] + "C" + "A" * 30 + "G" + CONTIG[122:]})
    settings = {"widths": (WIDTH,), "grid": (16,), "max_length": 600, "reduce": Reduce.SITE}
    deletions = [record("c", start, "AA", "A") for start in (116, 92)]
    records = [*deletions, record("c", 20, CONTIG[20], "G" if CONTIG[20] == "T" else "T")]
    alone = [values(scorer(path, model=model, **settings).score([one]))[0] for one in records]
    np.testing.assert_allclose(values(scorer(path, model=model, **settings).score(records)), alone, atol=1e-5)
