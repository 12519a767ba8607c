"""Where a model computes and in which arithmetic: what ``--device`` and ``--precision`` mean, for every command."""

import torch

from genoconv.errors import UsageError

DTYPES = {"32": torch.float32, "bf16": torch.bfloat16}


def resolve_device(device: str | torch.device) -> torch.device:
    """A device that is there.

    Raises:
        UsageError: no such kind of device, or torch sees none of it.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        target = torch.device(device)
    except RuntimeError:
        raise UsageError(f"device {str(device)!r} is unknown; use auto, cpu, cuda or cuda:N") from None
    if target.type == "cuda" and (target.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        here = f"{count} CUDA device{'' if count == 1 else 's'}" if count else "no CUDA device"
        raise UsageError(f"device {str(device)!r}: torch sees {here} here; use auto or cpu, and see `genoconv doctor`")
    return target


def resolve_precision(precision: str, *, device: str | torch.device) -> str:
    """``32`` or ``bf16``, a key of :data:`DTYPES`; ``auto`` is ``bf16`` on GPUs that have it, ``32`` elsewhere.

    Raises:
        UsageError: as for :func:`resolve_device`.
    """
    target = resolve_device(device)
    if precision != "auto":
        return precision
    if target.type != "cuda":
        return "32"
    with torch.cuda.device(target):
        # Older GPUs emulate it, slower than float32.
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
