"""Downloads of one file from a server on loopback into one folder."""

import hashlib
import json
import random
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback, etag

from genoconv.errors import DownloadError
from genoconv.genome.assemblies.manifest import RemoteFile
from genoconv.genome.assemblies.transfer.download import (
    Fetched,
    download,
)
from genoconv.genome.assemblies.transfer.network import Patience
from genoconv.genome.assemblies.transfer.part import Advance

SIZE = 300_000
CONTENT = random.Random(1).randbytes(SIZE)
OTHER = random.Random(2).randbytes(SIZE)
ETAG = etag(CONTENT)
PATH = "/genomes/a.fa.gz"
MIRROR = "/mirror/a.fa.gz"
QUICK = Patience(attempts=4, first_wait=0)


class Downloads:
    """Downloads into one folder, with a tally of what the progress bar received."""

    def __init__(self, server: Loopback, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.target = folder / "a.fa.gz"
        self.progress = 0.0
        self.highest = 0.0

    def advance(self, amount: float) -> None:
        self.progress += amount
        self.highest = max(self.highest, self.progress)

    def bar(self) -> AbstractContextManager[Advance]:
        self.progress = 0.0
        return nullcontext(self.advance)

    def run(self, *sources: str, recorded: str | None = None, **known: Any) -> Fetched:
        urls = sources or (self.server.url(PATH),)
        return download(
            RemoteFile(urls=[self.server.url(PATH)], **known),
            self.target,
            sources=urls,
            patience=QUICK,
            recorded=recorded,
            progress=self.bar,
        )

    def leave_part(self, content: bytes, *, version: str | None = ETAG) -> None:
        """What an earlier run left, of a file that was the size of CONTENT."""
        state = {"url": self.server.url(PATH), "version": version, "bytes": SIZE}
        (self.folder / "a.fa.gz.part").write_bytes(content)
        (self.folder / "a.fa.gz.part.json").write_text(json.dumps(state))

    def fails(self, *sources: str, match: str, **known: Any) -> None:
        with pytest.raises(DownloadError, match=match):
            self.run(*sources, **known)
        assert not self.target.exists()

    def is_right(self, content: bytes = CONTENT) -> bool:
        """Whether the target has the content, nothing else lies there, and the progress reported it."""
        assert self.progress == len(content)
        return self.target.read_bytes() == content and list(self.folder.iterdir()) == [self.target]


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
