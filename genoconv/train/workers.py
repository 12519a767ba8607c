"""The other processes of a run on one machine: started, watched, and never left waiting or missed.

A process that computes together with others waits for them inside a collective, where no signal handler and no
exception reaches it. So each process that this one starts is watched by a thread: one that fails ends the run, with
the message that it ended with.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO

from genoconv.errors import TrainingError
from genoconv.train.cluster import STARTED_BY
from genoconv.wording import printable

log = logging.getLogger(__name__)

_ERROR = "genoconv: error: "
# Seconds for a process to end after it, or another, has failed; after that it is taken to hang.
_GRACE = 10.0
# Seconds for this process to meet the failure of another by itself; after that it is taken to wait for it.
_STUCK = 10.0
_NAMES = ("LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE")


@contextlib.contextmanager
def workers(devices: int, *, nodes: int) -> Iterator[Callable[[], None]]:
    """Start ``devices - 1`` further processes of this command and watch them while the block runs.

    The environment of this process describes it as the first one meanwhile, as Lightning's processes find each other.
    Yields what ends those processes at once.

    Raises:
        TrainingError: one of them failed; says how.
    """
    saved = {name: os.environ.get(name) for name in _NAMES}
    reserved, port = _reserved_port()
    if nodes == 1:  # whatever another run has left in the environment
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", str(port))
    os.environ.setdefault("NODE_RANK", "0")
    os.environ |= {"LOCAL_RANK": "0", "WORLD_SIZE": str(devices * nodes)}
    with _ctrl_c_ignored():
        team = [_Worker(rank, devices) for rank in range(1, devices)]
    watch = _Watch(team)
    try:
        yield watch.kill
        watch.end()
        for worker in team:
            worker.finish()
    except BaseException as error:
        watch.end()
        lost = is_lost_connection(error)
        failed = watch.failure(wait=_GRACE) if lost else None
        watch.kill()
        for worker in team:
            worker.process.wait()
        if lost:
            raise TrainingError(failed.ending() if failed else "another process of the run does not answer") from None
        raise
    finally:
        reserved.close()
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Processes that are started in the block ignore Ctrl-C from their first moment on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def is_lost_connection(error: BaseException) -> bool:
    """Whether torch lost another process: its back ends say so in errors of their own."""
    import torch.distributed

    return isinstance(error, torch.distributed.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "NCCL", "Connection"))
    )


class _Worker:
    """One further process; what it writes to stderr is kept, so that its message can be repeated once."""

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count
        environment = {**os.environ, "LOCAL_RANK": str(rank), STARTED_BY: str(os.getpid())}
        self.process = subprocess.Popen(_this_command(), env=environment, stderr=subprocess.PIPE)
        assert self.process.stderr
        self._lines: deque[str] = deque(maxlen=100)
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._lines.append(printable(line[:2000].decode(errors="replace").rstrip()))

    def finish(self) -> None:
        """Wait for the process, which has nothing left to do."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(60)
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()

    def ending(self) -> str:
        """What happened to a process that failed."""
        self._reader.join(5)  # a process that it has started may keep the pipe open
        code = self.process.returncode
        said = next((line for line in self._lines if line.startswith(_ERROR)), None)
        last = next((line for line in reversed(self._lines) if line.strip()), "no message")
        if said is not None:
            what = said.removeprefix(_ERROR)
        elif code < 0:
            what = f"killed by {signal.Signals(-code).name}" + ("; out of memory?" if code == -signal.SIGKILL else "")
        else:
            what = f"exit code {code}: {last[:300]}"
        return f"process {self.rank + 1} of {self.count} failed: {what}"


class _Watch(threading.Thread):
    """Ends this process where another has failed and this one, waiting for it, cannot be reached."""

    def __init__(self, team: list[_Worker]) -> None:
        super().__init__(daemon=True, name="workers")
        self.team = team
        self._over = False
        self._failed: _Worker | None = None
        self._reporting = threading.Lock()
        self.start()

    def run(self) -> None:
        while not self._over:
            if self._look() is not None:
                break
            time.sleep(0.2)
        until = time.monotonic() + _STUCK
        while not self._over and time.monotonic() < until:
            time.sleep(0.1)
        with self._reporting:
            if not self._over and self._failed is not None:
                log.error("%s", self._failed.ending())
                self.kill()
                os._exit(1)

    def end(self) -> None:
        """This process is not stuck: what has failed it reports itself, unless that has begun."""
        with self._reporting:
            self._over = True

    def kill(self) -> None:
        """End all of them."""
        for worker in self.team:
            worker.process.kill()

    def _look(self) -> _Worker | None:
        self._failed = self._failed or next((worker for worker in self.team if worker.process.poll()), None)
        return self._failed

    def failure(self, *, wait: float) -> _Worker | None:
        """The process that failed first, waiting so many seconds for one to end."""
        until = time.monotonic() + wait
        while self._look() is None and time.monotonic() < until:
            time.sleep(0.05)
        return self._failed


def _this_command() -> list[str]:
    """What this process was started with."""
    spec = sys.modules["__main__"].__spec__
    if spec is not None:
        return [sys.executable, "-m", spec.name, *sys.argv[1:]]
    return [sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]]  # noqa: PTH100 - resolve() follows links


def _reserved_port() -> tuple[socket.socket, int]:
    """A port, and the socket that keeps the system from giving it to anybody else.

    The first process can listen there nevertheless: it allows addresses to be used again, as this socket does.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder, holder.getsockname()[1]
