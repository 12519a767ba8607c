"""One number for a set of sequences: which genome was this?"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

# Contigs that are read at the same time: the MD5 takes longer than the rest, and leaves other threads alone.
_AT_ONCE = 4


class SequencesDigest:
    """SHA-256 over a line ``name<tab>md5`` for every sequence, in the order of the file.

    The MD5 is that of the sequence in upper case: ``M5`` of the SAM specification, :meth:`.Fasta.digest`. Line widths,
    compression and soft mask do not matter; names, bases and order do.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, name: str, md5: str) -> None:
        """Take in the next sequence."""
        self._sha256.update(f"{name}\t{md5}\n".encode())

    def hexdigest(self) -> str:
        """The digest of what was taken in so far."""
        return self._sha256.hexdigest()


class Digested(Protocol):
    """Sequences such as those of a :class:`.Fasta`."""

    @property
    def contigs(self) -> Mapping[str, int]:
        """Name -> length in bases."""

    def digest(self, contig: str) -> str:
        """MD5 of one in upper case, hexadecimal."""


def md5s_of(
    fasta: Digested, names: Iterable[str], *, advance: Callable[[float], object] | None = None
) -> dict[str, str]:
    """:meth:`.Fasta.digest` of those contigs of a FASTA, in its order; each is read whole, several at a time.

    ``advance`` receives the bases of each when it is done.
    """
    wanted = set(names)
    used = [contig for contig in fasta.contigs if contig in wanted]
    found = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for contig, md5 in zip(used, pool.map(fasta.digest, used), strict=True):
                found[contig] = md5
                if advance is not None:
                    advance(fasta.contigs[contig])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def digest_of(fasta: Digested, names: Iterable[str], *, advance: Callable[[float], object] | None = None) -> str:
    """:class:`SequencesDigest` of contigs; arguments as for :func:`md5s_of`."""
    return digest_of_md5s(md5s_of(fasta, names, advance=advance))


def digest_of_md5s(md5s: Mapping[str, str]) -> str:
    """:class:`SequencesDigest` of sequences whose MD5 is known, by name."""
    digest = SequencesDigest()
    for name, md5 in md5s.items():
        digest.add(name, md5)
    return digest.hexdigest()
