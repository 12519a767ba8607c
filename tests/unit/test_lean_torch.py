"""A lean import postpones one module of torch, and runs it as soon as it is needed."""

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
