"""A packed batch teaches what its windows teach one by one: the same loss and gradients, nothing from a neighbour."""

import numpy as np
import pytest
import torch
from torch import Tensor

from genoconv.models import HyenaDNA, ModelConfig
from genoconv.tokens import A, T
from genoconv.train.batch import NO_STRATUM, Batch, Item, Parcel, collate, collate_packed
from genoconv.train.mixture import Strata
from genoconv.train.objectives.next_base import NextBase

CONFIG = ModelConfig(d_model=16, n_layer=2, max_length=256, filter_order=16, embed_dropout=0.0, resid_dropout=0.0)
OBJECTIVE = NextBase(Strata(sources=("one", "other"), regions=("cds", "rest")))
LENGTHS = (200, 1, 2, 90, 31, 200)


def items(lengths: tuple[int, ...], *, weighted: bool) -> list[Item]:
    """Windows of random bases, a few of them unknown, of which every one has weights and strata of its own."""
    random = np.random.default_rng(4)
    return [
        Item(
            random.integers(A, T + 2, length, dtype=np.uint8),
            random.random(length, dtype=np.float32) if weighted else None,
            strata=random.integers(0, 4, length, dtype=np.uint8),
        )
        for length in lengths
    ]


def model(config: ModelConfig = CONFIG) -> HyenaDNA:
    """Random weights, large enough that a base depends on all before it."""
    torch.manual_seed(3)
    made = HyenaDNA(config).train()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    return made


def learnt(made: HyenaDNA, batches: list[Batch]) -> tuple[Tensor, dict[str, Tensor]]:
    """The sums of all batches, and the gradients of their loss."""
    made.zero_grad(set_to_none=True)
    total = torch.stack([OBJECTIVE.sums(made, batch).double() for batch in batches]).sum(0)
    (total[0] / total[1]).backward()
    return total.detach(), {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_packed_batch_is_its_windows_one_by_one(weighted: bool, checkpointing: bool) -> None:
    windows, made = items(LENGTHS, weighted=weighted), model()
    made.checkpointing = checkpointing
    packed = collate_packed(windows)
    assert packed.ids.shape == (1, packed.tokens) == (1, sum(LENGTHS))
    sums, gradients = learnt(made, [packed])
    want, wanted = learnt(made, [collate([window]) for window in windows])
    torch.testing.assert_close(sums, want, rtol=1e-4, atol=1e-3)
    assert all(sums[[1, 6, 7, 8, 9]] > 0)  # weight, and the bases of every stratum
    for name, gradient in wanted.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=2e-3, atol=2e-3 * float(gradient.abs().max()))


def test_the_first_base_of_a_window_is_no_target_and_a_reading_process_hands_all_over() -> None:
    windows = items((3, 2), weighted=False)
    batch = Parcel(collate_packed(windows)).open()
    assert batch.cu_seqlens == (0, 3, 5)
    assert batch.ids.tolist() == [[*windows[0].tokens, *windows[1].tokens]]
    assert batch.weights.tolist() == [[0, 1, 1, 0, 1]]
    strata = [window.strata.tolist() for window in windows if window.strata is not None]
    assert batch.strata.tolist() == [[NO_STRATUM, *strata[0][1:], NO_STRATUM, strata[1][1]]]
    plain = collate_packed([Item(window.tokens) for window in windows])
    assert plain.strata.numel() == plain.targets.numel() == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU; torch sees none here")
@pytest.mark.parametrize("autocast", [False, True])
def test_a_packed_batch_is_its_windows_one_by_one_on_a_gpu(autocast: bool) -> None:
    lengths = (70_000, 3, 41_000, 500, 20_000, 19_000, 1)
    made = model(ModelConfig(d_model=32, n_layer=2, max_length=2**17, filter_length=2**15, embed_dropout=0.0)).cuda()
    windows = items(lengths, weighted=True)

    def moved(batch: Batch) -> Batch:
        return batch._replace(**{n: x.cuda() for n, x in batch._asdict().items() if isinstance(x, Tensor)})

    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=autocast):
        sums, gradients = learnt(made, [moved(collate_packed(windows))])
        want, wanted = learnt(made, [moved(collate([window])) for window in windows])
    torch.testing.assert_close(sums, want, rtol=2e-3 if autocast else 1e-4, atol=1e-2)
    for name, gradient in wanted.items():
        assert float((gradients[name] - gradient).norm()) <= (5e-2 if autocast else 2e-3) * float(gradient.norm()), name
