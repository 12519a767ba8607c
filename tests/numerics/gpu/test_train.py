"""On a GPU: training through CUDA graphs takes the steps that training without them takes."""

import csv
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from gpu_kernels import ON_A_GPU
from torch import Tensor
from train_runs import TINY, patterned_genome, train_tiny

from genoconv.models import HyenaDNA, ModelConfig
from genoconv.train.batch import Batch
from genoconv.train.exchange import Exchange
from genoconv.train.graphs import GraphedSums
from genoconv.train.objectives.next_base import NextBase
from genoconv.train.update import Update
from support import HANG, cli_environment

pytestmark = ON_A_GPU

CONFIG = ModelConfig(d_model=32, n_layer=2, max_length=512, filter_order=16)


def batch_of(seed: int, *, weighted: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(7, 12, (4, 300), generator=generator).to(torch.uint8)
    weights = torch.rand(4, 300, generator=generator) if weighted else torch.empty(0)
    return Batch(ids.cuda(), weights.cuda(), 1200, torch.empty(0, device="cuda"))


def step(sums_of, model: HyenaDNA, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    model.zero_grad(set_to_none=True)
    torch.manual_seed(5)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        sums = sums_of(batch)
    (sums[0] / sums[1].clamp(min=1.0)).backward()
    return sums.detach(), [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("weighted", [False, True])
def test_a_graph_takes_the_same_step_with_the_same_dropout(weighted: bool) -> None:
    torch.manual_seed(0)
    model, objective = HyenaDNA(CONFIG).cuda().train(), NextBase()
    graphed = GraphedSums(model, objective)
    for seed in range(7):
        batch = batch_of(seed, weighted=weighted)
        want, gradients = step(lambda batch: objective.sums(model, batch), model, batch)
        got, found = step(graphed, model, batch)
        assert torch.allclose(got, want, rtol=1e-5)
        for a, b in zip(found, gradients, strict=True):
            # Dropout that differs, or weights of an earlier step, are off by far more than bfloat16 rounds.
            assert float((a - b).norm()) <= 5e-3 * float(b.norm()) + 1e-9
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.99)
    assert graphed.enabled
    assert graphed._graph is not None


def test_a_smaller_batch_goes_through_the_same_graph() -> None:
    torch.manual_seed(0)
    model, objective = HyenaDNA(replace(CONFIG, embed_dropout=0.0, resid_dropout=0.0)).cuda().train(), NextBase()
    graphed = GraphedSums(model, objective)
    for seed in range(4):
        step(graphed, model, batch_of(seed, weighted=True))
    graph = graphed._graph
    whole = batch_of(8, weighted=True)
    smaller = whole._replace(ids=whole.ids[:3, :200], weights=whole.weights[:3, :200].contiguous(), tokens=600)
    for batch in (smaller, whole):
        want, gradients = step(lambda batch: objective.sums(model, batch), model, batch)
        got, found = step(graphed, model, batch)
        assert torch.allclose(got, want, rtol=1e-4)
        for a, b in zip(found, gradients, strict=True):
            assert float((a - b).norm()) <= 2e-2 * float(b.norm()) + 1e-9
    assert graphed._graph is graph


def test_gradients_of_graphed_steps_add_up() -> None:
    torch.manual_seed(0)
    model, objective = HyenaDNA(CONFIG).cuda().train(), NextBase()
    graphed = GraphedSums(model, objective)
    for seed in range(5):
        _, first = step(graphed, model, batch_of(seed))
    _, second = step(graphed, model, batch_of(9))
    step(graphed, model, batch_of(4))
    torch.manual_seed(5)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        sums = graphed(batch_of(9))
    (sums[0] / sums[1].clamp(min=1.0)).backward()
    for parameter, a, b in zip(model.parameters(), first, second, strict=True):
        assert torch.allclose(parameter.grad, a + b, rtol=1e-4, atol=1e-7)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """A run of several processes that has one: NCCL takes part in its steps."""
    where = f"file://{tmp_path / 'meeting'}"
    dist.init_process_group("nccl", init_method=where, rank=0, world_size=1, device_id=torch.device("cuda", 0))
    yield
    dist.destroy_process_group()


def test_a_graph_with_the_update_leaves_the_weights_that_separate_steps_leave() -> None:
    check_updates(exchanged=False)


def test_an_exchange_after_a_graph_leaves_the_weights_that_separate_steps_leave(one_process: None) -> None:
    check_updates(exchanged=True)


def test_the_graph_after_an_exchange_leaves_the_bits_that_launches_leave(one_process: None) -> None:
    """Of the same gradients, some of them missing, as a step without a graph of its own gives them."""
    weights = {}
    for graphs in (True, False):
        torch.manual_seed(0)
        model = HyenaDNA(CONFIG).cuda()
        optimizer = torch.optim.AdamW([{"params": model.parameters(), "lr": 1e-3}], fused=True)
        update = Update(optimizer, clip=0.5, exchange=Exchange(model), graphs=graphs)
        generator = torch.Generator().manual_seed(1)
        for number in range(6):
            optimizer.param_groups[0]["lr"] = 1e-3 / (1 + number)  # which float32 rounds
            optimizer.zero_grad()
            for index, parameter in enumerate(model.parameters()):
                gradient = torch.randn(parameter.shape, generator=generator) * 10.0 ** -(number % 3)
                parameter.grad = gradient.cuda() if index != number else None
            update()
        assert (update._graph is not None) is graphs
        assert float(optimizer.state[next(model.parameters())]["step"]) == 6
        weights[graphs] = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert bool(weights[True].isfinite().all())
    assert torch.equal(weights[True], weights[False])


def check_updates(*, exchanged: bool) -> None:
    """Steps with and without graphs leave the same weights."""
    weights, sums = {}, {}
    for whole in (True, False):
        torch.manual_seed(0)
        model, objective = HyenaDNA(CONFIG).cuda().train(), NextBase()
        optimizer = torch.optim.AdamW([{"params": model.parameters(), "lr": 1e-3}], fused=True)
        exchange = Exchange(model) if exchanged else None
        assert exchange is None or exchange._early  # part of it goes beside the backward pass
        graphed, update = GraphedSums(model, objective), Update(optimizer, clip=0.5, exchange=exchange)
        graphed.update = update if whole else None
        for number in range(12):
            optimizer.param_groups[0]["lr"] = 1e-3 * (12 - number) / 12
            torch.manual_seed(number)
            with torch.autocast("cuda", dtype=torch.bfloat16):
                found = graphed(batch_of(number))
            sums[whole] = found.detach()
            assert graphed.updated is (whole and number >= 3)
            if not graphed.updated:
                optimizer.zero_grad()
                (found[0] / found[1]).backward()
                update()
            assert (update._graph is not None) is (exchanged and number >= 1)
            del found  # or the next capture meets the streams of this step's graph
        assert type(optimizer.param_groups[0]["lr"]) is float
        assert float(optimizer.state[next(model.parameters())]["step"]) == 12
        weights[whole] = torch.cat([p.detach().flatten() for p in model.parameters()])
    torch.manual_seed(0)
    first = torch.cat([p.detach().flatten() for p in HyenaDNA(CONFIG).parameters()]).cuda()
    assert torch.allclose(sums[True], sums[False], rtol=1e-3)
    # A learning rate or a norm that a graph keeps from its capture moves weights elsewhere.
    assert float((weights[True] - weights[False]).norm()) < 0.05 * float((weights[False] - first).norm())


def test_a_run_learns_the_same_with_and_without_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fasta = patterned_genome(tmp_path / "g.fa")
    losses = {}
    with caplog.at_level(logging.INFO):
        for enabled in (True, False):
            if not enabled:
                monkeypatch.setattr(GraphedSums, "_pays", lambda self, batch: False)
            folder = train_tiny(
                tmp_path / str(enabled),
                fasta,
                "run.device=cuda",
                "run.devices=1",
                "data.workers=2",
                "run.log_every=20",
                max_steps=60,
            )
            with (folder / "metrics.csv").open() as file:
                losses[enabled] = [float(row["loss"]) for row in csv.DictReader(file)]
    assert "without CUDA graphs" not in caplog.text
    assert losses[True][-1] < losses[True][0]
    assert losses[True] == pytest.approx(losses[False], abs=0.02)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_learn_what_one_does_with_twice_the_batches(tmp_path: Path, home: Path) -> None:
    fasta = patterned_genome(tmp_path / "g.fa")
    command = tmp_path / "command.py"
    command.write_text("from genoconv.cli import main\nmain()\n")
    losses = []
    for devices, accumulate in ((2, 1), (1, 2)):
        folder = tmp_path / str(devices)
        own = (f"run.devices={devices}", f"data.accumulate={accumulate}", "run.device=cuda", "run.precision=32")
        same = ("model.embed_dropout=0", "data.reverse_complement=false", "run.log_every=5")
        words = ["train", "-f", str(fasta), "-o", str(folder), "--max-steps", "40"]
        words += [word for pair in (*TINY, *same, *own) for word in ("--set", pair)]
        result = subprocess.run(
            [sys.executable, command, *words], env=cli_environment(home), capture_output=True, text=True, timeout=HANG
        )
        assert result.returncode == 0, result.stderr
        assert "CUDA graph" not in result.stderr  # that there is none
        with (folder / "metrics.csv").open() as file:
            losses.append([float(row["loss"]) for row in csv.DictReader(file)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0][-1] < losses[0][0]
