"""The process boundary: run the app, turn what escapes into one line and an exit code.

Exit codes: 0 done, 1 data or machine, 2 usage, 130 interrupted by Ctrl-C, 141 reader went away, 143 terminated.
"""

import signal
import sys
from types import FrameType
from typing import NoReturn

from genoconv.errors import GenoconvError


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    # Unwinds like any exception, so temporary files go and locks are released.
    raise SystemExit(128 + signum)


def main() -> NoReturn:
    """Entry point of the ``genoconv`` command."""
    from genoconv.cli import console

    signal.signal(signal.SIGTERM, _terminate)
    console.set_up_logging()
    try:
        from genoconv.cli.app import app

        app(standalone_mode=True)
    except GenoconvError as error:
        console.error(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt as stop:
        console.interrupted(stop)
    except BrokenPipeError:
        console.reader_left()
    except MemoryError:
        console.error("out of memory; use a smaller batch, window or --max-length")
        sys.exit(1)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        console.error(f"{name}{error.strerror or error}")
        sys.exit(1)
    sys.exit(0)
