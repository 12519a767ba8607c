"""Vectors with the special tokens of the published tokenizers, against the model run on ids written out by hand."""

import numpy as np
import pytest
import torch
from embed_files import rc, small_model
from fasta_files import random_bases

from genoconv.genome.windows.intervals import equal_parts
from genoconv.models.published.special_tokens import Framing, SpecialTokens
from genoconv.tasks.embed import Embedder
from genoconv.tasks.pooling import Pool, Reading
from genoconv.tasks.spans import Span
from genoconv.tokens import encode

MODEL = small_model()
CLS, SEP, PAD = 0, 1, 4
SEQUENCES = [random_bases(n, seed=n) for n in (1, 17, 60, 98, 250)]


@torch.inference_mode()
def by_hand(sequence: str, policy: str, length: int | None) -> tuple[np.ndarray, np.ndarray]:
    """States of the bases, and of the last token."""
    ids = [CLS] * (policy == "cls-sep") + encode(sequence).tolist() + [SEP]
    ids = [PAD] * ((length or 0) - len(ids)) + ids
    states = MODEL.hidden(torch.tensor([ids]))[0].double().numpy()
    return states[-1 - len(sequence) : -1], states[-1]


@pytest.mark.parametrize("length", [None, 90])
@pytest.mark.parametrize("policy", ["sep", "cls-sep"])
@pytest.mark.parametrize("pool", Pool)
def test_against_ids_by_hand(pool: Pool, policy: str, length: int | None) -> None:
    framing = Framing(SpecialTokens(policy), length)
    longest = (length or MODEL.config.max_length) - framing.policy.extra
    for reading in Reading:
        embedder = Embedder(MODEL, pool=pool, reading=reading, batch_size=3, framing=framing)
        found = embedder([Span("x", "x", 0, len(s), "+", encode(s)) for s in SEQUENCES])
        for sequence, vectors in zip(SEQUENCES, found, strict=True):
            directions = []
            for bases in (sequence, rc(sequence)):
                if pool == Pool.LAST:
                    directions.append(by_hand(bases[-longest:], policy, length)[1][None])
                    continue
                parts = list(equal_parts(0, len(sequence), longest))
                if bases != sequence:  # the same cuts, in the other direction
                    parts = [(len(bases) - end, len(bases) - start) for start, end in reversed(parts)]
                states = np.concatenate([by_hand(bases[a:b], policy, length)[0] for a, b in parts])
                pooled = {"mean": states.mean(0)[None], "max": states.max(0)[None], "none": states}[pool.value]
                directions.append(pooled)
            there, back = directions
            truth = there if reading == Reading.FORWARD else (there + (back[::-1] if pool == Pool.NONE else back)) / 2
            np.testing.assert_allclose(vectors, truth, rtol=1e-5, atol=1e-5)


def test_what_each_part_changes() -> None:
    """[SEP] nothing but the last state; [CLS] and padding on the left every vector."""
    sequence = SEQUENCES[2]
    span = Span("x", "x", 0, len(sequence), "+", encode(sequence))
    sep, both, padded = (
        Framing(SpecialTokens(policy), length) for policy, length in (("sep", None), ("cls-sep", None), ("sep", 90))
    )
    for pool in Pool:
        [plain] = Embedder(MODEL, pool=pool)([span])
        for framing, same in ((sep, pool != Pool.LAST), (both, False), (padded, False)):
            [found] = Embedder(MODEL, pool=pool, framing=framing)([span])
            difference = np.abs(found - plain).max()
            assert difference < 1e-5 if same else difference > 1e-3, (pool, framing, difference)
