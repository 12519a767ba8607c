"""Tiles that are read together: each has the bases of its contig, each stretch of which is held once."""

import numpy as np
import pytest
import torch
from fasta_files import random_bases, write_fasta
from hypothesis import given
from hypothesis import strategies as st

from genoconv import tokens
from genoconv.genome.fasta.access import Fasta
from genoconv.tasks.scan import Prediction, _lost, _not_finite
from genoconv.tasks.tiling import Laid, Tile, Tiles, tiles
from genoconv.tokens import PAD, reverse_complement
from genoconv.variants.reference import Reference

CONTIGS = {"a": random_bases(300, seed=1).upper(), "b": random_bases(200, seed=2).upper()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return Reference(Fasta(write_fasta(tmp_path_factory.mktemp("tiling") / "g.fa", CONTIGS)))


@st.composite
def some_tiles(draw: st.DrawFn) -> list[Tile]:
    found = []
    for _ in range(draw(st.integers(1, 8))):
        contig = draw(st.sampled_from(list(CONTIGS)))
        length = len(CONTIGS[contig])
        start = draw(st.integers(0, length - 1))
        end = draw(st.integers(start + 1, min(length, start + 20)))
        before, after = draw(st.integers(max(0, start - 30), start)), draw(st.integers(end, min(length, end + 30)))
        found.append(Tile(contig, start, end, before, after))
    return found


@given(some=some_tiles())
def test_tiles_in_any_order_have_their_own_bases(reference: Reference, some: list[Tile]) -> None:
    laid = Laid.of(some, reference)
    for tile, (start, end, before, after) in zip(some, laid.places.tolist(), strict=True):
        text = CONTIGS[tile.contig]
        assert tokens.decode(laid.bases[start:end]) == text[tile.start : tile.end]
        assert tokens.decode(laid.bases[before:after]) == text[tile.before : tile.after]
    device = laid.on(torch.device("cpu"))
    assert tokens.decode(device.ref.numpy()) == "".join(CONTIGS[t.contig][t.start : t.end] for t in some)
    width = max(tile.after - tile.before for tile in some)
    forward, backward = device.forward(width), device.backward(width)
    for row, tile in enumerate(some):
        text = CONTIGS[tile.contig]
        for ids, wanted in (
            (forward.ids, tokens.encode(text[tile.before : tile.end])),
            (backward.ids, reverse_complement(tokens.encode(text[tile.start : tile.after]))),
        ):
            np.testing.assert_array_equal(ids[row, : len(wanted)], wanted)
            assert (ids[row, len(wanted) :] == PAD).all()


def test_a_stretch_that_tiles_share_is_held_once(reference: Reference) -> None:
    every = [*tiles("a", 0, 300, length=300, context=24, step=16), *tiles("b", 0, 200, length=200, context=24, step=16)]
    assert tokens.decode(Laid.of(every, reference).bases) == CONTIGS["a"] + CONTIGS["b"]


def test_tiles_of_several_contigs_stay_what_they_are_joined_and_cut() -> None:
    some = [("a", 3, 70), ("b", 0, 40), ("a", 90, 300)]
    parts = [tiles(*one, length=len(CONTIGS[one[0]]), context=24, step=16) for one in some]
    each = [tile for part in parts for tile in part]
    joined = Tiles.joined(parts)
    assert list(joined) == list(Tiles.of(each)) == each
    assert list(joined[3:9]) == each[3:9]
    assert joined[3:9].positions == sum(tile.end - tile.start for tile in each[3:9])


@pytest.mark.parametrize(("lost", "place"), [(0, "a:1-4"), (3, "a:1-4"), (4, "b:11-12"), (5, "b:11-12"), (6, "a:8-8")])
def test_a_prediction_that_is_lost_names_its_tile(lost: int, place: str) -> None:
    some = [Tile("a", 0, 4, 0, 9), Tile("b", 10, 12, 5, 15), Tile("a", 7, 8, 0, 9)]
    forward, reverse = torch.zeros(7, 4), torch.full((7, 4), torch.nan)  # without context
    found = Prediction(some, torch.zeros(7, dtype=torch.uint8), forward, reverse)
    assert not _lost(found).any()
    (forward if lost % 2 else reverse)[lost:, 2] = torch.inf
    where = int(_lost(found).int().argmax())
    assert where == lost
    assert f"(first in {place})" in str(_not_finite(some, where))
