"""A model and its objective as a LightningModule: the training step and the optimiser."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from genoconv.errors import DivergedError, UsageError
from genoconv.train.batch import Batch, Parcel
from genoconv.train.clock import Clock
from genoconv.train.exchange import Exchange
from genoconv.train.graphs import GraphedSums
from genoconv.train.objectives import Objective
from genoconv.train.optim import adamw, apply_settings, rate_multiplier
from genoconv.train.parts import PartedSums, parts_of
from genoconv.train.settings import OptimSettings
from genoconv.train.update import Update


class Learner(pl.LightningModule):
    """A model that learns.

    Args:
        model: the network.
        objective: what it learns.
        optim: optimiser and schedule.
        clock: how far the run is; the cosine follows it.
        at_once: tokens of a batch that are computed at a time; None computes batches whole.
        graphs: whether steps may go through CUDA graphs.
        seed: dropout at batch ``i`` depends on it and on ``i`` alone, so that a resumed run repeats one that was not
            interrupted.

    Attributes:
        state: what callbacks keep in checkpoints beside the clock; plain numbers and lists.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        objective: Objective,
        optim: OptimSettings,
        clock: Clock,
        seed: int,
        at_once: int | None = None,
        graphs: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.optim = optim
        self.clock = clock
        self.seed = seed
        self.state: dict[str, Any] = {}
        self._rate = 0.0
        self._graphed = GraphedSums(model, objective, enabled=graphs)
        self._parted = PartedSums(model, objective)
        self._at_once = at_once
        self._update: Update | None = None

    def on_before_batch_transfer(self, batch: Batch | Parcel, dataloader_idx: int) -> Batch:
        """A batch as it comes from the loader, which opens those that it pins."""
        return batch.open() if isinstance(batch, Parcel) else batch

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Mean loss of one batch, and its ``sums``, which Lightning does not divide by what is accumulated."""
        dropout = np.random.SeedSequence([self.seed, self.clock.batches, self.global_rank])
        _generator(self.device).manual_seed(int(dropout.generate_state(1)[0]))
        sums = self.sums(batch)
        self._rate = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        self.clock.count(batch.tokens)
        return {"loss": sums[0] / sums[1].clamp(min=1.0), "sums": sums.detach()}

    def sums(self, batch: Batch) -> Tensor:
        """The objective's sums of one batch.

        Raises:
            DivergedError: the weights are no longer finite.
        """
        try:
            parts = [batch] if self._at_once is None else parts_of(batch, at_once=self._at_once)
            if len(parts) == 1 or not torch.is_grad_enabled():
                return self._graphed(batch)
            self._graphed.updated = False
            return self._parted(parts)
        except UsageError as error:  # the convolution refuses numbers that are not finite
            if all(bool(torch.isfinite(weights).all()) for weights in self.parameters()):
                raise
            step, rate = self.trainer.global_step, self._rate
            raise DivergedError(
                f"the weights are no longer finite after step {step}, learning rate {rate:.3g}"
            ) from error

    def configure_optimizers(self) -> Any:
        """AdamW, its learning rate set at every step."""
        optimizer = adamw(self.model, self.optim)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_multiplier(self.optim, self.clock.progress))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Compute the gradients, clip the norm of all of them, step; a graph may have done it all in the closure."""
        assert optimizer_closure is not None
        optimizer_closure()
        if not self._graphed.updated:
            assert self._update is not None
            self._update()

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Before the gradients of a step, unless a graph keeps its own."""
        if not self._graphed.updated:
            optimizer.zero_grad()

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Nothing is left of it where a graph has taken the step."""
        if not self._graphed.updated:
            loss.backward()  # type: ignore[no-untyped-call]

    def on_train_start(self) -> None:
        """Settings win over what a checkpoint remembers of them, so that a resumed run can be given a lower rate."""
        schedule = self.lr_schedulers()
        assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR)
        apply_settings(schedule, self.model, self.optim)
        exchange = Exchange(self.model) if self.trainer.world_size > 1 else None
        graphs = self._graphed.enabled
        self._update = Update(schedule.optimizer, clip=self.optim.clip, exchange=exchange, graphs=graphs)
        if self.trainer.accumulate_grad_batches == 1:
            self._graphed.update = self._update

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counters beside the weights; plain numbers, so that loading unpickles nothing."""
        checkpoint["genoconv"] = {**self.clock.state(), **self.state}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the counters up again."""
        self.clock.restore(checkpoint["genoconv"])


def _generator(device: torch.device) -> torch.Generator:
    """The one that dropout on a device draws from; torch.manual_seed asks every kind of device, which takes longer."""
    return torch.cuda.default_generators[device.index or 0] if device.type == "cuda" else torch.default_generator
