"""The weights of the best validation, and the patience with worse ones."""

import torch
from torch import nn

from genoconv.train.best import Best


def test_a_validation_that_comes_again_after_resuming_counts_once() -> None:
    best = Best(nn.Linear(1, 1), patience=2)
    for loss, step in ((1.0, 1), (2.0, 2), (2.0, 2)):
        best.seen(loss, step)
    assert not best.exhausted
    best.seen(2.0, 3)
    assert best.exhausted


def test_of_equal_losses_the_first_weights_are_kept() -> None:
    model = nn.Linear(1, 1, bias=False)
    best = Best(model, patience=None)
    for step, weight in enumerate((1.0, 2.0)):
        nn.init.constant_(model.weight, weight)
        best.seen(0.5, step)
    best.put_back()
    assert best.step == 0
    assert torch.equal(model.weight, torch.ones(1, 1))
