"""A look at all of an input before its vectors count: by a thread, while the model loads and the first are computed."""

import threading
from concurrent.futures import Future, wait
from typing import Self

from genoconv.pipelines.embed.inputs import Counts, Source
from genoconv.pipelines.pieces import StoppedError
from genoconv.progress import progress_bar

# Whoever waits less sees no bar.
_BAR_SECONDS = 0.3
_DRAWN_SECONDS = 0.1
_LOOK_SECONDS = 0.005
# Reading from a slow disk cannot be interrupted; the thread then ends with its next block, or with the process.
_STOP_SECONDS = 1.0


class Survey:
    """:meth:`.Source.survey` in a thread that begins at once; stopped with the block.

    Args:
        source: what is read; others may read its spans meanwhile.
        quiet: show no bar to whoever waits.
    """

    def __init__(self, source: Source, *, quiet: bool) -> None:
        self.source = source
        self._quiet = quiet
        self._seen = 0.0
        self._stopped = threading.Event()
        self._ended: Future[bool] = Future()
        self._found: Counts | None = None
        self._thread = threading.Thread(target=self._look, name="genoconv survey", daemon=True)
        self._thread.start()

    def _look(self) -> None:
        try:
            self._ended.set_result(self.source.survey(self._advance))
        except BaseException as error:  # raised where the result is asked for
            self._ended.set_exception(error)

    def _advance(self, bases: float) -> None:
        if self._stopped.is_set():
            raise StoppedError
        self._seen += bases

    def done(self) -> bool:
        """Whether :meth:`result` would not wait."""
        return self._ended.done()

    def result(self) -> Counts | None:
        """What was found, as :meth:`.Source.counted` has it; None where the input can be read only once.

        Raises:
            DataError: a fault of the input.
            OSError: it cannot be read.
        """
        if not wait([self._ended], _BAR_SECONDS).done:
            shown = 0.0
            with progress_bar("Checking", unit="bases", quiet=self._quiet) as advance:
                while not wait([self._ended], _DRAWN_SECONDS).done:
                    seen = self._seen
                    advance(seen - shown)
                    shown = seen
        if self._ended.result() and self._found is None:
            self._found = self.source.counted()
        return self._found

    def reaches(self, bases: int) -> bool:
        """Whether there are so many to read; waits no longer than until that is clear."""
        while not wait([self._ended], _LOOK_SECONDS).done:
            if self._seen >= bases:
                return True
        found = self.result()
        return found is not None and found.bases >= bases

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        self._thread.join(_STOP_SECONDS)
