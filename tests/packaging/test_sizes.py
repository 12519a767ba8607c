"""Functions fit a screen, files have one subject. As a script, this prints the longest functions and files."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from support import ROOT

FOLDERS = ("genoconv", "cli", "pipelines", "benchmarks", "tests")
LIMIT = 80
FILE_LIMIT = 400


def files(folders: Iterable[str] = FOLDERS) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def functions() -> Iterator[tuple[int, str, str]]:
    """Every function as (lines with its decorators, file, name)."""
    for path in files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                assert node.end_lineno is not None
                yield node.end_lineno - first + 1, str(path.relative_to(ROOT)), node.name


def test_functions_fit_a_screen() -> None:
    assert {(path, name): lines for lines, path, name in functions() if lines > LIMIT} == {}


def test_files_have_one_subject() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files()}
    assert {path: lines for path, lines in lengths.items() if lines > FILE_LIMIT} == {}


def test_the_network_reads_like_the_paper() -> None:
    assert len((ROOT / "genoconv/models/hyena.py").read_text(encoding="utf-8").splitlines()) <= 300


if __name__ == "__main__":
    for lines, path, name in sorted(functions(), reverse=True)[:20]:
        print(f"{lines:5} {path}: {name}")
    print()
    for lines, path in sorted(((len(p.read_text().splitlines()), p) for p in files()), reverse=True)[:20]:
        print(f"{lines:5} {path.relative_to(ROOT)}")
