"""Quicker imports of torch and Lightning, which are most of the time until a command begins its work.

A quarter of the time of ``import torch`` goes into ``torch._meta_registrations``, operators written in Python for
tensors that have a shape and no values, which ``torch.compile``, ``torch.export`` and the like need, and nothing else.
Nobody looks into the module, it is imported for what its code does. So here its code waits until somebody does.

More than half of the time of ``import pytorch_lightning`` goes into the compiler, ``torch._dynamo``, of which it and
torch's optimisers want three names, and into what torchmetrics imports where it is installed: scipy to look for a name
and matplotlib to annotate functions that draw. Those names are answered here without the modules.
"""

import contextlib
import gc
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

_POSTPONED = "torch._meta_registrations"
# Whoever imports one of these, or something below it, is about to need them.
_NEED_THEM = frozenset({"torch._dynamo", "torch._inductor", "torch._export", "torch.onnx"})


class _Unseen:
    """A class of which there are no instances here."""


def _as_it_is(function: Any = None, *_: object, **__: object) -> Any:
    """A decorator that changes nothing, with or without arguments of its own."""
    return function or _as_it_is


# Module -> what it answers until it is asked for more.
_COMPILER: dict[str, dict[str, Any]] = {
    "torch._dynamo": {"OptimizedModule": _Unseen, "disable": _as_it_is, "graph_break": lambda: None},
}
_LOOKED_AT: dict[str, dict[str, Any]] = {
    "scipy.signal": {"hamming": None},
    "matplotlib": {"colors": SimpleNamespace(Colormap=_Unseen)},
    "matplotlib.axes": {"Axes": _Unseen},
    "matplotlib.pyplot": {"Figure": _Unseen, "style": SimpleNamespace(context=lambda style: _as_it_is)},
}


def lean_torch() -> None:
    """Make the ``import torch`` that follows a lean one; without effect where torch is imported already.

    For commands that run models as they are. Those that train need more of torch: processes that read data ask for
    random numbers, which want operators of torch written in Python.
    """
    if "torch" not in sys.modules:
        sys.meta_path.insert(0, _Finder({_POSTPONED: {}}))


@contextlib.contextmanager
def lean_lightning() -> Iterator[None]:
    """Make an ``import pytorch_lightning`` in the block a lean one; without effect where it is imported already.

    The compiler waits as long as nobody compiles. The other modules can be imported as always after the block.
    """
    if "pytorch_lightning" in sys.modules:
        yield
        return
    looked_at = _Finder(_LOOKED_AT)
    sys.meta_path[:0] = [_Finder(_COMPILER), looked_at]
    try:
        yield
    finally:
        sys.meta_path.remove(looked_at)
        for name in reversed(_LOOKED_AT):
            _forget(name)


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """Import something large without looking for garbage: modules make millions of objects, which all stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Collections of garbage in the block leave alone what there was before: all the objects of torch, for one."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _Postponed(ModuleType):
    """A module whose code runs when it is first asked for something that only its code can answer."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked of every module, by inspect among others
            raise AttributeError(name)
        run_postponed(self)
        return getattr(self, name)


def run_postponed(module: ModuleType | None) -> None:
    """Run the code of a module if it waits."""
    if isinstance(module, _Postponed):
        module.__class__ = ModuleType  # type: ignore[assignment]
        assert module.__spec__ is not None
        loader = module.__spec__.loader
        assert isinstance(loader, _Loader)
        for name in loader.answers:
            delattr(module, name)
        loader.real.exec_module(module)


def _forget(name: str) -> None:
    """Let a module that still waits be imported as if it had never been."""
    module, (parent, _, child) = sys.modules.get(name), name.rpartition(".")
    if isinstance(module, _Postponed):
        del sys.modules[name]
        if getattr(sys.modules.get(parent), child, None) is module:
            delattr(sys.modules[parent], child)


class _Loader(importlib.abc.Loader):
    def __init__(self, real: importlib.abc.Loader, answers: Mapping[str, Any]) -> None:
        self.real = real
        self.answers = answers

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = _Postponed(spec.name)
        vars(module).update(self.answers)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing yet."""


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules that wait.

    Args:
        answers: what each of them answers meanwhile.
    """

    def __init__(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        self._answers = answers

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in self._answers:
            parent = name.rpartition(".")[0]
            if parent in self._answers:
                run_postponed(sys.modules.get(parent))
            if ".".join(name.split(".")[:2]) in _NEED_THEM:
                run_postponed(sys.modules.get(_POSTPONED))
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._answers[name])
        return spec
