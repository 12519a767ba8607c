"""MD5 of the records of a FASTA, computed beside those who use their letters."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from genoconv.genome.fasta.scan import Letters, upper

_WAITING = 4
# Letters whose digest takes less time than to have another thread make it.
_FEW = 1 << 13


class Md5s:
    """MD5 of records in upper case; long ones by a thread.

    Attributes:
        found: name -> digest, in the order of the records; complete after the block.
    """

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="genoconv md5")
        self._waiting: deque[Future[None]] = deque()

    def taking(self, name: str, parts: Iterable[Letters]) -> Iterator[Letters]:
        """The same parts of a record, taken in."""
        md5 = hashlib.md5(usedforsecurity=False)
        self.found[name] = b""  # its place
        beside = False
        for letters in parts:
            beside = beside or len(letters) > _FEW
            if beside:
                self._submit(md5, letters)
            else:
                md5.update(letters.upper())
            yield letters
        if beside:
            self._waiting.append(self._thread.submit(self._keep, name, md5))
        else:
            self._keep(name, md5)

    def _submit(self, md5: Any, letters: Letters) -> None:
        self._waiting.append(self._thread.submit(md5.update, upper(letters)))
        while len(self._waiting) > _WAITING:
            self._waiting.popleft().result()

    def _keep(self, name: str, md5: Any) -> None:
        self.found[name] = md5.digest()

    def __enter__(self) -> "Md5s":
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.shutdown(cancel_futures=exception[0] is not None)
