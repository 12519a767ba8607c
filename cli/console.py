"""Everything that the commands say to a person goes to stderr through here; stdout is for data."""

import datetime
import io
import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from genoconv.wording import printable

_INVALID = re.compile(r"^Invalid value for '([^']+)'(?: / '[^']+')*: ")


class _Line(logging.Formatter):
    """One line a message, with the level named where it is a warning or worse."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return f"genoconv: {level}{_lines(record.getMessage())}"


class _Terminal(logging.StreamHandler[Any]):
    """Writes to what stderr is at the time: a progress bar puts something before it that keeps lines apart."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Stderr is full or closed: nobody reads what could be said of it."""


class _Stamped(logging.Formatter):
    """A line of a log file: time, level, message."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        return f"{moment} {record.levelname} {_lines(record.getMessage())}"


class _Recorder(logging.Handler):
    """Counts warnings, and keeps the last error."""

    warnings = 0
    error: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            self.error = record.getMessage()
        elif record.levelno == logging.WARNING:
            self.warnings += 1


recorder = _Recorder()
_terminal = _Terminal()
_terminal.setFormatter(_Line())


def set_up_logging() -> None:
    """Send the library's log to stderr; ``GENOCONV_LOG`` sets the level (default INFO)."""
    global recorder
    recorder = _Recorder()
    logger = logging.getLogger("genoconv")
    logger.handlers[:] = [_terminal, recorder]
    logger.propagate = False
    level = logging.getLevelName(os.environ.get("GENOCONV_LOG", "INFO").upper())
    _show(min(level, logging.ERROR) if isinstance(level, int) else logging.INFO)


def log_to(path: Path) -> None:
    """Append every line of the log to a file as well, those that the terminal does not show included.

    Raises:
        OSError: it cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_Stamped())
    logger = logging.getLogger("genoconv")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)


def end_log() -> None:
    """Close the log file, if there is one."""
    logger = logging.getLogger("genoconv")
    for handler in logger.handlers[:]:
        if isinstance(handler, logging.FileHandler):
            logger.removeHandler(handler)
            handler.close()


def note(message: str, *values: object) -> None:
    """Say something in the log file only."""
    logging.getLogger("genoconv").debug(message, *values)


def _show(level: int) -> None:
    """What the terminal shows; a log file gets everything."""
    _terminal.setLevel(level)
    logger = logging.getLogger("genoconv")
    if not any(isinstance(handler, logging.FileHandler) for handler in logger.handlers):
        logger.setLevel(level)


def quieten(quiet: bool) -> None:
    """Under ``--quiet`` only warnings and errors are shown."""
    if quiet:
        _show(logging.WARNING)


def error(message: str) -> None:
    """Print the line that explains a failure, and the others below it, indented, if there are several."""
    logger = logging.getLogger("genoconv")
    if _terminal in logger.handlers:
        logger.error("%s", message)
    else:  # logging has not been set up, or by somebody else
        print(f"genoconv: error: {_lines(message)}", file=sys.stderr)


def line(text: str) -> None:
    """Print a line of text to stdout, with what a terminal would obey made visible."""
    data(printable(text) + "\n")


_reserved = False


def reserve_stdout() -> None:
    """From now on nothing is printed to stdout, until :func:`release_stdout`."""
    global _reserved
    _reserved = True


def release_stdout() -> None:
    """Print to stdout again."""
    global _reserved
    _reserved = False


def data(text: str) -> None:
    """Write text to stdout as it is, unless that is reserved.

    Raises:
        OSError: it cannot be written (a full disk, a reader that has left); names standard output.
    """
    if _reserved:
        return
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
        first = text[:2] if text[:2].isupper() else text[:2].lower()  # FASTA, --model, No such option
        error(f"{first}{text[2:]}{advice}".replace("?;", "?"))
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
    """The reader of our output (head, less) has closed it: no message, only the exit code."""
    _drop_stdout()
    return 128 + signal.SIGPIPE


def _drop_stdout() -> None:
    # Point stdout elsewhere so that the interpreter's own flush at exit does not complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
