"""What the model refuses to read."""

import torch
from torch import Tensor

from genoconv.errors import ModelError
from genoconv.ops.registration import watched


def check_ids(input_ids: Tensor, *, vocabulary: int) -> None:
    """Refuse all but (B, N) integers from 0 to ``vocabulary - 1``.

    Raises:
        ModelError: another shape or type, no sequence, or an id outside the vocabulary. Ids on a GPU are not looked at:
            that would wait for every kernel before.
    """
    if not isinstance(input_ids, Tensor):
        raise ModelError(
            f"input_ids: got a {type(input_ids).__name__}; expected a tensor of token ids (genoconv.tokens.encode)"
        )
    if input_ids.ndim != 2 or input_ids.is_floating_point() or input_ids.is_complex():
        shape = "x".join(map(str, input_ids.shape)) or "scalar"
        raise ModelError(f"input_ids: got {shape} of {input_ids.dtype}; the model takes (batch, length) integers")
    if input_ids.shape[0] == 0:
        raise ModelError("input_ids: a batch without sequences; the model takes 1 or more")
    if watched(input_ids):  # by torch.compile, torch.export or vmap: the values are not there yet
        return
    if input_ids.device.type == "cpu" and input_ids.numel():
        low, high = (int(extreme) for extreme in torch.aminmax(input_ids.int()))
        if low < 0 or high >= vocabulary:
            wrong = low if low < 0 else high
            raise ModelError(f"input_ids: token id {wrong} is outside the vocabulary, 0 to {vocabulary - 1}")


def check_length(length: int, *, limit: int | None) -> None:
    """Refuse sequences of ``length`` tokens where the model reads 1 to ``limit``; None is any number.

    Raises:
        ModelError: too few or too many.
    """
    if length < 1 or (limit is not None and length > limit):
        takes = "1 or more" if limit is None else f"1 to {limit:,}; cut it into windows"
        raise ModelError(f"a sequence of {length:,} tokens: this model takes {takes}")
