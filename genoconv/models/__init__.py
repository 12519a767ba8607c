"""HyenaDNA models: sizes, the network, checkpoints of our own and published ones. Names resolve on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genoconv.models.checkpoint import load_model, model_digest, save_model
    from genoconv.models.config import PRESETS, ModelConfig, preset
    from genoconv.models.hyena import HyenaDNA

_HOMES = {
    "ModelConfig": "config",
    "PRESETS": "config",
    "preset": "config",
    "HyenaDNA": "hyena",
    "load_model": "checkpoint",
    "save_model": "checkpoint",
    "model_digest": "checkpoint",
}

__all__ = ["PRESETS", "HyenaDNA", "ModelConfig", "load_model", "model_digest", "preset", "save_model"]


if not TYPE_CHECKING:  # a type checker would take any name for Any

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            return getattr(import_module(f"genoconv.models.{_HOMES[name]}"), name)
        raise AttributeError(f"module 'genoconv.models' has no attribute {name!r}")
