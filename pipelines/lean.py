"""Quicker imports of torch, which are most of the time until a command begins its work.

For commands that only run a model: a quarter of the time of ``import torch`` goes into ``torch._meta_registrations``,
operators written in Python for tensors that have a shape and no values, which ``torch.compile``, ``torch.export`` and
the like need, and nothing else. Nobody looks into the module, it is imported for what its code does. So here its code
waits until somebody does.
"""

import contextlib
import gc
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

_POSTPONED = "torch._meta_registrations"
# Whoever imports one of these is about to need them.
_NEED_THEM = frozenset({"torch._dynamo", "torch._inductor", "torch._export", "torch.onnx"})


def lean_torch() -> None:
    """Make the ``import torch`` that follows a lean one; without effect where torch is imported already.

    For commands that run models as they are. Those that train leave torch to Lightning, and must not call this.
    """
    if "torch" not in sys.modules:
        sys.meta_path.insert(0, _Finder())


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
        assert isinstance(module.__spec__.loader, _Loader)
        module.__spec__.loader.real.exec_module(module)


class _Loader(importlib.abc.Loader):
    def __init__(self, real: importlib.abc.Loader) -> None:
        self.real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Postponed(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing yet."""


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name in _NEED_THEM:
            run_postponed(sys.modules.get(_POSTPONED))
        if name != _POSTPONED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec
