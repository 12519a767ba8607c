"""HyenaDNA as a LightningModule: the loss, the optimiser and what is measured."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from genoconv.models.hyena import HyenaDNA
from genoconv.train.clock import Clock
from genoconv.train.data import Batch
from genoconv.train.loss import next_base_loss
from genoconv.train.optim import adamw, rate_multiplier
from genoconv.train.settings import OptimSettings


class LanguageModel(pl.LightningModule):
    """Next-base prediction.

    Args:
        model: the network.
        optim: optimiser and schedule.
        clock: how far the run is; the cosine follows it.
        seed: dropout at batch ``i`` depends on it and on ``i`` alone, so that a resumed run repeats one that was not
            interrupted.

    Attributes:
        valid_loss: nats a base on the held-out windows when they were last read; NaN before.
    """

    def __init__(self, model: HyenaDNA, *, optim: OptimSettings, clock: Clock, seed: int) -> None:
        super().__init__()
        self.model = model
        self.optim = optim
        self.clock = clock
        self.seed = seed
        self.valid_loss = math.nan
        self._held_out: list[Tensor] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean loss of one batch, in nats a base."""
        torch.manual_seed(hash((self.seed, self.clock.batches, self.global_rank)) % 2**31)
        total, weight = self._loss(batch)
        self.clock.count(batch.ids)
        return total / weight.clamp(min=1.0)

    def on_validation_epoch_start(self) -> None:
        """Forget the sums of the last time."""
        self._held_out = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch of held-out windows to the sums."""
        self._held_out.append(torch.stack(self._loss(batch)).double())

    def on_validation_epoch_end(self) -> None:
        """Loss over all held-out bases of all processes, each counted once."""
        sums = torch.stack(self._held_out).sum(0) if self._held_out else torch.zeros(2, dtype=torch.float64)
        gathered = self.all_gather(sums.to(self.device))
        assert isinstance(gathered, Tensor)
        total, weight = gathered.reshape(-1, 2).sum(0).tolist()
        self.valid_loss = total / weight if weight else math.nan

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        weights = batch.weights if batch.weights.numel() else None
        return next_base_loss(self.model(batch.ids), batch.ids, weights)

    def configure_optimizers(self) -> Any:
        """AdamW, its learning rate set at every step."""
        optimizer = adamw(self.model, self.optim)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_multiplier(self.optim, self.clock.progress))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Counters beside the weights; plain numbers, so that loading unpickles nothing."""
        checkpoint["genoconv"] = self.clock.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the counters up again."""
        self.clock.restore(checkpoint["genoconv"])
