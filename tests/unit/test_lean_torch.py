"""A lean import postpones modules, and runs them as soon as they are needed."""

import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest

from genoconv.pipelines import lean
from genoconv.pipelines.postponed import Known, later, waits

TORCH = {
    "likewise/__init__.py": "done = []\nfrom likewise import slow\n",
    "likewise/slow.py": "import likewise\nlikewise.done.append('slow')\nvalue = 7\n",
    "likewise/compiler.py": "import likewise\nassert likewise.done == ['slow']\n",
}
# A compiler, of which Lightning wants a function, and metrics, of which it wants a class. Their modules import one
# another in circles, and the package itself imports much.
COMPILER = {
    "likely_compiler/__init__.py": "from operator import neg as used\nfrom likely_compiler import parts as kept\n",
    "likely_compiler/parts.py": "runs = globals().get('runs', 0) + 1\n",
}
METRICS = {
    "likely_metrics/__init__.py": (
        "_log = 'of the package'\n"
        "from likely_metrics import tools\n"
        "from likely_metrics.core import Metric\n"
        "import likely_heavy\n"
        "__all__ = ['Metric', 'Other']\n"
        "class Other(Metric): pass\n"
    ),
    "likely_metrics/core.py": (
        "from likely_metrics.tools.data import log\n"
        "from likely_metrics.tools.plot import Axes, draw\n"
        "class Metric:\n"
        "    draw = staticmethod(draw)\n"
        "    drawn_on = Axes\n"
    ),
    "likely_metrics/extra.py": "import likely_heavy\n",
    "likely_metrics/tools/__init__.py": "from likely_metrics.tools import check\n",
    "likely_metrics/tools/check.py": "from likely_metrics.core import Metric\n",
    "likely_metrics/tools/data.py": "from likely_metrics import _log as log\n",
    "likely_metrics/tools/plot.py": "import likely_drawing\nAxes = str\nstyle = 'dark'\ndef draw(x): return x + 1\n",
    "likely_heavy.py": "",
    "likely_drawing.py": "",
}
KNOWN = {
    "likely_compiler": Known({"used": lean._as_it_is, "old": 1}),
    "likely_metrics": Known({"_log": "known"}, below={"Metric": "core"}, first="tools"),
    "likely_metrics.tools.plot": Known({"Axes": object, "draw": later("likely_metrics.tools.plot", "draw")}),
}

Write = Callable[[dict[str, str]], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules that can be imported, until the end of the test."""

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).write_text(text)

    monkeypatch.syspath_prepend(tmp_path)
    before = sys.meta_path[:]
    yield write
    sys.meta_path[:] = before
    for name in [name for name in sys.modules if name.startswith("like")]:
        del sys.modules[name]


@pytest.fixture
def torch_like(write: Write, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package like torch: it imports a module for what its code does, and another one needs that done."""
    write(TORCH)
    known = {"likewise.slow": Known(needed_by=frozenset({"likewise.compiler"}))}
    monkeypatch.setattr(lean, "_TORCH", known)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    lean.lean_torch()
    return importlib.import_module("likewise")


@pytest.fixture
def lightning(write: Write, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Packages of which Lightning wants a name are imported leanly from here on; more of them can be written."""
    write(COMPILER | METRICS)
    monkeypatch.setattr(lean, "_LIGHTNING", KNOWN)
    monkeypatch.delitem(sys.modules, "pytorch_lightning", raising=False)
    lean.lean_lightning()
    return write


def test_the_module_waits_and_answers_when_asked(torch_like: ModuleType) -> None:
    module = torch_like
    assert module.done == []
    assert not hasattr(module.slow, "__wrapped__")  # what inspect asks of every module
    assert module.slow.__file__.endswith("slow.py")
    assert module.done == []
    assert module.slow.value == 7
    assert module.done == ["slow"]
    assert module.slow.value == 7
    assert module.done == ["slow"]


def test_whoever_needs_the_module_has_it_run(torch_like: ModuleType) -> None:
    importlib.import_module("likewise.compiler")
    assert torch_like.done == ["slow"]


def test_what_is_imported_already_is_left_as_it_is() -> None:
    import pytorch_lightning  # noqa: F401
    import torch

    before = sys.meta_path[:]
    lean.lean_torch()
    lean.lean_lightning()
    assert sys.meta_path == before
    assert type(torch._meta_registrations) is type(sys)


def test_collections_leave_alone_what_was_imported(write: Write) -> None:
    write({"likely_large.py": "kept = [[] for _ in range(1000)]\n"})
    before = gc.get_freeze_count()
    with lean.no_collections():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == before
    try:
        with lean.no_collections():
            importlib.import_module("likely_large")
        assert gc.isenabled()
        assert gc.get_freeze_count() > before + 1000
    finally:
        gc.unfreeze()


@pytest.mark.usefixtures("lightning")
@pytest.mark.parametrize("needed", ["an attribute", "a module below it"])
def test_the_compiler_answers_until_it_is_needed(needed: str) -> None:
    compiler = importlib.import_module("likely_compiler")
    assert compiler.used(3) == 3
    assert compiler.used(keyword=1)(3) == 3
    assert waits("likely_compiler")
    if needed == "an attribute":
        assert not hasattr(compiler, "other")
    else:
        parts = importlib.import_module("likely_compiler.parts")
        assert parts is compiler.kept is compiler.parts, "its code ran twice"
        assert parts.__spec__ is not None
        assert parts.__spec__.origin == parts.__file__
        assert importlib.reload(parts).runs == 2
    assert not waits("likely_compiler")
    assert compiler.used(3) == -3
    assert not hasattr(compiler, "old")
    assert (files("likely_compiler") / "parts.py").is_file()


@pytest.mark.usefixtures("lightning")
def test_a_class_of_metrics_comes_without_the_rest() -> None:
    Metric = importlib.import_module("likely_metrics").Metric
    assert Metric.drawn_on is object
    assert not {"likely_heavy", "likely_drawing"} & set(sys.modules)
    assert Metric.draw(1) == 2
    assert "likely_drawing" in sys.modules
    assert waits("likely_metrics")


@pytest.mark.usefixtures("lightning")
def test_the_rest_of_metrics_comes_when_it_is_asked_for() -> None:
    Metric = importlib.import_module("likely_metrics").Metric
    names: dict[str, type] = {}
    exec("from likely_metrics import *", names)
    assert {"likely_heavy", "likely_drawing"} <= set(sys.modules)
    assert names["Metric"] is Metric
    assert issubclass(names["Other"], Metric)
    assert sys.modules["likely_metrics"]._log == "of the package"


@pytest.mark.usefixtures("lightning")
@pytest.mark.parametrize("first", ["likely_metrics.extra", "likely_metrics.tools.plot", "likely_metrics.core"])
def test_metrics_are_imported_as_always_for_what_is_below_them(first: str) -> None:
    importlib.import_module(first)
    assert not waits("likely_metrics")
    assert not waits("likely_metrics.tools.plot")
    assert importlib.import_module("likely_metrics.core").Metric is sys.modules["likely_metrics"].Metric


OTHER_VERSIONS = {
    "its modules need it": {"likely_metrics/tools/data.py": "from likely_metrics import _log as log, tools\n"},
    "the class is elsewhere": {
        "likely_metrics/__init__.py": "class Metric: pass\nclass Other(Metric): pass\n",
        "likely_metrics/core.py": "",
        "likely_metrics/tools/__init__.py": "",
    },
    "the module is elsewhere": {
        "likely_metrics/__init__.py": "from likely_metrics.extra import Metric\nclass Other(Metric): pass\n",
        "likely_metrics/extra.py": "class Metric: pass\n",
        "likely_metrics/tools/__init__.py": "",
    },
    "more is done with what is known": {
        "likely_metrics/tools/plot.py": "Axes = str\ndef draw(x): return x + 1\n",
        "likely_metrics/core.py": (
            "from likely_metrics.tools.plot import Axes, draw\nclass Metric:\n    drawn_on = Axes.upper('x')\n"
        ),
    },
}


@pytest.mark.parametrize("version", OTHER_VERSIONS)
def test_another_version_is_imported_as_always(version: str, lightning: Write) -> None:
    lightning(OTHER_VERSIONS[version])
    metrics = importlib.import_module("likely_metrics")
    assert issubclass(metrics.Other, metrics.Metric)
    assert not waits("likely_metrics")
