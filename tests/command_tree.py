"""Every command of genoconv by the words that call it."""

from collections.abc import Iterator
from typing import Any

import typer

from genoconv.cli.app import app


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, child in command.commands.items():
        yield from _leaves(child, (*path, name))


COMMANDS = dict(_leaves(typer.main.get_command(app)))
"""``models import`` -> the command, of every command that does something."""
