"""Everything that the commands say to a person goes to stderr through here; stdout is for data."""

import io
import logging
import os
import re
import signal
import sys
from typing import Any

from genoconv.wording import printable

_INVALID = re.compile(r"^Invalid value for '([^']+)'(?: / '[^']+')*: ")


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
    """Print the line that explains a failure, and the others below it, indented, if there are several."""
    print(f"genoconv: error: {_lines(message)}", file=sys.stderr)


def line(text: str) -> None:
    """Print a line of text to stdout, with what a terminal would obey made visible."""
    data(printable(text) + "\n")


def data(text: str) -> None:
    """Write text to stdout as it is.

    Raises:
        OSError: it cannot be written (a full disk, a reader that has left); names standard output.
    """
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise
    except OSError as failed:
        raise OSError(failed.errno, failed.strerror, "standard output") from failed


def _lines(message: str) -> str:
    """Our own line ends are kept, and the lines after the first indented; nothing else reaches the terminal raw."""
    return "\n  ".join(map(printable, message.split("\n")))


def summary(message: str) -> None:
    """Print the closing line of a command."""
    logging.getLogger("genoconv").info(message)


def refused(failure: Any) -> int:
    """Report a command line that Typer does not accept, in one line; the exit code."""
    if type(failure).__name__ != "NoArgsIsHelpError":  # which has printed the help
        text = (
            _INVALID.sub(r"\1: ", " ".join(failure.format_message().split())).replace("Value error, ", "").rstrip(".")
        )
        context = getattr(failure, "ctx", None)
        advice = f"; see {context.command_path} --help" if context is not None else ""
        error(f"{text[0].lower()}{text[1:]}{advice}")
    return int(failure.exit_code)


def interrupted(stop: KeyboardInterrupt) -> int:
    """Report Ctrl-C, with the advice that ``stop`` carries, if any; the exit code."""
    error("interrupted" + (f"; {stop}" if str(stop) else ""))
    return 128 + signal.SIGINT


def open_streams() -> None:
    """Give streams that were closed by the caller (``<&-``) a place, and let stdout carry any text.

    Otherwise the first file that is opened would become standard output. Reading from and writing to them fails.
    """
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, flags), number)
    # Python's own streams are None where they were closed.
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors)


def flush() -> None:
    """Write out what is left for stdout.

    Raises:
        OSError: it cannot be written (a full disk, a reader that is gone); what is left is dropped.
    """
    try:
        sys.stdout.flush()
    except OSError as failed:
        _drop_stdout()
        if isinstance(failed, BrokenPipeError):
            raise
        raise OSError(failed.errno, failed.strerror, "standard output") from failed


def reader_left() -> int:
    """Whoever read our output (head, less) has all they wanted: no word; the exit code."""
    _drop_stdout()
    return 128 + signal.SIGPIPE


def _drop_stdout() -> None:
    # Point stdout elsewhere so that the interpreter's own flush at exit does not complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
