"""What a long run has finished, kept beside its output so that it can go on after an interruption.

A journal is a text file of one JSON value a line. The first line describes the run; each later line is one finished
piece of work and the SHA-256 of its text. A line that was cut short by a kill or a power failure is dropped when the
journal is opened again, with everything after it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from genoconv.errors import OutputError, UsageError


def journal_path(output: Path) -> Path:
    """The journal of ``output``: a hidden file in the same folder."""
    return output.with_name(f".{output.name}.genoconv-journal")


def _line(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{digest} {text}\n".encode()


def _value(line: bytes) -> Any:
    """The value of a complete line, or None."""
    digest, _, text = line.partition(b" ")
    if not line.endswith(b"\n") or hashlib.sha256(text[:-1]).hexdigest()[:16].encode() != digest:
        return None
    return json.loads(text)


class Journal:
    """An append-only record of finished pieces, each on disk before :meth:`append` returns.

    Args:
        path: from :func:`journal_path`.
        run: what decides the result (digests, options), as plain JSON values; a resumed run must describe itself alike.
        resume: go on from what is there; otherwise start afresh.

    Attributes:
        finished: values of the pieces that an earlier run finished, in order.

    Raises:
        UsageError: the journal belongs to a run with other inputs or options; the first difference is named.
        OutputError: the folder cannot be written.
    """

    def __init__(self, path: Path, *, run: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        self.finished: list[Any] = []
        described = json.loads(json.dumps(run))
        valid = self._read(described) if resume and path.exists() else 0
        try:
            self._file = path.open("r+b" if valid else "wb")
            self._file.truncate(valid)
            self._file.seek(valid)
            if not valid:
                self._put(described)
        except OSError as error:
            raise OutputError(f"{path}: cannot write the journal of this run: {error.strerror}") from error

    def _read(self, described: Mapping[str, Any]) -> int:
        """Fill :attr:`finished`; return how many bytes of the file are sound."""
        valid = 0
        with self.path.open("rb") as stream:
            first = stream.readline()
            before = _value(first)
            if before is None:
                return 0
            for key in {**before, **described}:
                if before.get(key) != described.get(key):
                    raise UsageError(
                        f"--resume: the interrupted run had {key} {before.get(key)!r}, this one has "
                        f"{described.get(key)!r}; repeat the call as it was, or leave --resume out to start again"
                    )
            valid += len(first)
            for line in stream:
                value = _value(line)
                if value is None:
                    break
                self.finished.append(value)
                valid += len(line)
        return valid

    def _put(self, value: Any) -> None:
        self._file.write(_line(value))
        self._file.flush()
        os.fsync(self._file.fileno())

    def append(self, value: Any) -> None:
        """Add one finished piece (plain JSON values); on disk when this returns."""
        self._put(value)

    def remove(self) -> None:
        """Delete the journal: the output it stood for is complete."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
