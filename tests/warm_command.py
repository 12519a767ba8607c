"""The ``genoconv`` command in processes that fork from one which has imported the slow libraries already.

A forked run has its own arguments, environment, working directory and streams, and differs from the installed command
in nothing but the seconds that torch takes to import. Tests of start-up and of the installed script itself run the real
thing: :func:`support.run_cli` with ``fresh=True``. Shells and workflows find :attr:`WarmCommand.folder` on their path.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

_IMPORTED = (
    "numpy", "torch", "torchmetrics", "pytorch_lightning", "pandas", "pysam", "pyarrow", "genoconv.cli.app",
    "genoconv.models.hyena", "genoconv.pipelines.embed.run", "genoconv.pipelines.score.run",
    "genoconv.pipelines.scan.run", "genoconv.pipelines.train.run", "genoconv.pipelines.windows.run",
)  # fmt: skip
_COMMAND = str(Path(sys.executable).with_name("genoconv"))
_CLIENT = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    call = json.dumps([[{command!r}, *sys.argv[1:]], dict(os.environ), os.getcwd(), "", False]).encode()
    socket.send_fds(server, [len(call).to_bytes(4, "little")], [0, 1, 2])
    server.sendall(call)
    answers = server.makefile()
    code = int((answers.readline(), answers.readline())[1])
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class Run:
    """One run of the command; ``pid`` is its process."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._answers = connection.makefile("r", encoding="utf-8")
        self.pid = int(self._answer())

    def alive(self) -> bool:
        """Whether it has not ended."""
        return not select.select([self._socket], [], [], 0)[0]

    def wait(self, timeout: float) -> int:
        """The exit code, as :mod:`subprocess` has it; raises TimeoutError, and stops the run, where it takes longer."""
        self._socket.settimeout(timeout)
        try:
            return int(self._answer())
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            raise
        finally:
            self._answers.close()
            self._socket.close()

    def _answer(self) -> str:
        line = self._answers.readline()
        assert line, "the server of warm commands has ended"
        return line


class WarmCommand:
    """A server process of one test process.

    Attributes:
        folder: holds a ``genoconv`` that runs by this server.
    """

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="genoconv-warm-")
        self._address = f"{self._place.name}/socket"
        self.folder = Path(self._place.name, "bin")
        self.folder.mkdir()
        client = self.folder / "genoconv"
        client.write_text(_CLIENT.format(python=sys.executable, command=_COMMAND, address=self._address))
        client.chmod(0o755)
        # It ends when its standard input does.
        words = [sys.executable, __file__, self._address]
        self._server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"ready\n"

    def start(
        self,
        words: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        streams: Sequence[IO[bytes]],
        before: str = "",
        group: bool = False,
    ) -> Run:
        """Start ``words``, of which the first is what the run takes for its own name.

        Args:
            environment: of the run.
            cwd: where it runs.
            streams: standard input, output and error.
            before: Python code that runs first, in the same process.
            group: whether it has a process group of its own, as from a shell.
        """
        call = json.dumps([list(words), dict(environment), str(cwd), before, group]).encode()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)
        handles = [stream.fileno() for stream in streams]
        socket.send_fds(connection, [len(call).to_bytes(4, "little")], handles)
        connection.sendall(call)
        return Run(connection)


def _serve(address: str) -> NoReturn:
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # what is imported stays shared with the runs
    ended, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    runs: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while True:
            ready = select.select([listener, ended, 0], [], [])[0]
            if 0 in ready:
                os._exit(0)
            if ended in ready:
                os.read(ended, 1000)
                _report(runs)
            if listener in ready:
                client, _ = listener.accept()
                process = _fork(client, listener, *runs.values())
                client.sendall(b"%d\n" % process)
                runs[process] = client


def _report(runs: dict[int, socket.socket]) -> None:
    for process in list(runs):
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            with contextlib.suppress(BrokenPipeError), runs.pop(process) as client:
                client.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _fork(client: socket.socket, *others: socket.socket) -> int:
    """The process that runs what the client asks for; it keeps none of the server's sockets open."""
    size, handles, _, _ = socket.recv_fds(client, 4, 3)
    call = client.makefile("rb").read(int.from_bytes(size, "little"))
    process = os.fork()
    if not process:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in (client, *others):
            one.close()
        _run(*json.loads(call), handles)
    for stream in handles:
        os.close(stream)
    return process


def _run(
    words: list[str], environment: dict[str, str], cwd: str, before: str, group: bool, handles: list[int]
) -> NoReturn:
    if group:
        os.setsid()
    for target, (name, handle) in enumerate(zip(("stdin", "stdout", "stderr"), handles, strict=True)):
        os.dup2(handle, target)
        os.close(handle)
        # Opened anew, as when Python starts: a file may have become a pipe.
        old = getattr(sys, name)
        how = {"encoding": old.encoding, "errors": old.errors, "closefd": False}
        stream = open(target, "w" if target else "r", 1 if target == 2 else -1, **how)  # noqa: PTH123, SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = words
    code = 1
    try:
        exec(before, {})
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
    _serve(sys.argv[1])
