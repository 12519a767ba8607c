"""genoconv: long-context genomics on fused FFT convolutions.

Importing this package imports neither torch nor any reader: names below are resolved on first use.

* ``genoconv.load_model(MODEL, device=..., dtype=...)`` gives a torch module, see :func:`genoconv.models.load_model`.
* ``genoconv.score(model, ref, alt)`` compares sequences under a model, see :func:`genoconv.tasks.sequences.score`.
* ``genoconv.fftconv(u, k, ...)`` is the long convolution, see :func:`genoconv.ops.fftconv`.
* :mod:`genoconv.ops` has the other operators, :mod:`genoconv.models` the network and its sizes, :mod:`genoconv.tokens`
  the token ids and :mod:`genoconv.errors` the errors; none of them has to be imported on its own.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genoconv import errors, models, ops, tokens
    from genoconv.models import load_model
    from genoconv.ops import fftconv
    from genoconv.tasks.sequences import score

try:
    __version__ = version("genoconv")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

_LAZY = {
    "load_model": ("genoconv.models", "load_model"),
    "fftconv": ("genoconv.ops", "fftconv"),
    "score": ("genoconv.tasks.sequences", "score"),
}

_SUBMODULES = ("errors", "models", "ops", "tokens")

__all__ = ["__version__", "errors", "fftconv", "load_model", "models", "ops", "score", "tokens"]


if not TYPE_CHECKING:  # a type checker would take any name for Any

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            module, attribute = _LAZY[name]
            return getattr(import_module(module), attribute)
        if name in _SUBMODULES:
            return import_module(f"genoconv.{name}")
        raise AttributeError(f"module 'genoconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_SUBMODULES})
