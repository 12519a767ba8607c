"""Is this DNA? Asked of a sample of every file, so that a protein is refused and not turned into unknown tokens."""

from genoconv.errors import DataError

_NUCLEOTIDE = b"ACGTNRYSWKMBDHV" + b"acgtnryswkmbdhv"
# X masks vector in some assemblies; the others mark gaps or a stop.
_TOLERATED = b"Xx.-*~ \t\r\n"
_ALLOWED = _NUCLEOTIDE + _TOLERATED + b"Uu"
_LIMIT = 0.1
SAMPLE = 1 << 14
"""Letters at the start of a record that are looked at."""


def check_dna(sample: bytes, *, source: str, record: str) -> None:
    """Refuse a record whose sequence cannot be DNA.

    Args:
        sample: sequence letters, from anywhere in the record.
        source: file, for the message.
        record: name of the record, for the message.

    Raises:
        DataError: more than 10 % of the sample are not nucleotide codes (IUPAC), or it holds U and no T.
    """
    uracil = sample.count(b"U") + sample.count(b"u")
    if uracil > _LIMIT * len(sample) and not (b"T" in sample or b"t" in sample):
        raise DataError(
            f"{source}: record {record!r} is RNA (U and no T); write T for U, e.g. with `seqkit seq --rna2dna`"
        )
    strange = sample.translate(None, _ALLOWED)
    share = len(strange) / max(1, len(sample))
    if share > _LIMIT:
        letters = " ".join(sorted(repr(chr(letter))[1:-1] for letter in set(strange))[:8])
        raise DataError(
            f"{source}: record {record!r} is not DNA: {share:.0%} of its letters ({letters}) are not nucleotide codes"
            " (protein?); give a DNA FASTA"
        )
