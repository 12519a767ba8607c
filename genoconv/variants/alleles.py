"""What kind of allele an ALT is, and the shortest way of writing the change it makes."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from genoconv import tokens


class Status(StrEnum):
    """Why an allele has a score (``ok``) or has none; the values of ``GCONV_STATUS``."""

    OK = "ok"
    NO_ALT = "no_alt"
    """ALT is ``.``: there is nothing to score."""
    SYMBOLIC = "symbolic"
    """``<DEL>``, ``<NON_REF>`` and the like, breakends, and sequences of an assembly (``C<ctg1>``)."""
    STAR = "star"
    """``*``: the base is missing because of an upstream deletion."""
    NO_CONTIG = "no_contig"
    """The FASTA has no such sequence, or one of another length."""
    REF_MISMATCH = "ref_mismatch"
    """REF is not what the FASTA has there, or lies beyond the end of the sequence."""
    NON_ACGT = "non_acgt"
    """REF, ALT or the genome at REF has a letter other than A, C, G, T."""
    TOO_LONG = "too_long"
    """Longer than ``--max-indel``, or than the window or the model can hold."""
    N_RICH = "n_rich"
    """More than half of the window is not A, C, G, T."""
    NO_GENE = "no_gene"
    """With ``--context gene``: no gene of the annotation covers the variant."""


_ACGT = frozenset("ACGT")
# IUPAC codes (NC-IUB 1984) as sets of tokens.
_IUPAC = {
    letter: frozenset(int(token) for token in tokens.encode(bases))
    for letter, bases in {
        "A": "A", "C": "C", "G": "G", "T": "T", "U": "T", "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT",
        "M": "AC", "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
    }.items()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Allele:
    """A change of the reference: ``ref`` from ``start`` on (0-based) becomes ``alt``; upper case, A, C, G, T only.

    Bases that both share at their ends are gone, so that one change has one form whatever record it came from
    (``TCG>TGG`` at 9 is ``C>G`` at 10); an insertion has an empty ``ref``, a deletion an empty ``alt``.
    """

    start: int
    ref: str
    alt: str

    @property
    def end(self) -> int:
        """First position after ``ref``."""
        return self.start + len(self.ref)


def trimmed(start: int, ref: str, alt: str) -> Allele:
    """The allele without the bases that ``ref`` and ``alt`` share: first at their ends, then at their starts."""
    ref, alt = ref.upper(), alt.upper()
    tail = 0
    while tail < min(len(ref), len(alt)) and ref[-1 - tail] == alt[-1 - tail]:
        tail += 1
    ref, alt = ref[: len(ref) - tail], alt[: len(alt) - tail]
    head = 0
    while head < min(len(ref), len(alt)) and ref[head] == alt[head]:
        head += 1
    return Allele(start + head, ref[head:], alt[head:])


def symbolic_or_star(alt: str) -> Status | None:
    """The status of an ALT that spells no sequence (``*``, ``<...>``, breakends); None where it does."""
    if alt == "*":
        return Status.STAR
    if alt.startswith(".") or alt.endswith(".") or any(mark in alt for mark in "<>[]"):
        return Status.SYMBOLIC
    return None


def check_ref(ref: str, genome: npt.NDArray[np.uint8]) -> Status | None:
    """Hold a record's REF against the genome's tokens at the same place.

    Case does not matter. An ambiguity code agrees with each base that it stands for, and an unknown base of the
    genome agrees with anything; either makes the alleles ``non_acgt`` because they cannot be scored.

    Returns:
        None where REF is there and plain, ``REF_MISMATCH`` or ``NON_ACGT`` otherwise.
    """
    letters = ref.upper()
    if not letters or not all(letter in _IUPAC for letter in letters):
        return Status.NON_ACGT
    if len(genome) != len(letters):
        return Status.REF_MISMATCH
    plain = _ACGT.issuperset(letters)
    if plain and genome.tobytes() == tokens.encode(letters).tobytes():
        return None
    for letter, token in zip(letters, genome.tolist(), strict=True):
        if not tokens.A <= token <= tokens.T:
            plain = False
        elif token not in _IUPAC[letter]:
            return Status.REF_MISMATCH
    return None if plain else Status.NON_ACGT


def check_alt(alt: str) -> Status | None:
    """``NON_ACGT`` for an ALT with another letter than A, C, G, T in either case; None for a plain one."""
    return None if alt and _ACGT.issuperset(alt.upper()) else Status.NON_ACGT
