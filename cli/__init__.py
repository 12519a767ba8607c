"""The command line: parse, call a pipeline, print. No logic lives here."""

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Entry point of the installed command; Ctrl-C prints no traceback either while modules load."""
    try:
        from genoconv.cli.entry import command
    except KeyboardInterrupt:
        sys.exit(130)
    command()
