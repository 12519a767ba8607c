"""Modules whose code waits until somebody needs it."""

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Known:
    """What is known of a module without its code.

    Attributes:
        names: what these names are.
        below: names that modules below it define, and which module each; those do without it.
        first: the module below it to import before those, where they import one another in circles.
        needed_by: whoever imports one of these modules, or something below it, is about to need the code.
    """

    names: Mapping[str, Any] = field(default_factory=dict)
    below: Mapping[str, str] = field(default_factory=dict)
    first: str | None = None
    needed_by: frozenset[str] = frozenset()


def postpone(modules: Mapping[str, Known]) -> None:
    """Let modules wait that are imported from here on, until they are asked for more than is known.

    A module that was run is what it would have been without this, and so is what is imported below it then. Importing
    something below one that waits runs it.
    """
    sys.meta_path.insert(0, _Finder(modules))


def waits(name: str) -> bool:
    """Whether a module was imported and its code was not run."""
    return isinstance(sys.modules.get(name), _Postponed)


def later(module: str, name: str) -> Any:
    """A function that calls that of a module, and runs the module only then."""

    def function(*args: Any, **kwargs: Any) -> Any:
        importlib.import_module(module)
        _run_postponed(module)
        return getattr(sys.modules[module], name)(*args, **kwargs)

    return function


class _Postponed(ModuleType):
    def __getattr__(self, name: str) -> Any:
        loader = _loader(self)
        if name in loader.known.below:
            return _ask_below(self, name, loader)
        if name.startswith("__") and name != "__all__":  # asked of every module, by inspect among others
            raise AttributeError(name)
        _run(self, loader)
        return getattr(self, name)


# Packages that wait on while modules below them are imported.
_asked_below: list[str] = []


def _ask_below(package: _Postponed, name: str, loader: "_Loader") -> Any:
    """Import the module that defines a name of a package, without the package."""
    before = set(sys.modules)
    _asked_below.append(package.__name__)
    try:
        for part in filter(None, (loader.known.first, loader.known.below[name])):
            module = importlib.import_module(f"{package.__name__}.{part}")
        return getattr(module, name)
    except Exception:  # another version, in which that is not so
        _forget_below(package, before)
        _run(package, loader)
        return getattr(package, name)
    finally:
        _asked_below.remove(package.__name__)


def _forget_below(package: ModuleType, before: set[str]) -> None:
    """Forget what has been imported below a package since before; some of it may be half made."""
    for name in [name for name in sys.modules if _is_below(name, package.__name__) and name not in before]:
        del sys.modules[name]
    for name, value in list(vars(package).items()):
        module = value.__name__ if isinstance(value, ModuleType) else ""
        if _is_below(module, package.__name__) and sys.modules.get(module) is not value:
            delattr(package, name)


def _run_postponed(name: str) -> None:
    module = sys.modules.get(name)
    if isinstance(module, _Postponed):
        _run(module, _loader(module))


def _run(module: ModuleType, loader: "_Loader") -> None:
    """Run the code of a module, and first that of modules below it."""
    module.__class__ = ModuleType
    assert module.__spec__ is not None
    module.__spec__.loader = module.__loader__ = loader.real
    for name in loader.known.names:
        vars(module).pop(name, None)
    for name in [name for name in sys.modules if _is_below(name, module.__name__)]:
        _run_postponed(name)
    loader.real.exec_module(module)


def _loader(module: _Postponed) -> "_Loader":
    assert module.__spec__ is not None
    loader = module.__spec__.loader
    assert isinstance(loader, _Loader)
    return loader


class _Loader(importlib.abc.Loader):
    def __init__(self, real: importlib.abc.Loader, known: Known) -> None:
        self.real = real
        self.known = known

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = _Postponed(spec.name)
        vars(module).update(self.known.names)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing yet."""


class _Imported(importlib.abc.Loader):
    """For a module that has been imported while it was searched for, by its package or another that was run for it."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__spec__"] = self._spec  # not an assignment: modules may refuse it, and torch's settings do


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, modules: Mapping[str, Known]) -> None:
        self._modules = modules

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name in self._modules and not self._was_run_above(name):
            spec = importlib.machinery.PathFinder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader, self._modules[name])
            return spec
        if name in sys.modules:  # imported again
            return None
        for module, known in self._modules.items():
            wanted = name.rpartition(".")[0] == module and module not in _asked_below
            if wanted or any(name == needs or _is_below(name, needs) for needs in known.needed_by):
                _run_postponed(module)
        if name not in sys.modules:
            return None
        found = sys.modules[name]
        # The import system would make another one from the specification that it finds there.
        spec = vars(found)["__spec__"] = importlib.machinery.ModuleSpec(name, _Imported(found))
        return spec

    def _was_run_above(self, name: str) -> bool:
        return any(_is_below(name, module) and not waits(module) for module in self._modules)


def _is_below(name: str, package: str) -> bool:
    return name.startswith(f"{package}.")
