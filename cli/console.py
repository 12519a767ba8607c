"""Everything that the commands say to a person goes to stderr through here; stdout is for data."""

import logging
import os
import signal
import sys
from typing import NoReturn

from genoconv.wording import printable


class _Line(logging.Formatter):
    """One line a message, with the level named where it is a warning or worse."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return f"genoconv: {level}{_lines(record.getMessage())}"


def set_up_logging() -> None:
    """Send the library's log to stderr; ``GENOCONV_LOG`` sets the level (default INFO)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    logger = logging.getLogger("genoconv")
    logger.handlers[:] = [handler]
    logger.propagate = False
    level = logging.getLevelName(os.environ.get("GENOCONV_LOG", "INFO").upper())
    logger.setLevel(level if isinstance(level, int) else logging.INFO)


def quieten(quiet: bool) -> None:
    """Under ``--quiet`` only warnings and errors are said."""
    if quiet:
        logging.getLogger("genoconv").setLevel(logging.WARNING)


def error(message: str) -> None:
    """Print the line that explains a failure, and below it, indented, the further ones where all are told at once."""
    print(f"genoconv: error: {_lines(message)}", file=sys.stderr)


def line(text: str) -> None:
    """Print a line of text to stdout, with what a terminal would obey made visible."""
    print(printable(text))


def _lines(message: str) -> str:
    """Our own line ends are kept, and the lines after the first indented; nothing else reaches the terminal raw."""
    return "\n  ".join(map(printable, message.split("\n")))


def summary(message: str) -> None:
    """Print the closing line of a command."""
    logging.getLogger("genoconv").info(message)


def interrupted(stop: KeyboardInterrupt) -> NoReturn:
    """End after Ctrl-C, with the advice that ``stop`` carries, if any."""
    error("interrupted" + (f"; {stop}" if str(stop) else ""))
    sys.exit(128 + signal.SIGINT)


def reader_left() -> NoReturn:
    """End quietly: whoever read our output (head, less) has all it wanted."""
    # Point stdout elsewhere so that the interpreter's own flush at exit does not complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)
