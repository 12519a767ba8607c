"""Several bigWig tracks at once, a process for each: the library that writes them takes one value after another."""

import errno
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from genoconv.tracks.bigwig import Part, write_bigwig, write_parts
from genoconv.tracks.blocks import Blocks

# Positions, and contigs, that are worth the start of processes.
MANY, MANY_CONTIGS = 1 << 20, 1 << 10
_MEMORY = Path("/dev/shm")
_MOST_MEMORY = 1 << 30


def together(positions: int, *, contigs: int) -> bool:
    """Whether several tracks are written at once, each by a process, rather than one after another."""
    return (positions >= MANY or contigs >= MANY_CONTIGS) and (os.cpu_count() or 1) > 1


def scratch(contigs: Mapping[str, int], *, positions: int, tracks: int) -> Path | None:
    """Where pybigtools keeps its temporary files: in memory where contigs are many and small; None for its own choice.

    It makes one for each contig. ext4 does not give their inodes out again for a minute or more, but looks through all
    of them for each new file: the time would grow with the square of the contigs.
    """
    needed = tracks * (positions + 256 * len(contigs) + 64 * max(contigs.values(), default=0))  # measured: half of it
    if len(contigs) < MANY_CONTIGS or needed > _MOST_MEMORY or not os.access(_MEMORY, os.W_OK | os.X_OK):
        return None
    return _MEMORY if needed <= shutil.disk_usage(_MEMORY).free // 2 else None


def write_bigwigs(paths: Sequence[Path], blocks: Blocks, *, contigs: Mapping[str, int], positions: int) -> None:
    """A track for each column of the blocks; ``blocks`` and ``contigs`` are those of :func:`.write_bigwig`.

    Args:
        paths: to be written, one per column; UTF-8.
        positions: about how many values each will have; see :func:`together`.

    Raises:
        OSError: a track could not be written.
    """
    if len(paths) == 1 or not together(positions, contigs=len(contigs)):
        for column, path in enumerate(paths):
            write_bigwig(path, blocks, column=column, contigs=contigs)
        return
    writers: list[_Writer] = []
    try:
        folder = scratch(contigs, positions=positions, tracks=len(paths))
        writers.extend(_Writer(path, contigs, folder) for path in paths)
        for contig in sorted(contigs):
            for block in blocks(contig):
                for column, writer in enumerate(writers):
                    writer.put((contig, block.start, np.ascontiguousarray(block.values[:, column])))
        for writer in writers:
            writer.finish()
    finally:
        for writer in writers:
            writer.stop()


class _Writer:
    """A process and the track that it writes."""

    def __init__(self, path: Path, contigs: Mapping[str, int], folder: Path | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.path = path
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, path, dict(contigs), folder), name=f"genoconv writing {path.name}", daemon=True
        )
        self._process.start()
        theirs.close()

    def put(self, part: Part) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # finish() asks why
            self._connection.send(part)

    def finish(self) -> None:
        """Wait until the track is complete.

        Raises:
            OSError: it is not.
        """
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send(None)
        try:
            failure = self._connection.recv()
        except (EOFError, OSError):
            failure = "the process that wrote it has ended; was it killed, or out of memory?"
        if failure is not None:
            raise OSError(errno.EIO, failure, str(self.path))

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._process.terminate()
        self._connection.close()  # ends one that ignores the signal as well
        self._process.join()


def _serve(connection: Connection, path: Path, contigs: dict[str, int], folder: Path | None) -> None:
    """The life of a writer: parts in, then whether all went well; ``folder`` is that of :func:`scratch`."""
    if folder is not None:
        os.environ["TMPDIR"] = str(folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the first process decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        write_parts(path, _received(connection), contigs=contigs)
        answer = None
    except EOFError:  # the first process has gone
        return
    except Exception as error:
        answer = " ".join(str(error).split()) or type(error).__name__
    with suppress(OSError):
        connection.send(answer)


def _received(connection: Connection) -> Iterator[Part]:
    while (part := connection.recv()) is not None:
        yield part
