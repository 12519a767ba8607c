"""On a GPU: training through CUDA graphs takes the steps that training without them takes."""

import csv
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from gpu_kernels import ON_A_GPU
from torch import Tensor
from train_runs import patterned_genome, train_tiny

from genoconv.models import HyenaDNA, ModelConfig
from genoconv.train.batch import Batch
from genoconv.train.exchange import Exchange
from genoconv.train.graphs import GraphedSums, Update
from genoconv.train.objectives.next_base import NextBase

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


def check_updates(*, exchanged: bool) -> None:
    """Steps with and without graphs leave the same weights."""
    weights, sums = {}, {}
    for whole in (True, False):
        torch.manual_seed(0)
        model, objective = HyenaDNA(CONFIG).cuda().train(), NextBase()
        optimizer = torch.optim.AdamW([{"params": model.parameters(), "lr": 1e-3}], fused=True)
        exchange = Exchange(model) if exchanged else None
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
