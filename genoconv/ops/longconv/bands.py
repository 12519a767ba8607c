"""Bands of neighbouring frequencies on the kernels of dense filters.

Which band a frequency belongs to shows in the last stage of a transform alone, so nothing can be left out: a filter of
few bands takes the time of a dense one. What is masked is T(k) as the kernels keep it: its 256-point tiles have the
last digit of the frequency, d', in their columns, whatever the size of the transform (`csrc/one_sm/README.md`).
"""

import torch
from torch import Tensor

from genoconv.ops.longconv.sparse import BLOCKS, FrequencyMask
from genoconv.ops.longconv.spectrum import StoredSpectrum

_ROOM = 16384.0
"""Largest value that a skip may have beside the scale of its line."""


def keep_bands(made: StoredSpectrum, skip: Tensor | None, keep: FrequencyMask) -> StoredSpectrum:
    """T(k) + D without the frequencies that ``keep`` drops of T(k). ``made`` is overwritten.

    Args:
        made: T(k) + D in the order of the kernels, with one scale per channel, or [that of the channel][of its lines].
        skip: D (H,) or None.
        keep: a mask of bands, whose number divides 16.
    """
    H, count = made.scale.shape
    scales = made.scale if count == 1 else made.scale[:, 1:]
    # [tile][n][row g][t][row g or g + 8][re, im][e], column d' = 8 n + 2 t + e
    values = made.filter.view(torch.float16).view(H, scales.shape[1], -1, 2, 8, 4, 2, 2, 2)
    dropped = ~keep.flags(BLOCKS, made.filter.device).view(2, 1, 4, 1, 2)
    values.masked_fill_(dropped.unsqueeze(-2), 0.0)
    if skip is not None:
        D = skip.detach().float()[:, None]
        # A line where the filter cancels the skip has a smaller scale than the skip alone.
        power = (D.abs() / scales / _ROOM).log2().ceil().clamp(min=0).exp2()
        values.div_(power.view(H, -1, *(1,) * 7))
        scales.mul_(power)
        made.scale[:, 0] = scales.amax(1)
        real = values.select(-2, 0)
        real.copy_(torch.where(dropped, (D / scales).half().view(H, -1, *(1,) * 6), real))
    return made
