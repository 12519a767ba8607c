"""The tensors of a model: which of them are stored, their shapes, files of them, and a model made from them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from genoconv import atomic
from genoconv.errors import ModelError
from genoconv.models.config import ModelConfig
from genoconv.models.heads import HeadConfig, Predictor
from genoconv.models.hyena import HyenaDNA

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types that weights may have."""


def stored_tensors(model: HyenaDNA) -> dict[str, Tensor]:
    """Every tensor of ``model`` that is saved, once, under the first of its names."""
    names = model.state_dict(keep_vars=True)
    return {name: names[name] for name, first in _first_names(names).items() if name == first}


def _first_names(names: Mapping[str, Tensor]) -> dict[str, str]:
    """Of every name of a tensor, the first name that it has."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in names.items()}


def tensors_to_save(model: HyenaDNA, head: HeadConfig | None) -> dict[str, Tensor]:
    """:func:`stored_tensors` of a model whose names for one tensor may stand for several with the same values.

    ``load_state_dict(assign=True)`` leaves it like that.

    Raises:
        ModelError: their values differ.
    """
    tied = _first_names(bare_model(model.config, head, device="meta").state_dict(keep_vars=True))
    tensors = model.state_dict()
    for name, first in tied.items():
        if name != first and not torch.allclose(tensors[name], tensors[first], rtol=0, atol=0, equal_nan=True):
            raise ModelError(
                f"tensor {name} differs from {first}, but they are one tensor in this model; give both the same values"
            )
    return {name: tensors[name] for name, first in tied.items() if name == first}


def expected_shapes(config: ModelConfig, head: HeadConfig | None = None) -> dict[str, tuple[int, ...]]:
    """Names and shapes of :func:`stored_tensors` for a model of these sizes, without allocating one."""
    model = bare_model(config, head, device="meta")
    return {name: tuple(tensor.shape) for name, tensor in stored_tensors(model).items()}


def bare_model(config: ModelConfig, head: HeadConfig | None = None, *, device: str = "cpu") -> HyenaDNA:
    """A model whose parameters hold nothing yet; on "meta" it has shapes only and costs no memory."""
    with torch.device(device), _Uninitialised():
        return HyenaDNA(config) if head is None else Predictor(config, head)


class _Uninitialised(TorchFunctionMode):
    """Leaves out ``torch.nn.init``, and the values of ``torch.linspace``.

    What they give would be overwritten. ``init`` would also move the user's random state, and on the meta device one
    imports torch._dynamo and the other sympy, which takes one to two seconds each.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs.get("tensor", args[0] if args else None)
        if func is torch.linspace:
            return torch.empty(args[2])
        return func(*args, **kwargs)


def compare_tensors(tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Problems of ``tensors`` as the weights of a model with these shapes; one entry per tensor."""
    problems = [f"tensor {name} is missing" for name in shapes if name not in tensors]
    for name, tensor in tensors.items():
        if name not in shapes:
            problems.append(f"tensor {name} {list(tensor.shape)} belongs to no part of this model")
        elif tuple(tensor.shape) != shapes[name]:
            problems.append(
                f"tensor {name} is {list(tensor.shape)}, but the configuration implies {list(shapes[name])}"
            )
        elif tensor.layout != torch.strided or tensor.is_meta:
            problems.append(f"tensor {name} is {'without values' if tensor.is_meta else tensor.layout}, not dense")
        elif tensor.dtype not in FLOATING:
            problems.append(f"tensor {name} is {tensor.dtype}, not floating point of 16, 32 or 64 bits")
        elif not bool(torch.isfinite(tensor.float()).all()):
            problems.append(f"tensor {name} holds values that are not finite in float32")
    return problems


def build(config: ModelConfig, tensors: Mapping[str, Tensor], head: HeadConfig | None = None) -> HyenaDNA:
    """A float32 model on the CPU with these stored tensors, leaving torch's random state as it was."""
    model = bare_model(config, head)
    with torch.no_grad():
        for name, tensor in stored_tensors(model).items():
            tensor.copy_(tensors[name])
    return model


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        ModelError: not a safetensors file, or truncated.
    """
    try:
        # From bytes: safetensors takes no path that is not UTF-8.
        tensors: dict[str, Tensor] = safetensors.torch.load(path.read_bytes())
        return tensors
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: damaged or not a safetensors file ({error}); copy it again") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, atomically; no two tensors may share memory."""
    with atomic.atomic_file(path) as temporary:
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        # As bytes: safetensors takes no path that is not UTF-8, and says of a full disk what nobody understands.
        temporary.write_bytes(safetensors.torch.save(contiguous, metadata={"format": "pt"}))
