"""One number for a set of sequences: which genome was this?"""

import hashlib
from collections.abc import Callable, Iterable

from genoconv.genome.fasta.access import Fasta


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

    def add_sequence(self, name: str, sequence: bytes) -> None:
        """Take in the next sequence by its letters, without blanks or line ends."""
        self.add(name, hashlib.md5(sequence.upper(), usedforsecurity=False).hexdigest())

    def hexdigest(self) -> str:
        """The digest of what was taken in so far."""
        return self._sha256.hexdigest()


def digest_of(fasta: Fasta, names: Iterable[str], *, advance: Callable[[float], object] | None = None) -> str:
    """:class:`SequencesDigest` of those contigs of a FASTA, in its order; each is read whole.

    ``advance`` receives the bases of each when it is done.
    """
    used = set(names)
    digest = SequencesDigest()
    for contig in fasta.contigs:
        if contig in used:
            digest.add(contig, fasta.digest(contig))
            if advance is not None:
                advance(fasta.contigs[contig])
    return digest.hexdigest()
