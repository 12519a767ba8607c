"""Scores of sequences in memory: no VCF, no FASTA, one call."""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from genoconv.errors import ModelError, UsageError
from genoconv.models.hyena import HyenaDNA
from genoconv.tasks.comparison import Comparisons, Reduce, first_difference
from genoconv.tasks.likelihood import CausalLikelihood
from genoconv.tokens import VOCAB_SIZE, Tokens, encode, reverse_complement

Sequences: TypeAlias = str | Sequence[str] | Tensor | npt.NDArray[np.integer]

STRANDS = ("both", "forward", "reverse")
_LETTERS = frozenset("ACGTNRYSWKMBDHVX.-*")
"""Letters of DNA: bases, IUPAC codes, gaps."""


@overload
def score(
    model: nn.Module,
    ref: str,
    alt: str,
    *,
    reduce: Literal["sum", "mean", "site"] = ...,
    strand: Literal["both", "forward", "reverse"] = ...,
    batch_size: int | None = ...,
) -> float: ...


@overload
def score(
    model: nn.Module,
    ref: Sequences,
    alt: Sequences,
    *,
    reduce: Literal["sum", "mean", "site"] = ...,
    strand: Literal["both", "forward", "reverse"] = ...,
    batch_size: int | None = ...,
) -> float | npt.NDArray[np.float64]: ...


def score(
    model: nn.Module,
    ref: Sequences,
    alt: Sequences,
    *,
    reduce: Literal["sum", "mean", "site"] = "sum",
    strand: Literal["both", "forward", "reverse"] = "both",
    batch_size: int | None = None,
) -> float | npt.NDArray[np.float64]:
    """Log-likelihood ratio of ``alt`` to ``ref`` under a model: ln P(alt) - ln P(ref), in nats.

    This is the score that ``genoconv score-variants`` writes, for windows that you provide: P is over A, C, G and T
    only, the first base and other letters serve as context only, and the two strands are averaged. ``score-variants``
    uses windows of equal length; if lengths differ, ``sum`` compares sums over different numbers of bases.

    Args:
        model: from :func:`genoconv.load_model`, or any causal ``model(ids (B, N)) -> logits (B, N, V)``.
        ref: DNA in upper or lower case, or token ids (L,); or several: a list of DNA, or token ids (B, L).
        alt: like ``ref``. One of the two may be a single sequence when the other is several.
        reduce: ``sum`` over all bases, ``mean`` per base of ``ref``, or ``site``: sum only over the changed bases, as
            many as the longer allele has, starting at the first difference.
        strand: average the forward and reverse-complement readings, or use one of them.
        batch_size: sequences per batch; if None, as many as fit in memory.

    Returns:
        A float for a single pair; otherwise a float64 array (B,).

    Raises:
        UsageError: empty or ragged input, different numbers of ``ref`` and ``alt``, letters that are not DNA, or
            invalid token ids.
        ModelError: a sequence is longer than the model's maximum.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"model is a {type(model).__name__}; it must be a model: genoconv.load_model(...)")
    refs, alts = _tokens(ref, name="ref"), _tokens(alt, name="alt")
    count = max(len(refs), len(alts))
    if {len(refs), len(alts)} - {1, count}:
        raise UsageError(f"{len(refs)} ref and {len(alts)} alt: pass equal numbers, or one of either")
    for option, value, known in (("reduce", reduce, list(map(str, Reduce))), ("strand", strand, list(STRANDS))):
        if value not in known:
            raise UsageError(f"{option} is {value!r}; it must be one of {', '.join(known)}")
    limit = model.config.input_limit if isinstance(model, HyenaDNA) else None
    longest = max(map(len, (*refs, *alts)))
    if limit is not None and longest > limit:
        raise ModelError(f"a sequence of {longest:,} bases: this model takes 1 to {limit:,}; cut it into windows")
    compared = Comparisons(Reduce(reduce))
    pairs = zip(refs * (count // len(refs)), alts * (count // len(alts)), strict=True)
    plans = [_strands(one, other, strand, compared) for one, other in pairs]
    parameter = next(model.parameters(), None)
    likelihood = CausalLikelihood(
        model,
        device=torch.device("cpu") if parameter is None else parameter.device,
        max_length=limit,
        batch_size=batch_size,
    )
    compared.read(likelihood)
    values: npt.NDArray[np.float64] = compared.differences()[np.array(plans)].mean(1)
    return values if _several(ref) or _several(alt) else float(values[0])


def _strands(ref: Tokens, alt: Tokens, strand: str, compared: Comparisons) -> list[int]:
    found = []
    if strand != "reverse":
        found.append(compared.add(ref, alt, *_sites(ref, alt)))
    if strand != "forward":
        ref_site, alt_site = _sites(ref, alt)
        mirrored = [
            (len(tokens) - end, len(tokens) - start) for tokens, (start, end) in ((ref, ref_site), (alt, alt_site))
        ]
        found.append(compared.add(reverse_complement(ref), reverse_complement(alt), mirrored[0], mirrored[1]))
    return found


def _sites(ref: Tokens, alt: Tokens) -> tuple[tuple[int, int], tuple[int, int]]:
    """The change in each: between what both share at their starts and at their ends, equally long in both."""
    first = first_difference(ref, alt)
    if first is None:
        return (0, 0), (0, 0)
    tail = first_difference(ref[first:][::-1], alt[first:][::-1]) or 0
    bases = max(len(ref), len(alt)) - first - tail
    return (first, min(first + bases, len(ref))), (first, min(first + bases, len(alt)))


def _several(given: Sequences) -> bool:
    return given.ndim > 1 if isinstance(given, Tensor | np.ndarray) else not isinstance(given, str)


def _tokens(given: Sequences, *, name: str) -> list[Tokens]:
    if isinstance(given, Tensor | np.ndarray):
        ids = given.detach().cpu().numpy() if isinstance(given, Tensor) else given
        if ids.ndim not in (1, 2) or ids.dtype.kind not in "iu":
            raise UsageError(f"{name}: got {ids.dtype} of shape {ids.shape}; token ids are integers (L,) or (B, L)")
        if ids.size and not (ids.min() >= 0 and ids.max() < VOCAB_SIZE):
            raise UsageError(f"{name}: token ids are 0 to {VOCAB_SIZE - 1}, got {ids.min()} to {ids.max()}")
        found = [row.astype(np.uint8) for row in np.atleast_2d(ids)]
    else:
        found = [_encoded(text, name=name) for text in _texts(given, name=name)]
    if not found or not all(map(len, found)):
        raise UsageError(f"{name}: no sequence, or an empty one")
    return found


def _texts(given: str | Sequence[str], *, name: str) -> list[str]:
    texts = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"{name}: got {type(text).__name__}; give DNA as text, a list of texts, or token ids")
    return texts


def _encoded(text: str, *, name: str) -> Tokens:
    odd = next((letter for letter in text if letter.upper() not in _LETTERS), None)
    if odd is not None:
        hint = "RNA? write T for U" if odd in "Uu" else "give DNA; unknown bases are N"
        raise UsageError(f"{name}: {odd!r} at position {text.index(odd)} is not a DNA letter ({hint})")
    return encode(text)
