"""HyenaDNA as a LightningModule: the loss, the optimiser and what is measured."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from genoconv.errors import TrainingError, UsageError
from genoconv.models.hyena import HyenaDNA
from genoconv.train.clock import Clock
from genoconv.train.data import Batch
from genoconv.train.loss import next_base_loss
from genoconv.train.optim import adamw, apply_settings, rate_multiplier
from genoconv.train.settings import OptimSettings


class LanguageModel(pl.LightningModule):
    """Next-base prediction.

    Args:
        model: the network.
        optim: optimiser and schedule.
        clock: how far the run is; the cosine follows it.
        seed: dropout at batch ``i`` depends on it and on ``i`` alone, so that a resumed run repeats one that was not
            interrupted.
        in_a_hurry: asked between batches of held-out windows; once it is true the rest is left out.

    Attributes:
        valid_loss: nats a base on the held-out windows when they were last read; NaN before, and where the reading
            was broken off or met no base.
    """

    def __init__(
        self,
        model: HyenaDNA,
        *,
        optim: OptimSettings,
        clock: Clock,
        seed: int,
        in_a_hurry: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self.model = model
        self.optim = optim
        self.clock = clock
        self.seed = seed
        self.valid_loss = math.nan
        self._in_a_hurry = in_a_hurry
        self._held_out: list[Tensor] = []
        self._broken_off = False
        self._rate = 0.0

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Mean loss of one batch; again as ``nats`` a base, which Lightning does not divide by what is accumulated."""
        dropout = np.random.SeedSequence([self.seed, self.clock.batches, self.global_rank])
        torch.manual_seed(int(dropout.generate_state(1)[0]))
        try:
            total, weight = self._loss(batch)
        except UsageError as error:  # the convolution refuses numbers that are not finite
            if all(bool(torch.isfinite(weights).all()) for weights in self.parameters()):
                raise
            step, rate = self.trainer.global_step, self._rate
            raise TrainingError(
                f"the weights are no longer finite after step {step}, learning rate {rate:.3g}"
            ) from error
        self._rate = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        self.clock.count(batch.tokens)
        loss = total / weight.clamp(min=1.0)
        return {"loss": loss, "nats": loss.detach()}

    def on_validation_epoch_start(self) -> None:
        """Forget the sums of the last time."""
        self._held_out, self._broken_off = [], False

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch of held-out windows to the sums."""
        if self._broken_off or self._in_a_hurry():
            self._broken_off = True
        else:
            self._held_out.append(torch.stack(self._loss(batch)).double())

    def on_validation_epoch_end(self) -> None:
        """Loss over all held-out bases of all processes, each counted once."""
        sums = torch.stack(self._held_out).sum(0) if self._held_out else torch.zeros(2, dtype=torch.float64)
        broken_off = torch.tensor([float(self._broken_off)], dtype=torch.float64)
        gathered = self.all_gather(torch.cat([sums.cpu(), broken_off]).to(self.device))
        assert isinstance(gathered, Tensor)
        total, weight, broken = gathered.reshape(-1, 3).sum(0).tolist()
        self.valid_loss = total / weight if weight and not broken else math.nan

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        weights = batch.weights if batch.weights.numel() else None
        return next_base_loss(self.model(batch.ids), batch.ids, weights)

    def configure_optimizers(self) -> Any:
        """AdamW, its learning rate set at every step."""
        optimizer = adamw(self.model, self.optim)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_multiplier(self.optim, self.clock.progress))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Settings win over what a checkpoint remembers of them, so that a resumed run can be given a lower rate."""
        schedule = self.lr_schedulers()
        assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR)
        apply_settings(schedule, self.model, self.optim)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counters beside the weights; plain numbers, so that loading unpickles nothing."""
        checkpoint["genoconv"] = self.clock.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the counters up again."""
        self.clock.restore(checkpoint["genoconv"])
