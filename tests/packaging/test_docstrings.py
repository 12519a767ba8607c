"""What a user imports says what it takes: every public function and method names its parameters and its errors."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import genoconv
import genoconv.models
import genoconv.ops

FACES = (genoconv, genoconv.models, genoconv.ops)


def public() -> Iterator[Any]:
    """Functions and methods of the names that the packages export."""
    for face in FACES:
        for name in face.__all__:
            found = getattr(face, name)
            if inspect.isfunction(found):
                yield pytest.param(found, id=f"{face.__name__}.{name}")
            elif inspect.isclass(found):
                for method, function in vars(found).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield pytest.param(function, id=f"{name}.{method}")


def raised(function: Callable[..., Any]) -> set[str]:
    """Errors that the body raises by name."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = (node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise))
    return {call.func.id for call in calls if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)}


@pytest.mark.parametrize("function", list(public()))
def test_a_docstring_names_parameters_and_errors(function: Callable[..., Any]) -> None:
    text = inspect.getdoc(function) or ""
    takes = [name for name in inspect.signature(function).parameters if name != "self"]
    assert [name for name in takes if name not in text] == []
    assert {error for error in raised(function) if error not in text} == set()
    if len(takes) > 2:
        assert "Args:" in text
