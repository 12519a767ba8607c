"""Positions as the filter network sees them: time, and sines of it. Letters as in :mod:`.filter`."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Positions:
    """A run of positions, as the filter network sees them.

    Attributes:
        start, count: the positions start to start + count.
        most: the length that features are scaled to.
        table: (most, E) features of all positions where they were trained; None computes them.
    """

    start: int
    count: int
    most: int
    table: Tensor | None = None

    def time(self, device: torch.device) -> Tensor:
        """t_n = n / (most - 1), shape (count,), rounded as ``torch.linspace(0, 1, most)`` does."""
        last = self.most - 1
        n = torch.arange(self.start, self.start + self.count, device=device, dtype=torch.float32)
        step = torch.tensor(1.0 / last, dtype=torch.float32, device=device)
        return torch.where(n < self.most // 2, n * step, 1.0 - (last - n) * step)

    def features(self, count: int, device: torch.device) -> Tensor:
        """Time, then cosines, then sines of the angle: (``count``, positions), in the published code's float32."""
        if self.table is not None:
            return self.table[self.start : self.start + self.count].T
        n = torch.arange(self.start, self.start + self.count, device=device, dtype=torch.float32)
        phase = -bands(count, device)[:, None] * (2 * torch.pi * n / self.most)
        return torch.cat([self.time(device)[None], torch.cos(phase), torch.sin(phase)])


def bands(features: int, device: torch.device) -> Tensor:
    """Frequencies of the cosines and sines among so many features."""
    count = (features - 1) // 2
    return torch.linspace(1e-4, count - 1, count, device=device)
