"""Checkpoints: written whole between two optimiser steps, and checked whole before anything is restored from one."""

import io
import math
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import TorchCheckpointIO
from torch import Tensor, nn

from genoconv import atomic
from genoconv.errors import DivergedError, ModelError
from genoconv.train.best import Best
from genoconv.train.callbacks import Measuring, between_steps, learning_rate
from genoconv.train.clock import Clock
from genoconv.train.module import Learner
from genoconv.wording import printable

_KEPT = 2
_PARTIAL = "partial.ckpt"
_FOREIGN = re.compile(r"GLOBAL (\S+) was not an allowed global")


class Files(TorchCheckpointIO):
    """Checkpoints of Lightning, written where they belong: by itself it writes them to the temporary folder first.

    That folder may be smaller, keeps what does not fit into theirs, and would be the one that an error names.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write one file; it is whole only if no error is raised."""
        written = io.BytesIO()  # torch would report a full disk as an internal error
        torch.save(checkpoint, written)
        Path(path).write_bytes(written.getbuffer())


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the most steps in ``folder``."""
    return max(folder.glob("step-*.ckpt"), default=None)


@dataclass(frozen=True)
class Restored:
    """What a run takes up from a checkpoint, apart from what Lightning restores itself.

    Attributes:
        path: of the file.
        step: optimiser steps done.
        batches: batches that each process has computed.
        seconds: of training so far.
        weights: of the model, by name.
        pending: sums that are not yet in a row of metrics.csv: [step, learning rate, sums...].
        limits: bases of each held-out set that are measured, where minutes limit them.
    """

    path: Path
    step: int
    batches: int
    tokens: int
    seconds: float
    weights: Mapping[str, Tensor]
    pending: list[list[float]]
    limits: list[int] | None


def read_checkpoint(path: Path, model: nn.Module, *, terms: int, best: Best | None = None) -> Restored:
    """Read a checkpoint of a run of ``model`` and check every part of it.

    Args:
        path: the file.
        model: decides names and shapes.
        terms: sums of the objective.
        best: takes the best weights so far, where the run keeps them.

    Raises:
        ModelError: damaged, of another model, or not written by ``genoconv train``; one line.
    """
    state = _loaded(path)
    try:
        own, step = _typed(state, "genoconv", dict), _count(state, "global_step")
        weights = _weights(_typed(state, "state_dict", dict), model)
        _check_optimizer(_typed(state, "optimizer_states", list), [p for p in model.parameters() if p.requires_grad])
        _check_loops(_typed(state, "loops", dict))
        schedules = _typed(state, "lr_schedulers", list)
        if len(schedules) != 1 or not isinstance(schedules[0], dict) or _count(schedules[0], "last_epoch") != step:
            raise ValueError("lr_schedulers does not fit the steps")
        _typed(state, "pytorch-lightning_version", str)
        _count(state, "epoch")
        pending, limits = own.get("pending", []), own.get("limits")
        if type(pending) is not list or not all(_numbers(record, terms + 2) for record in pending):
            raise ValueError("genoconv.pending is not a list of sums")
        if limits is not None and not (type(limits) is list and all(type(x) is int and x > 0 for x in limits)):
            raise ValueError("genoconv.limits is not a list of counts")
        seconds = own.get("seconds")
        if type(seconds) is not float or not 0 <= seconds < math.inf:
            raise ValueError("genoconv.seconds is not a time")
        counts = _count(own, "batches"), _count(own, "tokens")
        if best is not None and "best" in own:
            best.restore(_typed(own, "best", dict))
    except ValueError as error:
        raise ModelError(f"{path}: not a checkpoint of this run: {error}; remove it to use an older one") from None
    return Restored(path, step, *counts, seconds, weights, pending, limits)


def _loaded(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = _FOREIGN.search(str(error))
        if foreign:
            what = f"asks for the Python object {printable(foreign[1])[:80]}, which no genoconv checkpoint contains"
            raise ModelError(f"{path}: {what}; it was not loaded; remove it unless you know its source") from None
        raise _damaged(path) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or 'damaged'}") from error
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged archive or pickle brings about
        raise _damaged(path) from error
    if not isinstance(state, dict):
        raise _damaged(path)
    return state


def _damaged(path: Path) -> ModelError:
    return ModelError(f"{path}: damaged, or not a checkpoint of `genoconv train`; remove it to use an older one")


def _typed(record: Mapping[str, Any], name: str, kind: type) -> Any:
    value = record.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} is missing" if value is None else f"{name} is not a {kind.__name__}")
    return value


def _count(record: Mapping[str, Any], name: str) -> int:
    value: int = _typed(record, name, int)
    if not 0 <= value < 2**62:
        raise ValueError(f"{name} is out of range")
    return value


def _numbers(record: object, length: int) -> bool:
    return type(record) is list and len(record) == length and all(type(x) in (int, float) for x in record)


def _weights(found: Mapping[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors in ``found``, without the learner's prefix."""
    expected = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if found.keys() != expected.keys():
        name = sorted(map(str, found.keys() ^ expected.keys()))[0]
        raise ValueError(f"tensor {printable(name)[:80]} {'is missing' if name in expected else 'is of another model'}")
    for name, tensor in expected.items():
        value = found[name]
        if not isinstance(value, Tensor) or value.shape != tensor.shape or value.dtype != tensor.dtype:
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"tensor {name} is {shape}, this model has {list(tensor.shape)} of {tensor.dtype}")
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"tensor {name} holds values that are not finite")
    return {name.removeprefix("model."): found[name] for name in expected}


def _check_optimizer(found: list[Any], parameters: list[nn.Parameter]) -> None:
    if len(found) != 1 or not isinstance(found[0], dict):
        raise ValueError("optimizer_states is not the state of one optimiser")
    moments, groups = _typed(found[0], "state", dict), _typed(found[0], "param_groups", list)
    order = [index for group in groups for index in _typed(group, "params", list)]
    if sorted(order, key=repr) != sorted(range(len(parameters)), key=repr):
        raise ValueError("optimizer_states does not list this model's parameters")
    shapes = sorted(tuple(p.shape) for p in parameters)
    for name in ("exp_avg", "exp_avg_sq"):
        values = [record.get(name) for record in moments.values() if isinstance(record, dict)]
        tensors = [value for value in values if isinstance(value, Tensor)]
        if len(tensors) != len(values) or not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
            raise ValueError(f"optimizer_states: {name} is not finite numbers")
        if len(tensors) != len(moments) or (tensors and sorted(tuple(t.shape) for t in tensors) != shapes):
            raise ValueError(f"optimizer_states: {name} has other shapes than this model")


def _check_loops(found: Mapping[str, Any]) -> None:
    """Lightning's counters: nested dictionaries of plain values."""
    if "fit_loop" not in found:
        raise ValueError("loops.fit_loop is missing")
    values: list[Any] = [found]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values += value.values()
        elif value is not None and not (isinstance(value, int) and value >= 0):
            raise ValueError("loops holds more than counters")


class Checkpoints(pl.Callback):
    """Saves every ``every`` steps and where the run ends; keeps the newest two.

    Args:
        folder: where to.
        clock: how far the run is.
        measuring: its sums that are not yet a row are saved too.
        every: steps between checkpoints.
        saved: the step whose checkpoint is there already.
    """

    def __init__(self, folder: Path, clock: Clock, measuring: Measuring, *, every: int, saved: int) -> None:
        self.folder = folder
        self.clock = clock
        self.measuring = measuring
        self.every = every
        self._saved = saved
        self._rate = 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._rate = learning_rate(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if between_steps(trainer, self.clock) and (step % self.every == 0 or trainer.should_stop):
            self.save(trainer, pl_module)

    def save(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save a checkpoint of the step that was done last, unless it is there already."""
        step = trainer.global_step
        if step == self._saved:
            return
        if not all(bool(torch.isfinite(weights).all()) for weights in pl_module.parameters()):
            raise DivergedError(f"the weights are no longer finite after step {step}, learning rate {self._rate:.3g}")
        assert isinstance(pl_module, Learner)
        self.measuring.settle(trainer, pl_module)
        self._saved = step
        partial = self.folder / _PARTIAL
        try:
            trainer.save_checkpoint(partial)  # written by the first process, all must take part
        except OSError as error:
            error.filename = error.filename or str(partial)
            raise
        if trainer.is_global_zero:
            atomic.commit(partial, self.folder / f"step-{step:08d}.ckpt")
            for old in sorted(self.folder.glob("step-*.ckpt"))[:-_KEPT]:
                old.unlink()
