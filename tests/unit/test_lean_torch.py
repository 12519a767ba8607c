"""A lean import postpones modules, and runs them as soon as they are needed."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genoconv.pipelines import lean


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package like torch: it imports a module for what its code does, and another one needs that done."""
    folder = tmp_path / "likewise"
    folder.mkdir()
    (folder / "__init__.py").write_text("done = []\nfrom likewise import slow\n")
    (folder / "slow.py").write_text("import likewise\nlikewise.done.append('slow')\nvalue = 7\n")
    (folder / "compiler.py").write_text("import likewise\nassert likewise.done == ['slow']\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lean, "_POSTPONED", "likewise.slow")
    monkeypatch.setattr(lean, "_NEED_THEM", frozenset({"likewise.compiler"}))
    before = sys.meta_path[:]
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    lean.lean_torch()
    yield "likewise"
    sys.meta_path[:] = before
    for name in [name for name in sys.modules if name.startswith("likewise")]:
        del sys.modules[name]


def test_the_module_waits_and_answers_when_asked(package: str) -> None:
    module = importlib.import_module(package)
    assert module.done == []
    assert not hasattr(module.slow, "__wrapped__")  # what inspect asks of every module
    assert module.slow.__file__.endswith("slow.py")
    assert module.done == []
    assert module.slow.value == 7
    assert module.done == ["slow"]
    assert module.slow.value == 7
    assert module.done == ["slow"]


def test_whoever_needs_the_module_has_it_run(package: str) -> None:
    module = importlib.import_module(package)
    importlib.import_module(f"{package}.compiler")
    assert module.done == ["slow"]


def test_an_imported_torch_is_left_as_it_is() -> None:
    import torch

    before = sys.meta_path[:]
    lean.lean_torch()
    assert sys.meta_path == before
    assert type(torch._meta_registrations) is type(sys)


@pytest.fixture
def looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Packages of which Lightning wants a name: a compiler, and one that draws."""
    for name in ("compiler", "drawing", "drawing/axes"):
        folder = tmp_path / f"likely_{name}"
        folder.mkdir()
        (folder / "__init__.py").write_text("from operator import neg as used\n")
        (folder / "parts.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lean, "_COMPILER", {"likely_compiler": {"used": lean._as_it_is}})
    monkeypatch.setattr(lean, "_LOOKED_AT", {"likely_drawing": {}, "likely_drawing.axes": {"Axes": object}})
    monkeypatch.delitem(sys.modules, "pytorch_lightning", raising=False)
    before = sys.meta_path[:]
    yield
    sys.meta_path[:] = before
    for name in [name for name in sys.modules if name.startswith("likely_")]:
        del sys.modules[name]


def waits(name: str) -> bool:
    return isinstance(sys.modules[name], lean._Postponed)


@pytest.mark.usefixtures("looked_at")
@pytest.mark.parametrize("needed", ["an attribute", "a module below it"])
def test_the_compiler_answers_until_it_is_needed(needed: str) -> None:
    with lean.lean_lightning():
        compiler = importlib.import_module("likely_compiler")
    assert compiler.used(3) == 3
    assert compiler.used(keyword=1)(3) == 3
    assert waits("likely_compiler")
    if needed == "an attribute":
        assert not hasattr(compiler, "other")
    else:
        importlib.import_module("likely_compiler.parts")
    assert not waits("likely_compiler")
    assert compiler.used(3) == -3


@pytest.mark.usefixtures("looked_at")
def test_what_lightning_looks_at_is_imported_as_always_afterwards() -> None:
    with lean.lean_lightning():
        axes = importlib.import_module("likely_drawing.axes")
        assert axes.Axes is object
        assert waits("likely_drawing")
    assert not {"likely_drawing", "likely_drawing.axes"} & set(sys.modules)
    assert importlib.import_module("likely_drawing.axes").used(3) == -3
    assert not hasattr(importlib.import_module("likely_drawing.axes"), "Axes")


@pytest.mark.usefixtures("looked_at")
def test_what_was_needed_in_the_block_stays() -> None:
    with lean.lean_lightning():
        module = importlib.import_module("likely_drawing")
        assert module.used(3) == -3
    assert sys.modules["likely_drawing"] is module


def test_an_imported_lightning_is_left_as_it_is() -> None:
    import pytorch_lightning  # noqa: F401

    before = sys.meta_path[:]
    with lean.lean_lightning():
        assert sys.meta_path == before
