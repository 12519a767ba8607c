"""The ``genoconv`` command in processes that fork from one which has imported the slow libraries already.

A forked run has its own arguments, environment, working directory and streams, and differs from the installed command
in nothing but the seconds that torch takes to import. Tests of start-up, signals and the installed script itself run
the real thing: :func:`support.run_cli` with ``fresh=True``.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

_IMPORTED = (
    "numpy", "torch", "torchmetrics", "pytorch_lightning", "pandas", "pysam", "pyarrow", "genoconv.cli.app",
    "genoconv.models.hyena", "genoconv.pipelines.embed.run", "genoconv.pipelines.score.run",
    "genoconv.pipelines.scan.run", "genoconv.pipelines.train.run", "genoconv.pipelines.windows.run",
)  # fmt: skip


class WarmCommand:
    """A server process of one test process."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        self._socket = ours
        self._answers = ours.makefile("r", encoding="utf-8")

    def start(
        self, arguments: Sequence[str], *, environment: Mapping[str, str], cwd: Path, streams: Sequence[IO[bytes]]
    ) -> None:
        """Start ``genoconv ARGUMENTS`` with standard input, output and error in ``streams``; :meth:`wait` for it."""
        call = json.dumps([list(arguments), dict(environment), str(cwd)]).encode()
        handles = [stream.fileno() for stream in streams]
        socket.send_fds(self._socket, [len(call).to_bytes(4, "little")], handles)
        self._socket.sendall(call)
        self.process = int(self._answer())

    def wait(self, timeout: float) -> int:
        """The exit code, as :mod:`subprocess` has it; raises TimeoutError, and stops the run, where it takes longer."""
        self._socket.settimeout(timeout)
        try:
            return int(self._answer())
        except TimeoutError:
            os.kill(self.process, signal.SIGKILL)
            self.close()
            raise
        finally:
            self._socket.settimeout(None)

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        self._answers.close()
        self._server.wait()

    def _answer(self) -> str:
        line = self._answers.readline()
        assert line, "the server of warm commands has ended"
        return line


def _serve(handle: int) -> NoReturn:
    for name in _IMPORTED:
        importlib.import_module(name)
    with socket.socket(fileno=handle) as client:
        while True:
            size, handles, _, _ = socket.recv_fds(client, 4, 3)
            if not size:
                os._exit(0)
            call = b""
            while len(call) < int.from_bytes(size, "little"):
                call += client.recv(int.from_bytes(size, "little") - len(call))
            process = os.fork()
            if not process:
                client.close()
                _run(*json.loads(call), handles)
            for stream in handles:
                os.close(stream)
            client.sendall(b"%d\n" % process)
            _, status = os.waitpid(process, 0)
            client.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _run(arguments: list[str], environment: dict[str, str], cwd: str, handles: list[int]) -> NoReturn:
    for target, handle in enumerate(handles):
        os.dup2(handle, target)
        os.close(handle)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = [str(Path(sys.executable).with_name("genoconv")), *arguments]
    code = 1
    try:
        from genoconv.cli import main

        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        # As at the end of any process: what is registered runs, buffers are flushed.
        import atexit

        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
