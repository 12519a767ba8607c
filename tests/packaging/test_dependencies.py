"""What is imported is declared, and what is declared is imported: pyproject.toml against every import statement."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from typing import Any

from support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SHIPPED = ("genoconv", "cli", "pipelines")
DEVELOPMENT = ("tests", "benchmarks", "docs", "examples")

# Declared, and imported by no line of the package: why it stands there.
LOADED_BY_OTHERS = {
    "cuda-toolkit": "libnvrtc and libcudart, which cuda-bindings loads",
    "tensorboard": "Lightning's TensorBoardLogger imports it",
    "snakemake": "the workflow is run by its command",
    "genoconv": "the extra `all` names the others",
}
# Tools of the dev group that are run and not imported.
RUN = {"pytest-xdist", "pytest-timeout", "ruff", "mypy", "clang-format", "build", "setuptools", "codespell"}
RUN |= {"snakefmt", "snakemake-executor-plugin-slurm", "mkdocs-material", "mkdocstrings", "ipykernel"}
STUBS = re.compile(r"types-.*|.*-stubs")
# Peers that a benchmark measures where they are installed.
MEASURED = {"flashfftconv", "subquadratic_ops_torch"}


def normal(name: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[Any]) -> set[str]:
    """The distributions that requirement strings name."""
    plain = [text for text in requirements if isinstance(text, str)]  # a group may include another
    return {normal(re.match(r"[\w.-]+", text)[0]) for text in plain}  # type: ignore[index]


REQUIRED = names(PROJECT["project"]["dependencies"])
EXTRAS = {extra: names(texts) for extra, texts in PROJECT["project"]["optional-dependencies"].items()}
OPTIONAL = set().union(*EXTRAS.values()) - {"genoconv"}
DEV = set().union(*map(names, PROJECT["dependency-groups"].values()))
INSTALLED = packages_distributions()


@cache
def imported(*folders: str) -> list[tuple[str, bool, str]]:
    """Every import of foreign code: top-level module, whether it happens at import time, and where it stands."""
    return list(_imported(*folders))


def _imported(*folders: str) -> Iterator[tuple[str, bool, str]]:
    own = {"genoconv", *SHIPPED, *(path.stem for path in (ROOT / "tests").glob("*")), *(ROOT / "tests").parts}
    own |= {path.stem for folder in ("docs/figures", "benchmarks") for path in (ROOT / folder).glob("*.py")}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                modules = []
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module:
                    modules = [node.module]
                for module in modules:
                    top = module.split(".")[0]
                    if top not in sys.stdlib_module_names and top not in own:
                        yield top, node in tree.body, f"{path.relative_to(ROOT)}:{node.lineno}"


def distributions(module: str) -> set[str]:
    return {normal(name) for name in INSTALLED.get(module, ())}


def test_every_import_of_the_package_is_declared() -> None:
    undeclared = {
        f"{where}: {module}"
        for module, _, where in imported(*SHIPPED)
        if not distributions(module) & (REQUIRED | OPTIONAL)
    }
    assert not undeclared


def test_every_declared_package_is_imported() -> None:
    used = set().union(*(distributions(module) for module, _, _ in imported(*SHIPPED)))
    assert not (REQUIRED | OPTIONAL) - used - set(LOADED_BY_OTHERS)
    assert set(LOADED_BY_OTHERS) <= REQUIRED | OPTIONAL | {"genoconv"}


def test_extras_are_imported_only_where_they_are_used() -> None:
    """At import time an installation without extras would break."""
    early = [where for module, at_once, where in imported(*SHIPPED) if at_once and not distributions(module) & REQUIRED]
    assert not early


def test_tests_and_benchmarks_import_what_the_dev_group_brings() -> None:
    brought = REQUIRED | OPTIONAL | DEV
    missing = {
        f"{where}: {module}"
        for module, _, where in imported(*DEVELOPMENT)
        if module not in MEASURED and not distributions(module) & brought
    }
    assert not missing


def test_the_dev_group_holds_what_is_used() -> None:
    used = set().union(*(distributions(module) for module, _, _ in imported(*DEVELOPMENT)))
    assert {name for name in DEV if not STUBS.fullmatch(name)} <= used | RUN


def test_the_extra_all_is_all_of_them() -> None:
    (text,) = PROJECT["project"]["optional-dependencies"]["all"]
    assert set(re.search(r"\[(.*)\]", text)[1].split(",")) == set(EXTRAS) - {"all"}  # type: ignore[index]


def test_every_extra_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [extra for extra in EXTRAS if f"`{extra}`" not in readme]
