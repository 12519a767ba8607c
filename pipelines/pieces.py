"""Finished pieces of a run on disk, until all are there and the output is made of them.

They are kept in hidden files beside the output, one after another, with a journal that says after every piece how much
of each file is sound. A thread writes them, so that computing does not wait for the disk, and pieces that come
together share a flush. Where it becomes known only later what run this is, no piece counts as finished before.
:func:`genoconv.workfiles.claimed` keeps a second run away from the files.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Condition
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from genoconv.errors import DataError, OutputError
from genoconv.tasks.journal import Journal, journal_path
from genoconv.workfiles import open_private, work_path

Data: TypeAlias = "bytes | memoryview"

# Pieces that may wait for the disk before :meth:`Pieces.append` does.
_WAITING = 8


class StoppedError(Exception):
    """Nothing more is read back, as the run ends early."""


class Pieces:
    """The files of one run.

    Args:
        output: what they are for.
        kinds: of the files, as in :func:`.work_path`.
        run: as for :class:`.Journal`; None where :meth:`describe` will say it.
        resume: continue from what an interrupted run left.

    Attributes:
        finished: what :meth:`append` was given beside the data of each piece of the interrupted run.

    Raises:
        DataError: what was left is not what the journal says.
    """

    def __init__(self, output: Path, *, kinds: Sequence[str], run: Mapping[str, Any] | None, resume: bool) -> None:
        self.paths = [work_path(output, kind) for kind in kinds]
        self._open = ExitStack()
        self._changed = Condition()
        self._waiting: list[tuple[tuple[Data, ...], dict[str, Any]]] = []  # data, and what the journal says of it
        self._unlisted: list[dict[str, Any]] = []  # of pieces that are on disk and not yet in the journal
        self._run: Mapping[str, Any] | None = None
        self._writing: deque[Future[None]] = deque()
        self._stopped = self._failed = False
        with ExitStack() as failing:
            failing.push(self._open)
            self._files = [self._open.enter_context(open_private(path, fresh=not resume)) for path in self.paths]
            self._journal = self._open.enter_context(Journal(journal_path(output), run=run, resume=resume))
            self._sizes = self._checked()
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="genoconv pieces")
            self._open.callback(self._thread.shutdown)  # first of all, when what waits has been written
            failing.pop_all()
        self.finished: list[dict[str, Any]] = [piece["facts"] for piece in self._journal.finished]

    def _checked(self) -> list[int]:
        """Cut the files where the journal says that they are sound, and see whether they are; their sizes."""
        pieces = self._journal.finished
        sizes = [sum(piece["sizes"][number] for piece in pieces) for number in range(len(self._files))]
        for path, stream, size in zip(self.paths, self._files, sizes, strict=True):
            if stream.seek(0, os.SEEK_END) < size:
                raise DataError(f"{path}: truncated since the interrupted run; pass --force to start again")
            stream.truncate(size)
            stream.seek(0)
        for piece in pieces:
            parts = [stream.read(size) for stream, size in zip(self._files, piece["sizes"], strict=True)]
            if _digest(parts) != piece["sha256"]:
                raise DataError(f"{self.paths[0]}: altered since the interrupted run; pass --force to start again")
        return sizes

    def describe(self, run: Mapping[str, Any]) -> None:
        """Say what run this is, once, where the files were opened without; what has come before is finished then."""
        self._run = run
        self._writing.append(self._thread.submit(self._write))

    def append(self, *parts: Data, **facts: Any) -> None:
        """Add a piece; it may be on disk only later, see :meth:`flush`.

        Args:
            parts: its data, for each file; nobody changes it later.
            facts: plain JSON values that come back in :attr:`finished`, or functions that give them, called by the
                thread that writes when it is known what run this is.

        Raises:
            OutputError: the disk is full; of this piece or an earlier one.
        """
        # Made here, so that it need not wait for the disk.
        line = {"sizes": [len(part) for part in parts], "sha256": _digest(parts), "facts": facts}
        with self._changed:
            self._waiting.append((parts, line))
        self._writing.append(self._thread.submit(self._write))
        while self._writing and (len(self._writing) > _WAITING or self._writing[0].done()):
            self._writing.popleft().result()

    def _write(self) -> None:
        """Write all pieces that wait; nothing after a failure, which would leave a gap."""
        with self._changed:
            pieces, self._waiting = self._waiting, []
        if self._failed:
            return
        try:
            if pieces:
                for number in range(len(self._files)):
                    self._write_to(number, [parts[number] for parts, _ in pieces])
                self._unlisted += [line for _, line in pieces]
            if self._run is not None and not self._journal.described:
                self._journal.describe(self._run)
            if self._journal.described and self._unlisted:
                self._list()
        except BaseException:
            self._failed = True
            self.stop()
            raise

    def _list(self) -> None:
        """Put into the journal what is on disk."""
        lines, self._unlisted = self._unlisted, []
        for line in lines:
            line["facts"] = {name: fact() if callable(fact) else fact for name, fact in line["facts"].items()}
        self._journal.append(*lines)
        # Only now may they be read back: an output must not be complete where its run failed.
        with self._changed:
            for line in lines:
                self._sizes = [old + more for old, more in zip(self._sizes, line["sizes"], strict=True)]
            self._changed.notify_all()

    def _write_to(self, number: int, parts: Sequence[Data]) -> None:
        stream = self._files[number]
        try:
            stream.writelines(parts)
            stream.flush()
            os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(f"{self.paths[number]}: cannot store finished results there: {error.strerror}") from error

    def flush(self) -> None:
        """Wait until all pieces are on disk; and finished, once it is known what run this is.

        Raises:
            OutputError: the disk is full.
        """
        while self._writing:
            self._writing.popleft().result()

    def kept(self) -> int:
        """How many pieces are finished when no more come, whatever became of the rest."""
        wait(self._writing)
        return self._journal.pieces

    def stop(self) -> None:
        """Whoever reads back is stopped: the run ends early."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def read(self, number: int, offset: int, size: int) -> bytes:
        """Part of the file of that number; waits for it, in any thread but the one that appends.

        Raises:
            StoppedError: the run ends early.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._sizes[number] >= offset + size)
            if self._stopped:
                raise StoppedError
        return os.pread(self._files[number].fileno(), size, offset)

    def remove(self) -> None:
        """Delete the files: the output is complete, or there is nothing to resume."""
        self.close()
        self._journal.remove()
        with ExitStack() as rest:  # all of them, also where a signal comes
            for path in self.paths:
                rest.callback(path.unlink, missing_ok=True)

    def close(self) -> None:
        """Write what waits, and close the files."""
        self.stop()
        self._open.close()


@contextmanager
def alongside(work: Callable[[], None], *, stop: Callable[[], object]) -> Iterator[Future[None]]:
    """Do ``work`` in a thread while the block runs, and wait for it.

    Args:
        work: to be done.
        stop: makes it raise :class:`.StoppedError` soon; called where the block fails.

    Raises:
        Exception: what the work raised.
    """

    def unless_stopped() -> None:
        with suppress(StoppedError):
            work()

    with ThreadPoolExecutor(1, thread_name_prefix="genoconv writing") as pool:
        running = pool.submit(unless_stopped)
        try:
            yield running
            running.result()
        except BaseException:
            stop()
            raise


def bytes_of(array: npt.NDArray[Any]) -> memoryview:
    """The bytes of an array, which are not copied where it is contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _digest(parts: Sequence[Data]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
