"""Who may import whom: an allow-list, held by reading every import statement. What is not on it fails.

``python tests/packaging/test_import_rules.py`` prints the list into CONTRIBUTING.md.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import ROOT, check_printed, print_into

# Top-level folder -> name of the package it installs as.
PACKAGES = {"genoconv": "genoconv", "cli": "genoconv.cli", "pipelines": "genoconv.pipelines"}


@dataclass(frozen=True)
class Room:
    """One package and all that it may import besides itself and the standard library.

    Attributes:
        holds: what lives there, for CONTRIBUTING.md.
        rooms: packages and modules of genoconv, without that prefix.
        packages: installed by others.
    """

    holds: str
    rooms: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


# The ground floor: one file a subject, for everybody except where a room says otherwise.
GROUND = {
    "errors": Room("the errors that genoconv raises on purpose"),
    "digests": Room("digests of files"),
    "wording": Room("how messages put names, counts and suggestions"),
    "tokens": Room("the alphabet and the token ids", (), ("numpy",)),
    "contigs": Room("one contig, many names", ("errors", "wording")),
    "regions": Room("regions as users write them", ("errors", "wording", "contigs")),
    "paths": Room("where genoconv keeps and finds files", ("errors",), ("platformdirs",)),
    "processes": Room("which processes live"),
    "workfiles": Room("private and temporary files", ("errors", "wording", "processes")),
    "atomic": Room("outputs that appear whole or not at all", ("errors", "workfiles", "processes")),
    "formats": Room("what a file is, and streams that undo its compression", ("errors",)),
    "lines": Room("lines of text files, alike for every reader", ("errors", "formats")),
    "progress": Room("progress bars", ("wording",), ("rich",)),
}
EVERY_GROUND = tuple(GROUND)

ROOMS = {
    "genome": Room(
        "FASTA access, genes, windows, reference genomes and their downloads; never torch",
        EVERY_GROUND,
        ("numpy", "pandas", "pyfaidx", "pydantic", "requests", "urllib3", "filelock"),
    ),
    "variants": Room(
        "VCF in and out, alleles, windows around variants; never torch", EVERY_GROUND, ("numpy", "pandas", "pysam")
    ),
    "gpu": Room(
        "compiler, cache and launch of CUDA kernels; knows no operator; the only room that imports `cuda.*`",
        EVERY_GROUND,
        ("torch", "cuda"),
    ),
    "ops": Room("operators: contract, specification, plans, launches", (*EVERY_GROUND, "gpu"), ("torch", "numpy")),
    "models": Room(
        "configuration, HyenaDNA, checkpoints, published weights",
        (*EVERY_GROUND, "ops"),
        ("torch", "numpy", "pydantic", "safetensors", "huggingface_hub"),
    ),
    "train": Room(
        "the training loop; the only room that imports Lightning",
        (*EVERY_GROUND, "models", "genome", "variants"),
        ("torch", "numpy", "pandas", "pydantic", "pytorch_lightning", "torchmetrics"),
    ),
    "tasks": Room(
        "embedding and scoring as iterators over batches",
        (*EVERY_GROUND, "models", "genome", "variants"),
        ("torch", "numpy"),
    ),
    "tracks": Room(
        "values along a genome as files: tables, bigWig, arrays; never torch",
        EVERY_GROUND,
        ("numpy", "pysam", "pyarrow", "pybigtools", "zarr"),
    ),
    "pipelines": Room(
        "whole runs: options, inputs, outputs, what a command does from start to end",
        (*EVERY_GROUND, "gpu", "ops", "models", "genome", "variants", "train", "tasks", "tracks"),
        ("torch", "numpy", "pandas", "pysam", "pydantic", "yaml", "h5py", "pyarrow", "matplotlib"),
    ),
    "cli": Room(
        "parse, call a pipeline, print; the only room that imports Typer",
        ("pipelines", "errors", "wording"),
        ("typer", "pydantic", "annotated_types"),
    ),
}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the project as (dotted name, file)."""
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join([package, *(p for p in parts if p != "__init__")]), path


MODULES = dict(modules())


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, at the top or inside functions, as (line, dotted name)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute in this project"
            assert node.module
            for alias in node.names:  # `from genoconv import cli` imports genoconv.cli
                whole = f"{node.module}.{alias.name}"
                yield node.lineno, whole if whole in MODULES else node.module


def room_of(name: str) -> str:
    """The first two parts of a name in genoconv, the first of any other."""
    parts = name.split(".")
    return ".".join(parts[:2] if parts[0] == "genoconv" else parts[:1])


def allowed(module: str) -> set[str]:
    """What a module may import, as :func:`room_of` names it."""
    room = room_of(module)
    if room == "genoconv":  # its lazy names
        return {f"genoconv.{name}" for name in ("errors", "models", "ops", "tasks", "tokens")}
    entry = (GROUND | ROOMS)[room.removeprefix("genoconv.")]
    return {"genoconv", room, *(f"genoconv.{name}" for name in entry.rooms), *entry.packages}


def violations(module: str, path: Path) -> dict[str, list[str]]:
    """Forbidden room or package -> where a module imports it."""
    found: dict[str, list[str]] = {}
    for line, name in imports(path):
        room = room_of(name)
        if room not in sys.stdlib_module_names and room not in allowed(module):
            found.setdefault(room, []).append(f"{path}:{line}: {module} must not import {name}")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_import_is_on_the_list(module: str) -> None:
    found = violations(module, MODULES[module])
    assert not [line for lines in found.values() for line in lines]


def test_the_list_has_no_circle_and_no_entry_too_many() -> None:
    rooms = GROUND | ROOMS
    done: list[str] = []
    while rest := [name for name in rooms if name not in done]:
        free = [name for name in rest if set(rooms[name].rooms) <= set(done)]
        assert free, f"a circle among {rest}"
        done += free
    assert {f"genoconv.{name}" for name in rooms} == {room_of(module) for module in MODULES} - {"genoconv"}


def test_no_package_is_allowed_where_nothing_imports_it() -> None:
    for name, room in (GROUND | ROOMS).items():
        used = {room_of(i) for m, path in MODULES.items() if room_of(m) == f"genoconv.{name}" for _, i in imports(path)}
        assert set(room.packages) <= used, (name, set(room.packages) - used)


@pytest.mark.parametrize(
    ("module", "code", "room"),
    [
        ("genoconv.genome.x", "def f():\n    import torch\n", "torch"),
        ("genoconv.genome.x", "\nfrom genoconv import cli\n", "genoconv.cli"),
        ("genoconv.ops.x", "\nfrom genoconv.models.hyena import HyenaDNA\n", "genoconv.models"),
        ("genoconv.train.x", "\nimport genoconv.tasks.score\n", "genoconv.tasks"),
        ("genoconv.tasks.x", "\nfrom pytorch_lightning import Trainer\n", "pytorch_lightning"),
        ("genoconv.cli.x", "\nfrom genoconv.genome.fasta.access import Fasta\n", "genoconv.genome"),
        ("genoconv.errors", "\nimport numpy\n", "numpy"),
    ],
)
def test_the_list_bites(tmp_path: Path, module: str, code: str, room: str) -> None:
    guilty = tmp_path / "guilty.py"
    guilty.write_text(code)
    assert list(violations(module, guilty)) == [room]
    assert f"guilty.py:2: {module} must not import" in violations(module, guilty)[room][0]


def table() -> str:
    """The list as CONTRIBUTING.md shows it."""

    def code(names: tuple[str, ...]) -> str:
        return ", ".join(f"`{name}`" for name in names) or "-"

    lines = ["| room | what lives there | may import from genoconv | packages |", "|---|---|---|---|"]
    for name, room in ROOMS.items():
        above = tuple(r for r in room.rooms if r not in GROUND)
        everything = set(EVERY_GROUND) <= set(room.rooms)
        inside = ", ".join(
            (["the ground floor"] if everything else [f"`{r}`" for r in room.rooms if r in GROUND])
            + [f"`{r}`" for r in above]
        )
        lines.append(f"| `{name}` | {room.holds} | {inside} | {code(room.packages)} |")
    lines += ["", "The ground floor, one file each:", ""]
    lines += ["| module | subject | may import | packages |", "|---|---|---|---|"]
    lines += [f"| `{n}` | {r.holds} | {code(r.rooms)} | {code(r.packages)} |" for n, r in GROUND.items()]
    return "\n".join(lines)


def test_contributing_prints_this_list() -> None:
    check_printed("CONTRIBUTING.md", "imports", table())


def test_every_kernel_source_is_free_of_foreign_headers() -> None:
    sources = sorted((ROOT / "csrc").rglob("*.cu*"))
    assert sources
    for path in sources:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.lstrip().startswith("#include"):
                assert "torch" not in line, f"{path.name}:{number}"
                assert "cutlass" not in line.lower(), f"{path.name}:{number}"
                assert "cute" not in line.lower(), f"{path.name}:{number}"


if __name__ == "__main__":
    print_into("CONTRIBUTING.md", "imports", table())
