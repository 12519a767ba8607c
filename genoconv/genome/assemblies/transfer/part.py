"""What has arrived of a file, on disk.

It lies in ``NAME.part``; ``NAME.part.json`` beside it says from which url and which version of the file (ETag or
Last-Modified) it came, so that a later run can resume.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from genoconv import atomic
from genoconv.errors import OutputError
from genoconv.workfiles import check_private, open_private

Advance = Callable[[float], None]


@dataclass(frozen=True)
class State:
    """What is known of a part: its url, that file's version for If-Range, its size when whole."""

    url: str = ""
    version: str | None = None
    bytes: int | None = None


class Part:
    """What has arrived of a file that will be called ``target``."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(target.name + ".part")
        self._record = target.with_name(target.name + ".part.json")
        self._advance: Advance = lambda amount: None
        self._told = 0

    @property
    def size(self) -> int:
        """Bytes that have arrived.

        Raises:
            OutputError: something else has its name.
        """
        check_private(self.path)
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def state(self) -> State:
        """The record beside it; empty where it is missing or damaged."""
        try:
            return State(**json.loads(self._record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return State()

    def remember(self, state: State) -> None:
        """Write the record."""
        atomic.write_text(self._record, json.dumps(asdict(state)))

    def from_url(self, url: str) -> int:
        """Bytes of it that a request to ``url`` can build on."""
        state, size = self.state, self.size
        return size if state.url == url and state.version and (state.bytes is None or size <= state.bytes) else 0

    def whole(self, url: str) -> bool:
        """Whether all of ``url`` has arrived."""
        state = self.state
        return state.url == url and state.bytes is not None and self.path.exists() and state.bytes == self.size

    def report_to(self, advance: Advance) -> None:
        """Report to ``advance`` what is here and what arrives, and as negative numbers what is discarded."""
        self._advance, self._told = advance, 0
        self._tell()

    def _tell(self) -> None:
        size = self.size
        self._advance(size - self._told)
        self._told = size

    def append(self, blocks: Iterable[bytes]) -> None:
        """Append blocks; those that arrived before an error stay on disk."""
        with open_private(self.path) as stream:
            stream.seek(0, os.SEEK_END)
            for block in blocks:
                stream.write(block)
                self._advance(len(block))
                self._told += len(block)

    def discard(self) -> None:
        """Delete it and its record."""
        self.path.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)
        self._tell()

    def commit(self, target: Path) -> None:
        """Give it its final name."""
        atomic.commit(self.path, target)
        self._record.unlink(missing_ok=True)


def disk_error(path: Path, error: OSError) -> OutputError:
    """What to say of a write that the disk refused."""
    if isinstance(error, OutputError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        free = shutil.disk_usage(path.parent).free
        return OutputError(
            f"{path.parent}: {error.strerror} ({free / 1e9:.2f} GB free); make room or set GENOCONV_HOME to a larger"
            " disk, then run the command again: it resumes where it stopped"
        )
    return OutputError(f"{path}: cannot write: {error.strerror or error}")
