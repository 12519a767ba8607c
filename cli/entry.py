"""The process boundary: run the app, turn what escapes into one line and an exit code.

Exit codes: 0 done, 1 data or machine, 2 usage, 130 interrupted by Ctrl-C, 141 reader went away, 143 terminated.
"""

import errno
import gc
import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from genoconv.cli import console, reporting, signals
from genoconv.errors import GenoconvError
from genoconv.wording import nearest, printable

_MOST_NAMES = 1000  # comparing names takes long in a large folder


def command() -> NoReturn:
    """Entry point of the installed command: :func:`main` in a process of its own, which ends with it."""
    signals.end_quickly()
    main()


def main() -> NoReturn:
    """Run the command that ``sys.argv`` holds; leaves with SystemExit."""
    signals.install()
    gc.set_threshold(50_000)  # importing torch makes a million objects, none of them garbage
    report = reporting.start(sys.argv[1:])
    try:
        code = _command()
        signals.settle()
    except KeyboardInterrupt:  # while a failure was being reported
        code = 128 + signal.SIGINT
    except SystemExit as stop:
        code = _code_of(stop)
    signals.leave(_finished(report, code))


def _command() -> int:
    """Everything but the summary; the exit code."""
    try:
        console.open_streams()
        console.set_up_logging()
        code = _run()
        console.flush()
        return code
    except KeyboardInterrupt as stop:
        return console.interrupted(stop)
    except BrokenPipeError:
        return console.reader_left()
    except SystemExit as stop:
        return _code_of(stop)
    except OSError as error:
        return _os_error(error)


def _code_of(stop: SystemExit) -> int:
    return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def _finished(report: reporting.Report, code: int) -> int:
    """Write the summary that ``--json`` asks for; the exit code."""
    try:
        return report.finish(code)
    except BrokenPipeError:
        return console.reader_left()
    except OSError as error:
        return _os_error(error)
    finally:
        console.note("exit code %d", code)
        console.end_log()


def _run() -> int:
    """Run the app; the exit code."""
    from genoconv.cli.app import Refused, app

    try:
        reporting.current.begin()
        code: Any = app(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except GenoconvError as error:
        console.error(str(error))
        return error.exit_code
    except Refused as error:
        return console.refused(error)
    except MemoryError:
        console.error("out of memory; use a smaller batch, window or --max-length")
        return 1
    except UnicodeEncodeError as error:
        # A file name that is not UTF-8 has met a library that insists on it.
        console.error(f"{error.object!r}: this file name is not valid UTF-8, which a library requires; rename the file")
        return 1


def _os_error(error: OSError) -> int:
    """Report what the operating system refused; the exit code."""
    where = error.filename
    if where is None:
        try:
            console.flush()
        except BrokenPipeError:
            return console.reader_left()
        except OSError as failed:  # what was refused is our own output
            where = failed.filename
    if where is None and error.errno == errno.EBADF:
        where = "standard input or output is closed"
    near = _similar_file(where) if error.errno == errno.ENOENT else ""
    console.error(f"{where}: {error.strerror}{near}" if where else f"{error.strerror or error}")
    return 1


def _similar_file(missing: Any) -> str:
    """``; did you mean chr9.fa?`` where the folder of a missing file has one with a similar name, or nothing."""
    if not isinstance(missing, str):
        return ""
    path = Path(missing)
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in itertools.islice(entries, _MOST_NAMES)]
    except OSError:
        return ""
    near = nearest(path.name, names)
    return f"; did you mean {printable(str(path.parent / near))}?" if near else ""
