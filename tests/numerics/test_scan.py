"""Every SNV from one pass per strand: against strings, and against scoring the SNVs one by one."""

import math

import numpy as np
import pytest
import torch
from toy_scoring import KmerModel, rc, record, scorer, write_fasta

from genoconv import tokens
from genoconv.genome.fasta.access import Fasta
from genoconv.models import HyenaDNA, ModelConfig
from genoconv.tasks.scan import Scanner
from genoconv.tasks.tiling import tiles
from genoconv.variants.reference import Reference

RNG = np.random.default_rng(21)
CONTIG = "".join(RNG.choice(list("ACGT"), 1100))
CONTEXT, STEP = 48, 32


@pytest.fixture(scope="module")
def network() -> HyenaDNA:
    torch.manual_seed(3)
    model = HyenaDNA(ModelConfig(d_model=16, n_layer=2, max_length=160, filter_order=16)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    return model


def scan(path, model, contig="c", start=0, end=None, **options):
    reference = Reference(Fasta(path))
    scanner = Scanner(model, reference=reference, **{"context": CONTEXT, "step": STEP, **options})
    every = list(scanner.tiles(contig, start, end or reference.contigs[contig]))
    found = scanner.read(every, take=lambda one: lambda: one)
    return found, scanner


def joined(found, name):
    return np.concatenate([getattr(one, name) for one in found])


def test_it_equals_scoring_each_snv_at_its_site(tmp_path, network):
    path = write_fasta(tmp_path / "c.fa", {"c": CONTIG})
    found, _ = scan(path, network)
    scores = joined(found, "scores")
    width = 2 * CONTEXT + STEP
    positions = [*range(width, 400, 7), 479, 480, 481, 495, 496, 497, len(CONTIG) - width]
    records = [record("c", p, CONTIG[p], *(b for b in "ACGT" if b != CONTIG[p])) for p in positions]
    settings = {"widths": (width,), "grid": (STEP,), "max_length": 160, "reduce": "site"}
    expected = scorer(path, model=network, **settings).score(records)
    for p, one, alleles in zip(positions, records, expected, strict=True):
        for alt, [score] in zip(one.alts, alleles, strict=True):
            assert scores[p, "ACGT".index(alt)] == pytest.approx(score.llr, abs=1e-5)
    assert np.std([s.llr for alleles in expected for [s] in alleles]) > 0.1


def test_tiles_with_whole_contexts_spare_the_last_block_what_nobody_wants(tmp_path, network):
    """The first tiles of a contig have no context, so that they are read from their first position on."""
    path = write_fasta(tmp_path / "c.fa", {"c": CONTIG})
    whole, _ = scan(path, network)
    begins = []
    last = network.backbone.layers[-1]
    hook = last.register_forward_pre_hook(lambda *given: begins.append(given[2]["start"]), with_kwargs=True)
    part, _ = scan(path, network, start=320, end=640)
    hook.remove()
    assert begins == [40, 40]  # the last position before a tile is 47, the multiple of 8 before that 40
    for name in ("forward", "reverse"):
        assert np.allclose(joined(part, name), joined(whole, name)[320:640], atol=1e-5)


def test_by_hand(tmp_path):
    model = KmerModel()
    path = write_fasta(tmp_path / "c.fa", {"c": CONTIG})
    found, _ = scan(path, model)
    forward, reverse = joined(found, "forward"), joined(found, "reverse")
    p = 300
    for column, base in enumerate("ACGT"):
        one = model.log_p(CONTIG[p - 20 : p] + base)[-1]
        two = model.log_p(rc(CONTIG[p + 1 : p + 20]) + rc(base))[-1]
        assert forward[p, column] == pytest.approx(one, abs=1e-5)
        assert reverse[p, column] == pytest.approx(two, abs=1e-5)
    bits = np.mean([sum(-math.exp(v) * v / math.log(2) for v in strand[p]) for strand in (forward, reverse)])
    assert joined(found, "entropy")[p] == pytest.approx(bits, abs=1e-5)
    column = "ACGT".index(CONTIG[p])
    assert joined(found, "ref_log_p")[p] == pytest.approx((forward[p, column] + reverse[p, column]) / 2, abs=1e-6)
    assert joined(found, "scores")[p, column] == 0


def test_every_position_once_with_its_context():
    length = 1000
    every = list(tiles("c", 0, length, length=length, context=CONTEXT, step=STEP))
    assert [p for tile in every for p in range(tile.start, tile.end)] == list(range(length))
    for tile in every:
        assert tile.before == 0 or tile.start - tile.before >= CONTEXT
        assert tile.after == length or tile.after - tile.end >= CONTEXT
        assert tile.end - tile.before <= CONTEXT + STEP
        assert tile.after - tile.start <= CONTEXT + STEP
    # A part of a contig has the contexts of the whole.
    by_position = {p: tile for tile in every for p in range(tile.start, tile.end)}
    for start, end in ((0, 1), (15, 17), (37, 333), (999, 1000)):
        part = list(tiles("c", start, end, length=length, context=CONTEXT, step=STEP))
        assert [p for tile in part for p in range(tile.start, tile.end)] == list(range(start, end))
        assert all(
            (tile.before, tile.after) == by_position[p][3:] for tile in part for p in range(tile.start, tile.end)
        )


def test_the_ends_of_a_contig_have_one_strand(tmp_path, network):
    path = write_fasta(tmp_path / "c.fa", {"c": CONTIG, "one": "G", "short": CONTIG[:20]})
    found, _ = scan(path, network)
    forward, reverse, scores = (joined(found, name) for name in ("forward", "reverse", "scores"))
    assert np.isnan(forward[0]).all()
    assert np.isnan(reverse[-1]).all()
    assert not np.isnan(forward[1:]).any()
    assert not np.isnan(scores).any()
    column = "ACGT".index(CONTIG[0])
    np.testing.assert_allclose(scores[0], reverse[0] - reverse[0, column], atol=1e-6)
    [single], _ = scan(path, network, "one")
    assert single.scores.isnan().all()
    short, _ = scan(path, network, "short")
    assert not np.isnan(joined(short, "scores")).any()


def test_n_has_no_score_and_is_context(tmp_path, network):
    text = CONTIG[:300] + "N" * 5 + "R" + CONTIG[306:500] + "N" * 400 + CONTIG[900:].lower()
    path = write_fasta(tmp_path / "c.fa", {"c": text})
    found, scanner = scan(path, network)
    scores, entropy = joined(found, "scores"), joined(found, "entropy")
    unknown = np.array([letter not in "ACGTacgt" for letter in text])
    assert np.isnan(scores[unknown]).all()
    assert np.isnan(entropy[unknown]).all()
    assert not np.isnan(scores[:300]).any()
    assert not np.isnan(scores[306:480]).any()
    # What is mostly N is not read.
    assert scanner.tokens < 2 * len(list(scanner.tiles("c", 0, 1100))) * 0.8 * (CONTEXT + STEP)
    upper, _ = scan(write_fasta(tmp_path / "u.fa", {"c": text.upper()}), network)
    np.testing.assert_array_equal(joined(upper, "scores"), scores)


@pytest.mark.parametrize(("unknown", "read"), [(STEP, True), (STEP + 1, False)])
def test_a_tile_of_which_half_is_unknown_is_read(tmp_path, network, unknown, read):
    """Of a contig of two tiles, each of which sees the whole of it."""
    path = write_fasta(tmp_path / "c.fa", {"c": CONTIG[: 2 * STEP - unknown] + "N" * unknown})
    found, scanner = scan(path, network, context=2 * STEP)
    assert (scanner.tokens > 0) is read
    assert np.isnan(joined(found, "scores")[: 2 * STEP - unknown]).all() is not np.bool_(read)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batches_and_parts_do_not_matter(tmp_path, network, batch_size):
    path = write_fasta(tmp_path / "c.fa", {"c": CONTIG})
    whole = joined(scan(path, network)[0], "scores")
    amounts: list[int] = []
    reference = Reference(Fasta(path))
    scanner = Scanner(network, reference=reference, context=CONTEXT, step=STEP, batch_size=batch_size)
    found = scanner.read(list(scanner.tiles("c", 205, 612)), take=lambda one: lambda: one, advance=amounts.append)
    np.testing.assert_allclose(joined(found, "scores"), whole[205:612], atol=1e-5)
    assert sum(amounts) == 612 - 205
    assert tokens.decode(joined(found, "ref")) == CONTIG[205:612]
