"""Vectors against the model read one sequence at a time, pooled in float64, and against any company."""

import numpy as np
import pytest
import torch
from embed_files import rc, small_model, states
from fasta_files import random_bases
from hypothesis import given, settings
from hypothesis import strategies as st

from genoconv.errors import ModelError
from genoconv.genome.windows.intervals import equal_parts
from genoconv.models.published.special_tokens import Framing, SpecialTokens
from genoconv.models.stream import Stream
from genoconv.tasks import batching
from genoconv.tasks.embed import Embedder
from genoconv.tasks.pooling import Pool, Reading
from genoconv.tasks.spans import Span, chunked
from genoconv.tokens import encode

MODEL = small_model()
LONGEST = MODEL.config.max_length
BASES = random_bases(2000, seed=1, letters="ACGTacgtNR")
POOLS = {"mean": lambda h: h.mean(0), "max": lambda h: h.max(0), "last": lambda h: h[-1], "none": lambda h: h}


def span(sequence: str, strand: str = "+") -> Span:
    return Span("x", "x", 0, len(sequence), strand, encode(sequence))


def expected(sequence: str, pool: str, layer: int | None) -> np.ndarray:
    """One direction; long sequences in the pieces that the documentation tells."""
    if pool == "last":
        return states(MODEL, sequence[-LONGEST:], layer)[-1]
    pieces = [states(MODEL, sequence[a:b], layer) for a, b in equal_parts(0, len(sequence), LONGEST)]
    return POOLS[pool](np.concatenate(pieces))


@pytest.mark.parametrize(
    ("framing", "bases"),
    [
        (Framing(), 1024),
        (Framing(SpecialTokens.SEP), 1025),
        (Framing(SpecialTokens.CLS_SEP), 1024),
        (Framing(SpecialTokens.CLS_SEP, 200), 198),
    ],
)
def test_pieces_of_a_model_of_published_length(framing: Framing, bases: int) -> None:
    model = small_model(max_length=1026)
    assert Embedder(model, framing=framing).max_length == bases
    assert Embedder(model, framing=framing, max_length=64).max_length == 64


@pytest.mark.parametrize("layer", [None, 0, -1])
@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize("pool", POOLS)
def test_against_one_sequence_at_a_time(pool: str, strand: str, layer: int | None) -> None:
    # 200 and 300 are cut into equal pieces, so that both directions have the same cuts.
    lengths = (1, 2, 17, 64, 99, 100, 200, 300)
    sequences = [BASES[2 * n : 3 * n] for n in lengths]
    for reading in Reading:
        embedder = Embedder(MODEL, pool=Pool(pool), reading=reading, layer=layer, batch_size=3)
        found = embedder([span(sequence, strand) for sequence in sequences])
        for sequence, vectors in zip(sequences, found, strict=True):
            own, other = (sequence, rc(sequence)) if strand == "+" else (rc(sequence), sequence)
            truth = expected(own, pool, layer)
            if reading == Reading.BOTH:
                back = expected(other, pool, layer)
                truth = (truth + (back[::-1] if pool == "none" else back)) / 2
            assert vectors.dtype == np.float32
            np.testing.assert_allclose(vectors, np.atleast_2d(truth), rtol=1e-5, atol=1e-5)
            assert truth.std() > 0.01


def test_unequal_pieces_weigh_each_base_alike() -> None:
    embedder = Embedder(MODEL)
    [vector] = embedder([span(BASES[:251])])
    assert embedder.pieces(251) == 3
    np.testing.assert_allclose(vector[0], expected(BASES[:251], "mean", None), atol=1e-5)


@pytest.mark.parametrize("pool", Pool)
@pytest.mark.parametrize("reading", Reading)
def test_gaps_of_a_genome_are_read_once(pool, reading, monkeypatch) -> None:
    embedder, rows = Embedder(MODEL, pool=pool, reading=reading, batch_size=4), []
    whole = MODEL.hidden
    monkeypatch.setattr(MODEL, "hidden", lambda ids, **rest: rows.append(len(ids)) or whole(ids, **rest))
    gaps = [span("N" * 50, "+-."[number % 3]) for number in range(30)]
    advanced: list[float] = []
    for spans in (gaps, [*gaps, span(BASES[:50]), span("N" * 49 + "A"), span("N" * 49 + "R")]):
        found = embedder(spans, advance=advanced.append)
        assert sum(advanced) == sum(len(one.tokens) for one in spans)
        advanced.clear()
    assert sum(rows) == 1 + 3 * (2 if reading == Reading.BOTH else 1)
    truth = np.atleast_2d(expected("N" * 50, pool, None))
    if reading == Reading.BOTH and pool == Pool.NONE:
        truth = (truth + truth[::-1]) / 2
    for vectors in found[:30]:
        np.testing.assert_allclose(vectors, truth, atol=1e-5)


def test_layers_are_numbered_from_the_first_block() -> None:
    ids = torch.from_numpy(encode(BASES[:50])).long()[None]
    seen = []

    def keep(block: object, inputs: object, stream: Stream) -> None:
        seen.append(stream.settled())

    hooks = [block.register_forward_hook(keep) for block in MODEL.backbone.layers]
    with torch.inference_mode():
        last = MODEL.hidden(ids)
        blocks = list(seen)
        for layer, truth in ((0, blocks[0]), (1, blocks[1]), (-1, blocks[1]), (-2, blocks[0])):
            assert torch.equal(MODEL.hidden(ids, layer=layer), truth)
        assert torch.equal(MODEL.backbone.ln_f(blocks[1]), last)
    for hook in hooks:
        hook.remove()
    for layer in (2, -3):
        with pytest.raises(ModelError, match="this model has 2 blocks, 0 to 1 or -2 to -1"):
            MODEL.hidden(ids, layer=layer)


cuts = st.lists(st.tuples(st.integers(0, 1700), st.integers(1, 260), st.sampled_from("+-.")), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(cuts=cuts, pool=st.sampled_from(Pool), reading=st.sampled_from(Reading), batch=st.integers(1, 9), data=st.data())
def test_a_vector_does_not_depend_on_its_company(cuts, pool, reading, batch, data) -> None:
    spans = [span(BASES[start : start + length], strand) for start, length, strand in cuts]
    order = data.draw(st.permutations(range(len(spans))))
    embedder = Embedder(MODEL, pool=pool, reading=reading, batch_size=batch)
    together = embedder([spans[number] for number in order])
    for number, vectors in zip(order, together, strict=True):
        [alone] = Embedder(MODEL, pool=pool, reading=reading, batch_size=1)([spans[number]])
        np.testing.assert_allclose(vectors, alone, rtol=0, atol=1e-5)


def test_both_readings_of_a_sequence_and_of_its_opposite_are_one_vector() -> None:
    embedder = Embedder(MODEL, reading=Reading.BOTH)
    there, back = embedder([span(BASES[:100]), span(rc(BASES[:100]))])
    np.testing.assert_allclose(there, back, atol=1e-5)
    ahead, behind = Embedder(MODEL)([span(BASES[:100]), span(rc(BASES[:100]))])
    assert np.abs(ahead - behind).max() > 0.1


def test_nothing_to_read() -> None:
    for pool in Pool:
        empty, full = Embedder(MODEL, pool=pool)([span(""), span("ACGT")])
        assert np.isfinite(full).all()
        assert empty.shape == ((0, 8) if pool == Pool.NONE else (1, 8))
        assert np.isnan(empty).all()


def test_what_was_read_before_changes_no_bit() -> None:
    fresh, used = Embedder(MODEL), Embedder(MODEL)
    used([span(BASES[:n]) for n in (5, 40, 90, 400)])
    group = [span(BASES[n : 2 * n]) for n in (30, 70, 150)]
    for one, other in zip(fresh(group), used(group), strict=True):
        assert np.array_equal(one, other)


def test_a_full_memory_halves_the_batch(monkeypatch) -> None:
    hidden, sizes = MODEL.hidden, []

    def tight(ids, **options):
        sizes.append(len(ids))
        if len(ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return hidden(ids, **options)

    group = [span(BASES[n : n + 50]) for n in range(7)]
    truth = Embedder(MODEL)(group)
    monkeypatch.setattr(MODEL, "hidden", tight)
    for one, other in zip(truth, Embedder(MODEL, batch_size=7)(group), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert sizes == [7, 3, 1, 2, 4, 2, 2]
    monkeypatch.setattr(MODEL, "hidden", lambda *_, **__: tight(torch.zeros(3, 1)))
    with pytest.raises(ModelError, match="use a smaller --max-length, --precision bf16, or a device with more memory"):
        Embedder(MODEL)(group[:1])
    assert batching.fitting_rows(len, length=512, device=torch.device("cpu")) == 16


def test_chunks_never_look_ahead() -> None:
    drawn = []

    def source():
        for n in (3, 4, 5, 20, 1):
            drawn.append(n)
            yield span(BASES[:n])

    seen = [(sum(drawn), [len(s.tokens) for s in run]) for run in chunked(source(), tokens=10)]
    assert seen == [(12, [3, 4, 5]), (32, [20]), (33, [1])]
