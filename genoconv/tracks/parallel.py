"""Several bigWig tracks at once, a process for each: the library that writes them takes one value after another."""

import errno
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from genoconv.tracks.bigwig import Part, write_bigwig, write_parts
from genoconv.tracks.blocks import Blocks

# Positions that are worth the start of processes.
MANY = 1 << 20


def write_bigwigs(paths: Sequence[Path], blocks: Blocks, *, contigs: Mapping[str, int], positions: int) -> None:
    """A track for each column of the blocks; ``blocks`` and ``contigs`` are those of :func:`.write_bigwig`.

    Args:
        paths: to be written, one per column; UTF-8.
        positions: about how many values each will have: a few are written one track after another.

    Raises:
        OSError: a track could not be written.
    """
    if positions < MANY or len(paths) == 1 or (os.cpu_count() or 1) == 1:
        for column, path in enumerate(paths):
            write_bigwig(path, blocks, column=column, contigs=contigs)
        return
    writers: list[_Writer] = []
    try:
        writers.extend(_Writer(path, contigs) for path in paths)
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

    def __init__(self, path: Path, contigs: Mapping[str, int]) -> None:
        context = multiprocessing.get_context("spawn")
        self.path = path
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, path, dict(contigs)), name=f"genoconv writing {path.name}", daemon=True
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


def _serve(connection: Connection, path: Path, contigs: dict[str, int]) -> None:
    """The life of a writer: parts in, then whether all went well."""
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
