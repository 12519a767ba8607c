"""Quicker imports of torch and Lightning, which are most of the time until a command begins its work.

A quarter of the time of ``import torch`` goes into ``torch._meta_registrations``, operators written in Python for
tensors that have a shape and no values, which ``torch.compile``, ``torch.export`` and the like need, and nothing else.
Nobody looks into the module, it is imported for what its code does. So here its code waits until somebody does.

More than half of the time of ``import pytorch_lightning`` goes into the compiler, ``torch._dynamo``, of which it and
torch's optimisers want three names, and into torchmetrics, of which it wants two classes. The package torchmetrics
imports all its metrics, and with them scipy, transformers, torchvision and whatever else of theirs is installed. The
two classes come from the modules that define them, and those do without the rest.

Whatever waits is run when it is asked for anything else, and then is what it would have been.
"""

import contextlib
import gc
import logging
import sys
from collections.abc import Iterator
from typing import Any

from genoconv.pipelines.postponed import Known, later, postpone


class _Unseen:
    """A class of which there are no instances here."""


def _as_it_is(function: Any = None, *_: object, **__: object) -> Any:
    """A decorator that changes nothing, with or without arguments of its own."""
    return function or _as_it_is


_TORCH = {
    "torch._meta_registrations": Known(
        needed_by=frozenset({"torch._dynamo", "torch._inductor", "torch._export", "torch.onnx"})
    ),
}
_PLOT = "torchmetrics.utilities.plot"
_LIGHTNING = {
    "torch._dynamo": Known({"OptimizedModule": _Unseen, "disable": _as_it_is, "graph_break": lambda: None}),
    "torchmetrics": Known(
        {"_logger": logging.getLogger("torchmetrics")},
        below={"Metric": "metric", "MetricCollection": "collections", "__version__": "__about__"},
        first="utilities",
    ),
    _PLOT: Known(  # as where there is no matplotlib
        {
            "_AX_TYPE": object,
            "_PLOT_OUT_TYPE": tuple[object, object],
            "plot_single_or_multi_val": later(_PLOT, "plot_single_or_multi_val"),
        }
    ),
}


def lean_torch() -> None:
    """Make the ``import torch`` that follows a lean one; without effect where torch is imported already.

    For commands that run models as they are. Those that train need more of torch: processes that read data ask for
    random numbers, which want operators of torch written in Python.
    """
    if "torch" not in sys.modules:
        postpone(_TORCH)


def lean_lightning() -> None:
    """Make the ``import pytorch_lightning`` that follows a lean one; without effect where it is imported already.

    The compiler waits as long as nobody compiles, and metrics as long as nobody asks for them.
    """
    if "pytorch_lightning" not in sys.modules:
        postpone(_LIGHTNING)


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """Import something large without looking for garbage, nor among it later: modules make many objects; all stay."""
    enabled, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            gc.freeze()
        if enabled:
            gc.enable()
