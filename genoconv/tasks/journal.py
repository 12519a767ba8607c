"""What a long run has finished, kept beside its output so that it can resume after an interruption.

A journal is a text file with one JSON value per line. The first line describes the run; each later line is one
finished piece of work, behind the SHA-256 of its text. A line that was cut short by a kill or a power failure is
dropped when the journal is opened again, with everything after it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from genoconv.errors import OutputError, UsageError
from genoconv.wording import count
from genoconv.workfiles import open_private, work_path


def journal_path(output: Path) -> Path:
    """The journal of ``output``: a hidden file in the same folder."""
    return work_path(output, "journal")


def refuse_finished_pieces(output: Path, *, resume: bool, force: bool) -> None:
    """Ask before the finished pieces of an interrupted run are thrown away.

    Raises:
        OutputError: there are some, and the call says neither to continue from them nor to discard them.
    """
    path = journal_path(output)
    if resume or force or not path.is_file():
        return
    with path.open("rb") as stream:
        pieces = sum(1 for line in stream if _value(line) is not None) - 1
    if pieces > 0:
        raise OutputError(
            f"{output}: an interrupted run left {count(pieces, 'finished piece')}; "
            "pass --resume to continue from there, or --force to start again"
        )


def encoded(value: Any) -> bytes:
    """The line of a value (plain JSON)."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{digest} {text}\n".encode()


def _value(line: bytes) -> Any:
    """The value of a complete line, or None."""
    digest, _, text = line.partition(b" ")
    if not line.endswith(b"\n") or hashlib.sha256(text[:-1]).hexdigest()[:16].encode() != digest:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class Journal:
    """An append-only record of finished pieces, each on disk before :meth:`append` returns.

    Args:
        path: from :func:`journal_path`.
        run: what decides the result (digests, options), as plain JSON values; a resumed run must describe itself alike.
            None where it is not known yet: :meth:`describe` comes before the first piece.
        resume: continue from what is there; otherwise start afresh.

    Attributes:
        described: whether the first line is there.
        finished: values of the pieces that an earlier run finished, in order.
        pieces: how many there are by now.

    Raises:
        UsageError: the journal belongs to a run with other inputs or options; the first difference is named.
        OutputError: the folder cannot be written, or another user's file or a link has the journal's name.
    """

    def __init__(self, path: Path, *, run: Mapping[str, Any] | None, resume: bool) -> None:
        assert run is not None or not resume
        self.path = path
        self.finished: list[Any] = []
        self.described = False
        self._file = open_private(path, fresh=not resume)
        try:
            if run is not None:
                self._begin(json.loads(json.dumps(run)))
        except BaseException:
            self._file.close()
            raise
        self.pieces = len(self.finished)

    def _begin(self, described: Mapping[str, Any]) -> None:
        try:
            valid = self._read(described)
            self._file.truncate(valid)
            self._file.seek(valid)
        except OSError as error:
            raise self._cannot_write(error) from error
        if valid:
            self.described = True
        else:
            self.describe(described)

    def describe(self, run: Mapping[str, Any]) -> None:
        """Write the first line of a journal that was opened without.

        Raises:
            OutputError: the disk is full.
        """
        self._put(encoded(run))
        self.described = True

    def _read(self, described: Mapping[str, Any]) -> int:
        """Fill :attr:`finished`; return how many bytes of the file are sound."""
        first = self._file.readline()
        before = _value(first)
        if not isinstance(before, dict):
            return 0
        for key in {**before, **described}:
            if before.get(key) != described.get(key):
                raise UsageError(
                    f"--resume: the interrupted run had {key} {before.get(key)!r}, this one has "
                    f"{described.get(key)!r}; repeat the same command, or pass --force to start again"
                )
        valid = len(first)
        for line in self._file:
            value = _value(line)
            if value is None:
                break
            self.finished.append(value)
            valid += len(line)
        return valid

    def _put(self, *lines: bytes) -> None:
        try:
            self._file.writelines(lines)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> OutputError:
        return OutputError(f"{self.path}: cannot write the journal of this run: {error.strerror}")

    def append(self, *values: Any) -> None:
        """Add finished pieces: plain JSON values, or what :func:`encoded` made of them; all on disk when this returns.

        Raises:
            OutputError: the disk is full.
        """
        assert self.described
        self._put(*(value if isinstance(value, bytes) else encoded(value) for value in values))
        self.pieces += len(values)

    def remove(self) -> None:
        """Delete the journal: the output it stood for is complete."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
