"""``--devices``: pieces of one run computed by a process per device, in the order and with the bytes of one process.

The process that the user started reads the inputs, hands out pieces, takes the results in their order and writes them,
so journals, outputs and progress know nothing of how many devices there are. What a piece gives must depend on the
piece alone.
"""

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from genoconv.errors import GenoconvError, ModelError, UsageError
from genoconv.progress import Advance
from genoconv.tasks import shares

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

P = TypeVar("P")
R = TypeVar("R")

Work = Callable[[P, Advance], R]
"""``work(piece, advance)``: the result of a piece; ``advance`` is called with the amount just done."""
Make = Callable[[str], Work[P, R]]
"""``make(device)``: what works on that device, with a model of its own; can be pickled."""

# Pieces that a worker has at once: one to compute and the next.
_HANDED = 2
# Results that may wait for an earlier one, per worker: a slow piece stops the others rather than fill the memory.
_AHEAD = 8
# Threads that share a GPU: one waits for what the GPU computes, one has the next work lie there, one prepares.
_THREADS = 3
# A thread that has the GPU do something lets go of the interpreter for each of a hundred small steps. Where another
# computes in Python, it would wait five milliseconds for each.
_SWITCH_SECONDS = 1e-4
# Processes that share a GPU in a long run: one alone cannot prepare as fast as the GPU reads.
_SHARING = 4
_END = object()  # of the pieces that a worker is given


def chosen_devices(devices: str | None, *, device: str) -> list[str]:
    """The devices of a run, as ``--device`` takes them.

    Args:
        devices: as given to ``--devices``: a number, ``all``, or None for one.
        device: as given to ``--device``.

    Raises:
        UsageError: there are not so many here, or ``device`` is one particular GPU.
    """
    import torch

    from genoconv.models.devices import resolve_device

    one = resolve_device(device)
    if devices is None or devices == "1":
        return [f"{one.type}:{one.index or 0}" if one.type == "cuda" else str(one)]
    if one.type != "cuda":
        return [str(one)] * (1 if devices == "all" else int(devices))
    if ":" in str(one):
        raise UsageError(
            f"--devices {devices} with --device {device}: choose one device or a number of devices, not both"
        )
    here = torch.cuda.device_count()
    wanted = here if devices == "all" else int(devices)
    if wanted > here:
        raise UsageError(f"--devices {devices}: torch sees {here} CUDA devices; use at most that many, or all")
    return [f"cuda:{index}" for index in range(wanted)]


def sharing(devices: list[str], *, asked: str | None, long: bool) -> list[str]:
    """The devices of :func:`chosen_devices`, the only GPU of a long run several times: processes share it.

    Args:
        devices: of the run.
        asked: as given to ``--devices``; a number is kept.
        long: whether the run is worth the seconds that more processes take to start.
    """
    if asked is not None or not long or len(devices) > 1 or not _is_gpu(devices[0]):
        return devices
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return devices * max(1, min(_SHARING, cores - 1))


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes that start in the block leave Ctrl-C, which reaches the whole group, to the first one at once."""
    resource_tracker.ensure_running()  # otherwise it starts with them, and lets the signal in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker(Generic[P, R]):
    """One process and the pieces that it has."""

    def __init__(self, make: Make[P, R], device: str, *, threads: int | None, share: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.device = device
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, make, device, threads, share), name=f"genoconv on {device}", daemon=True
        )
        with _without_ctrl_c():
            self.process.start()
        theirs.close()
        self.pieces: list[int] = []

    def give(self, number: int, piece: P) -> None:
        self.pieces.append(number)
        with suppress(BrokenPipeError, ConnectionResetError):  # its end is noticed when it is asked for results
            self.connection.send(piece)

    def ended(self) -> ModelError:
        self.process.join(5)
        code = self.process.exitcode
        why = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return ModelError(
            f"the process on {self.device} ended early ({why}); was it killed, or out of memory? "
            "To continue, repeat the command with --resume"
        )


class Workers(Generic[P, R]):
    """Processes that compute pieces; see :func:`working`."""

    def __init__(self, make: Make[P, R], devices: list[str]) -> None:
        import torch

        # On a CPU they share the cores.
        threads = max(1, torch.get_num_threads() // len(devices)) if not devices[0].startswith("cuda") else None
        self._workers: list[_Worker[P, R]] = []
        try:
            for device in devices:
                self._workers.append(_Worker(make, device, threads=threads, share=devices.count(device)))
        except BaseException:
            self.stop()
            raise

    def ordered(self, pieces: Iterable[P], *, advance: Advance) -> Iterator[tuple[P, R]]:
        """Each piece with its result, in the order of the pieces; reads only as far ahead as the workers need.

        Raises:
            GenoconvError: what a worker raised, or that one has ended.
        """
        coming = enumerate(pieces)
        held: dict[int, P] = {}
        results: dict[int, R] = {}
        following = 0
        more = True
        while True:
            while more and len(held) < _AHEAD * len(self._workers):
                worker = min(self._workers, key=lambda one: len(one.pieces))
                if len(worker.pieces) >= _HANDED:
                    break
                number, piece = next(coming, (-1, None))
                more = number >= 0
                if more:
                    held[number] = piece  # type: ignore[assignment]
                    worker.give(number, held[number])
            while following in results:
                yield held.pop(following), results.pop(following)
                following += 1
            if not held:
                if not more:
                    return
                continue
            if following not in results:
                self._receive(results, advance)

    def _receive(self, results: dict[int, R], advance: Advance) -> None:
        """Wait until some worker has something to say, and take it."""
        by_connection: dict[Any, _Worker[P, R]] = {worker.connection: worker for worker in self._workers}
        for ready in wait(list(by_connection)):
            worker = by_connection[ready]
            try:
                kind, value = worker.connection.recv()
            except (EOFError, OSError):
                raise worker.ended() from None
            if kind == "done":
                advance(value)
            elif kind == "result":
                results[worker.pieces.pop(0)] = value
            else:
                raise value

    def stop(self) -> None:
        """End all processes, whatever they are doing."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(10)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.connection.close()


@contextmanager
def working(make: Make[P, R], devices: list[str]) -> Iterator[Workers[P, R]]:
    """Start a process per device; they are ended with the block, however it ends."""
    workers = Workers(make, devices)
    try:
        yield workers
    finally:
        workers.stop()


@contextmanager
def computed(
    here: Work[P, R], make: Make[P, R], devices: list[str], pieces: Iterable[P], *, advance: Advance
) -> Iterator[Iterator[tuple[P, R]]]:
    """Each piece with its result, in order: computed ``here`` with one device, by processes with several.

    With one GPU, ``here`` is called in threads, some pieces ahead of what is taken. A device that comes again in
    ``devices`` is shared by as many processes.
    """
    if len(devices) > 1:
        with working(make, devices) as workers:
            yield workers.ordered(pieces, advance=advance)
    elif devices[0] != "cpu" and _is_gpu(devices[0]):
        with _ahead(here, pieces, advance=advance) as results:
            yield results
    else:
        yield ((piece, here(piece, advance)) for piece in pieces)


def _is_gpu(device: str) -> bool:
    from genoconv.models.devices import resolve_device

    return resolve_device(device).type == "cuda"


@contextmanager
def _ahead(here: Work[P, R], pieces: Iterable[P], *, advance: Advance) -> Iterator[Iterator[tuple[P, R]]]:
    """Results in order while threads prepare and compute the next pieces; see :func:`.batching.computing`."""
    lock = threading.Lock()

    def report(amount: float) -> None:
        with lock:
            advance(amount)

    def results() -> Iterator[tuple[P, R]]:
        running: deque[tuple[P, Future[R]]] = deque()
        for piece in pieces:
            running.append((piece, pool.submit(here, piece, report)))
            if len(running) > _THREADS:
                first, future = running.popleft()
                yield first, future.result()
        while running:
            first, future = running.popleft()
            yield first, future.result()

    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="genoconv")
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield results()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        sys.setswitchinterval(before)


def _serve(connection: Connection, make: Make[P, R], device: str, threads: int | None, share: int) -> None:
    """The life of a worker: pieces in, results out, until the other end is closed or has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.getLogger("genoconv").addHandler(logging.NullHandler())  # the first process has said it already
    try:
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        shares.processes = share
        # Pieces are taken while one is computed: a pipe holds little, and both ends would wait for the other to read.
        pieces: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=_take, args=(connection, pieces), daemon=True).start()
        work = make(device)
        if threads is None and "torch" in sys.modules:
            # Beside a GPU the host only copies, and each process would have as many threads as there are cores.
            sys.modules["torch"].set_num_threads(1)
        while (piece := pieces.get()) is not _END:
            connection.send(("result", work(piece, lambda amount: connection.send(("done", amount)))))
        return
    except (EOFError, BrokenPipeError):  # the first process has gone
        return
    except GenoconvError as error:
        failure: Exception = error
    except Exception as error:
        failure = RuntimeError(f"on {device}: {type(error).__name__}: {error}")
    with suppress(OSError):
        connection.send(("error", failure))


def _take(connection: Connection, pieces: SimpleQueue[Any]) -> None:
    """Move pieces from the connection to a queue, then the end of them."""
    with suppress(EOFError, OSError):
        while True:
            pieces.put(connection.recv())
    pieces.put(_END)
