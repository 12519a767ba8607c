"""The order of the data: a function of the seed and a counter, whatever the processes that read it."""

import multiprocessing
import os
import select
import signal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fasta_files import random_bases, write_fasta
from torch.utils.data import DataLoader

from genoconv.genome.fasta.access import Fasta
from genoconv.models.likelihood import next_base_sums
from genoconv.tokens import PAD, A, C, G, T, encode, reverse_complement
from genoconv.train.batch import Batch, Item, Parcel, collate
from genoconv.train.readers import WindowReader
from genoconv.train.settings import DataSettings, Stage
from genoconv.train.stream import Share, TrainingBatches, begin_reading
from support import HANG

BASES = random_bases(6000, seed=4, letters="ACGTacgtN")


@pytest.fixture
def fasta(tmp_path: Path) -> Fasta:
    return Fasta(write_fasta(tmp_path / "genome.fa", {"chr1": BASES}))


def windows(lengths: list[int], *, strand: str = "+") -> pd.DataFrame:
    starts = np.cumsum([0, *lengths])[:-1]
    return pd.DataFrame({"contig": "chr1", "start": starts, "end": starts + lengths, "strand": strand})


def batches(
    reader: WindowReader,
    *,
    share: Share = Share(),  # noqa: B008
    flips: bool = True,
    packed: tuple[bool, ...] = (),
) -> TrainingBatches:
    stages = (Stage(length=40, steps=3), Stage(length=200))
    return TrainingBatches(reader, stages=stages, tokens_per_batch=400, flips=flips, seed=7, share=share, packed=packed)


def first(data: TrainingBatches, count: int, *, workers: int = 0) -> list[torch.Tensor]:
    loader = iter(DataLoader(data, batch_size=None, num_workers=workers, collate_fn=Parcel))
    return [next(loader).open().ids for _ in range(count)]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("packed", [(), (False, True)])
def test_batches_do_not_depend_on_workers_or_on_where_one_begins(fasta: Fasta, packed: tuple[bool, ...]) -> None:
    reader = WindowReader(fasta, windows([150, 33, 200, 80, 61, 199, 45, 120] * 3))
    whole = first(batches(reader, packed=packed), 30)
    assert equal(first(batches(reader, packed=packed), 30, workers=2), whole)
    assert equal(first(batches(reader, share=Share(first=17), packed=packed), 13), whole[17:])
    assert equal(first(batches(reader, share=Share(first=17), packed=packed), 13, workers=3), whole[17:])


def test_a_packed_stage_fills_its_batches_and_reads_every_window_once_on_either_strand(fasta: Fasta) -> None:
    lengths = [150, 33, 200, 80, 61, 199, 45, 120] * 3
    reader = WindowReader(fasta, windows(lengths), masked_weight=0.5)
    found = [batches(reader, packed=(False, True)).batch(3 + index) for index in range(7)]
    assert [len(batches(reader).batch(index).ids) for index in range(2)] == [10, 10]  # the stage before is not packed
    spans = [(batch, pair) for batch in found for pair in pairwise(batch.cu_seqlens)]
    assert sorted(stop - start for _, (start, stop) in spans) == sorted(lengths)
    assert all(len(batch.ids) == 1 and batch.tokens == batch.ids.shape[1] <= 400 for batch in found)
    assert sum(batch.tokens for batch in found) == sum(lengths)
    items = [reader.read(number, flip=flip) for number in range(24) for flip in (False, True)]
    known = {item.tokens.tobytes(): item.weights for item in items}
    forward = {reader.read(number).tokens.tobytes() for number in range(24)}
    strands = set()
    for batch, (start, stop) in spans:
        tokens = batch.ids[0, start:stop].numpy().tobytes()
        strands.add(tokens in forward)
        weights = known[tokens]
        assert weights is not None
        assert batch.weights[0, start:stop].tolist() == [0, *weights[1:].tolist()]
    assert strands == {True, False}


def test_stages_cut_windows_and_keep_the_tokens_of_a_batch(fasta: Fasta) -> None:
    reader = WindowReader(fasta, windows([200] * 20))
    found = first(batches(reader), 6)
    assert [tuple(ids.shape) for ids in found] == [(10, 40)] * 2 + [found[2].shape] + [(2, 200)] * 3


def test_an_epoch_shows_every_window_once_over_all_processes(fasta: Fasta) -> None:
    lengths = [20 + i for i in range(40)]
    reader = WindowReader(fasta, windows(lengths))
    stages = (Stage(length=200),)
    seen: list[int] = []
    each = [
        TrainingBatches(reader, stages=stages, tokens_per_batch=300, flips=False, seed=1, share=Share(rank, 2))
        for rank in (0, 1)
    ]
    index = 0
    while len(seen) < 40:
        for data in each:
            if len(seen) < 40:
                seen += (data.batch(index).ids != PAD).sum(1).tolist()
        index += 1
    assert sorted(seen) == lengths


def test_windows_are_read_on_their_strand_and_flipped_when_asked(fasta: Fasta) -> None:
    frame = pd.concat([windows([100]), windows([100], strand="-")])
    reader = WindowReader(fasta, frame)
    forward = encode(BASES[:100])
    assert np.array_equal(reader.read(0)[0], forward)
    assert np.array_equal(reader.read(1)[0], reverse_complement(forward))
    assert np.array_equal(reader.read(1, flip=True)[0], forward)
    assert np.array_equal(reader.read(0, crop=(10, 30))[0], forward[10:30])
    assert np.array_equal(reader.read(1, crop=(10, 30))[0], reverse_complement(forward[10:30]))


def test_half_of_the_windows_are_flipped(fasta: Fasta) -> None:
    reader = WindowReader(fasta, windows([200]))
    stages = (Stage(length=200),)
    data = TrainingBatches(reader, stages=stages, tokens_per_batch=200, flips=True, seed=1, share=Share())
    forward = torch.from_numpy(encode(BASES[:200]))
    as_is = sum(torch.equal(data.batch(i).ids[0], forward) for i in range(200))
    assert 70 < as_is < 130


def test_noise_replaces_a_share_of_the_bases_and_others_each_time(fasta: Fasta) -> None:
    reader = WindowReader(fasta, windows([200, 100]))

    def read(noise: float) -> list[torch.Tensor]:
        stages = (Stage(length=200),)
        data = TrainingBatches(
            reader, stages=stages, tokens_per_batch=400, flips=False, seed=1, share=Share(), noise=noise
        )
        return [data.batch(index).ids[data.batch(index).ids[:, -1] != PAD][0] for index in range(100)]

    original = torch.from_numpy(encode(BASES[:200]))
    assert all(torch.equal(ids, original) for ids in read(0.0))
    noisy = read(0.2)
    assert 0.13 < float(torch.stack([(ids != original).float().mean() for ids in noisy]).mean()) < 0.17  # 3 of 4 differ
    assert len({ids.numpy().tobytes() for ids in noisy}) == 100
    assert equal(noisy, read(0.2))
    changed = torch.cat([ids[ids != original] for ids in noisy])
    assert set(changed.tolist()) == {A, C, G, T}


def test_soft_masked_bases_weigh_less_on_either_strand(fasta: Fasta) -> None:
    for strand in "+-":
        ids, weights, *_ = WindowReader(fasta, windows([50], strand=strand), masked_weight=0.25).read(0)
        assert weights is not None
        lower = np.array([letter.islower() for letter in BASES[:50]])[:: 1 if strand == "+" else -1]
        assert np.array_equal(weights, np.where(lower, np.float32(0.25), np.float32(1)))
        assert len(ids) == 50


def test_padding_is_on_the_right_and_counted_out() -> None:
    batch = collate([Item(encode("ACGT")), Item(encode("AC"), np.array([1, 0.5], np.float32))])
    assert batch.ids.tolist() == [[7, 8, 9, 10], [7, 8, PAD, PAD]]
    assert batch.weights.tolist() == [[1, 1, 1, 1], [1, 0.5, 1, 1]]
    assert batch.tokens == 6


def test_the_loss_counts_known_bases_only_and_weighs_them() -> None:
    ids = torch.tensor([[7, 8, 11, 10, PAD]], dtype=torch.uint8)
    logits = torch.zeros(1, 5, 16)
    logits[0, 0, 8] = float(np.log(3))
    total, weight = next_base_sums(logits, ids)
    # C with probability 3/6 after A, T with 1/4 after N; N and padding are no targets.
    assert float(weight) == 2
    assert float(total) == pytest.approx(np.log(2) + np.log(4))
    total, weight = next_base_sums(logits, ids, torch.tensor([[9, 0.5, 9, 1, 9.0]]))
    assert (float(total), float(weight)) == (pytest.approx(0.5 * np.log(2) + np.log(4)), 1.5)
    logits[..., :7] = logits[..., 11:] = 50  # symbols other than the four bases take no part
    assert float(next_base_sums(logits, ids)[0]) == pytest.approx(np.log(2) + np.log(4))


def test_stages_must_leave_the_last_open() -> None:
    assert DataSettings(stages=(Stage(length=8, steps=1), Stage(length=16))).stages[1].steps is None
    with pytest.raises(ValueError, match="leave its steps out"):
        DataSettings(stages=(Stage(length=8), Stage(length=16)))


def test_a_batch_is_a_tuple_that_lightning_can_move() -> None:
    from lightning_fabric.utilities.apply_func import move_data_to_device

    batch = move_data_to_device(collate([Item(encode("ACGT"))]), torch.device("meta"))
    assert isinstance(batch, Batch)
    assert batch.ids.device.type == "meta"
    assert batch.tokens == 4


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_reading_processes_end_with_a_run_that_is_killed() -> None:
    context = multiprocessing.get_context("fork")
    alive, held = os.pipe()  # its end is seen when nobody holds the other side any more

    def read() -> None:
        begin_reading(0)
        os.write(held, os.getpid().to_bytes(8))
        while True:
            signal.pause()

    def run() -> None:
        context.Process(target=read).start()
        os.kill(os.getpid(), signal.SIGKILL)

    killed = context.Process(target=run)
    killed.start()
    os.close(held)
    killed.join()
    with os.fdopen(alive, "rb", buffering=0) as stream:
        said = stream.read(8)
        ended = bool(select.select([stream], [], [], HANG)[0]) and stream.read(1) == b""
        if said and not ended:
            os.kill(int.from_bytes(said), signal.SIGKILL)
    assert ended
