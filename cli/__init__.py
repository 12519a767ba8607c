"""The command line: parse, call a pipeline, print. No logic lives here."""

from genoconv.cli.entry import command as main

__all__ = ["main"]
