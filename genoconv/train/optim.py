"""AdamW's parameter groups and the learning rate over a run."""

import math
from collections.abc import Callable

import torch
from torch import nn

from genoconv.models.heads import HEAD_PREFIX
from genoconv.train.settings import HeadOptimSettings, OptimSettings


def parameter_groups(model: nn.Module, settings: OptimSettings) -> list[dict[str, object]]:
    """A head; matrices with decay; all the rest without; filters with a learning rate of their own and no decay."""
    groups: dict[str, list[nn.Parameter]] = {"filters": [], "decayed": [], "plain": [], "head": []}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if ".filter_fn." in name:
            groups["filters"].append(parameter)
        elif name.startswith(HEAD_PREFIX):
            groups["head"].append(parameter)
        elif parameter.ndim < 2 or "embeddings" in name:
            groups["plain"].append(parameter)
        else:
            groups["decayed"].append(parameter)
    head: list[dict[str, object]] = []
    if isinstance(settings, HeadOptimSettings):
        head = [{"params": groups["head"], "lr": settings.head_lr, "weight_decay": settings.weight_decay}]
    return [
        *head,
        {"params": groups["decayed"], "lr": settings.lr, "weight_decay": settings.weight_decay},
        {"params": groups["plain"], "lr": settings.lr, "weight_decay": 0.0},
        {"params": groups["filters"], "lr": settings.filter_lr, "weight_decay": 0.0},
    ]


def rate_multiplier(settings: OptimSettings, progress: Callable[[int], float]) -> Callable[[int], float]:
    """Share of the peak learning rate at a step: linear warm-up, then half a cosine down to ``final_lr_ratio``.

    Args:
        settings: warm-up and end.
        progress: share of the run that is done at a step, 0 to 1.
    """

    def multiplier(step: int) -> float:
        warm = min(1.0, (step + 1) / (settings.warmup_steps + 1))
        wave = 0.5 * (1 + math.cos(math.pi * min(1.0, progress(step))))
        return warm * (settings.final_lr_ratio + (1 - settings.final_lr_ratio) * wave)

    return multiplier


def adamw(model: nn.Module, settings: OptimSettings) -> torch.optim.AdamW:
    """The optimiser of :func:`parameter_groups`; on a GPU it updates each group in one kernel."""
    fused = all(parameter.is_cuda for parameter in model.parameters())
    return torch.optim.AdamW(parameter_groups(model, settings), betas=settings.betas, fused=fused or None)


def apply_settings(schedule: torch.optim.lr_scheduler.LambdaLR, model: nn.Module, settings: OptimSettings) -> None:
    """Give an optimiser under ``schedule`` that was restored from a checkpoint these settings, at the step it is at."""
    wanted = parameter_groups(model, settings)
    for group, new, multiplier in zip(schedule.optimizer.param_groups, wanted, schedule.lr_lambdas, strict=True):
        share = multiplier(schedule.last_epoch)
        group.update(initial_lr=new["lr"], weight_decay=new["weight_decay"], betas=settings.betas)
        group["lr"] = new["lr"] * share  # type: ignore[operator]
    schedule.base_lrs = [group["initial_lr"] for group in schedule.optimizer.param_groups]
