"""Who may import whom: the arrows of the architecture, held by reading every import statement."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import ROOT

# Top-level folder -> name of the package it installs as.
ROOMS = {"genoconv": "genoconv", "cli": "genoconv.cli", "pipelines": "genoconv.pipelines"}

# (where the rule holds, what must not be imported there, except these modules)
RULES: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = [
    ("genoconv", ("genoconv.cli", "genoconv.pipelines"), ("genoconv.cli", "genoconv.pipelines")),
    ("genoconv.genome", ("torch", "genoconv.ops", "genoconv.models", "genoconv.tasks", "genoconv.train"), ()),
    (
        "genoconv.variants",
        ("torch", "genoconv.ops", "genoconv.models", "genoconv.tasks", "genoconv.train"),
        (),
    ),
    (
        "genoconv.ops",
        ("genoconv.models", "genoconv.genome", "genoconv.variants", "genoconv.tasks", "genoconv.train"),
        (),
    ),
    ("genoconv.models", ("genoconv.tasks", "genoconv.train", "genoconv.variants"), ()),
    ("genoconv.train", ("genoconv.tasks",), ()),
    ("genoconv.tasks", ("genoconv.train",), ()),
    ("genoconv", ("pytorch_lightning", "lightning"), ("genoconv.train",)),
    ("genoconv", ("typer", "click"), ("genoconv.cli",)),
    ("genoconv", ("cuda",), ("genoconv.gpu.jit",)),
    ("genoconv.cli", ("genoconv.train",), ()),
]


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the project as (dotted name, file)."""
    for folder, package in ROOMS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join([package, *(p for p in parts if p != "__init__")]), path


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, at the top or inside functions, as (line, dotted name)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute in this project"
            assert node.module
            yield node.lineno, node.module
            for alias in node.names:  # `from genoconv import cli` imports genoconv.cli
                yield node.lineno, f"{node.module}.{alias.name}"


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def violations(module: str, path: Path) -> list[str]:
    """Every broken rule of one module, as file:line and what it must not import."""
    return [
        f"{path.name}:{line}: {module} must not import {name}"
        for where, forbidden, exempt in RULES
        if within(module, where) and not any(within(module, e) for e in exempt)
        for line, name in imports(path)
        if any(within(name, f) for f in forbidden)
    ]


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_rooms_keep_to_their_arrows(module: str, path: Path) -> None:
    assert not violations(module, path)


def test_the_rules_bite(tmp_path: Path) -> None:
    guilty = tmp_path / "guilty.py"
    guilty.write_text("def f():\n    import torch\n    from genoconv import cli\n")
    text = "\n".join(violations("genoconv.genome.guilty", guilty))
    assert "guilty.py:2: genoconv.genome.guilty must not import torch" in text
    assert "genoconv.cli" in text


def test_every_kernel_source_is_free_of_foreign_headers() -> None:
    for path in sorted((ROOT / "csrc").glob("*.cu*")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.lstrip().startswith("#include"):
                assert "torch" not in line, f"{path.name}:{number}"
                assert "cutlass" not in line.lower(), f"{path.name}:{number}"
                assert "cute" not in line.lower(), f"{path.name}:{number}"
