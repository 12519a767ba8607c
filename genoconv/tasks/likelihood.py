"""Log-likelihood of each base under a causal model, for many sequences of similar length.

The model reads tokens and gives, at each position, logits for the next. With the softmax taken over A, C, G and T
alone, ``lp[i] = ln P(x[i] | x[0], ..., x[i-1])``. The first base has nothing to be conditioned on, and bases other
than A, C, G, T are not predicted: both count as zero, and :func:`scored` leaves them out of every denominator.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from genoconv.models.hyena import HyenaDNA
from genoconv.models.suffix import Kept, SuffixReuse, base_logits
from genoconv.models.suffix_cpu import CpuSuffixReuse
from genoconv.tasks.batching import cut, fitting_rows, halving, round_up, stack
from genoconv.tokens import A, T

Tokens = npt.NDArray[np.uint8]
LogP = npt.NDArray[np.float32]


Families = dict[int, dict[int, int]]
"""Of each reference its alternatives, and of each of these the first position that matters."""


class Pair(NamedTuple):
    """Two of the sequences: ``alt`` equals ``ref`` before position ``first``, and matters only from there on.

    An ``alt`` belongs to one ``ref``, and is nobody's ``ref`` itself.
    """

    ref: int
    alt: int
    first: int


def scored(tokens: Tokens) -> int:
    """How many bases of ``tokens`` a likelihood counts: A, C, G, T from the second position on."""
    return int(np.count_nonzero((tokens[1:] >= A) & (tokens[1:] <= T)))


def log_probabilities(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probability of every token given those before it.

    Args:
        logits: (B, N, 4) of A, C, G, T, any float type; position i predicts token i + 1.
        ids: (B, N), integers.

    Returns:
        (B, N) float32; 0 at the first position and wherever the token is not A, C, G or T.
    """
    bases = torch.log_softmax(logits[:, :-1].float(), dim=-1)
    target = ids[:, 1:].long() - A
    known = (target >= 0) & (target <= T - A)
    chosen = bases.gather(-1, target.clamp(0, T - A).unsqueeze(-1)).squeeze(-1)
    return nn.functional.pad(torch.where(known, chosen, 0.0), (1, 0))


class _Job:
    """One call: what to read, what belongs together, what was found."""

    def __init__(self, sequences: Sequence[Tokens], families: Families, advance: Callable[[float], object]) -> None:
        self.sequences = sequences
        self.families = families
        self.advance = advance
        self.in_families = {*families, *(alt for alts in families.values() for alt in alts)}
        self.results = [np.zeros(len(sequence), np.float32) for sequence in sequences]


class CausalLikelihood:
    """Runs a model over sequences in batches that fit the memory.

    Args:
        model: ``model(ids (B, N)) -> logits (B, N, V)``, causal. If it has ``prepare(*lengths)``, that is called
            before the first batch of a new length, so that its filters are made once per length.
        device: where the model is.
        starts: window length -> position up to which an alternative in such a window equals its reference, as a rule;
            sequences are padded to these lengths, longer ones to a power of two. With a :class:`HyenaDNA`,
            alternatives are then read from there on (see :mod:`genoconv.models.suffix`); 0 reads them whole.
        max_length: longest sequence that the model takes; no padding goes beyond it.
        batch_size: sequences in a batch; if None from free memory, and on a CPU one alternative at a time
            where windows are large (:mod:`genoconv.models.suffix_cpu`).

    Attributes:
        tokens: how many tokens the model has read so far.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        device: torch.device | str = "cpu",
        starts: dict[int, int] | None = None,
        max_length: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.model = model.eval()
        self.device = torch.device(device)
        self.starts = dict(sorted((starts or {}).items()))
        self.max_length = max_length
        self.batch_size = batch_size
        self.tokens = 0
        self._rows: dict[int, int] = {}
        self._families_at_once: dict[int, int] = {}
        self._prepared: set[int] = set()
        self._reuse: dict[int, SuffixReuse] = {}
        self._cpu_reuse: dict[int, CpuSuffixReuse] = {}

    def padded_length(self, length: int) -> int:
        """The length to which a sequence is padded on the right, where a causal model cannot see it."""
        window = next((window for window in self.starts if length <= window), None)
        rounded = window or round_up(length, steps=1, least=64)
        return rounded if self.max_length is None else min(rounded, self.max_length)

    @torch.inference_mode()
    def __call__(
        self,
        sequences: Sequence[Tokens],
        pairs: Sequence[Pair] = (),
        *,
        advance: Callable[[float], object] | None = None,
    ) -> list[LogP]:
        """Log-probabilities of each sequence, in order, each of its own length.

        A sequence of ``pairs`` may have zeros before the ``first`` of all its pairs.

        Args:
            sequences: tokens, each (L,), uint8.
            pairs: which sequences are alternatives of which.
            advance: called with the number of sequences just read.

        Raises:
            ModelError: one sequence alone does not fit into the memory of the device.
        """
        job = _Job(sequences, self._families(sequences, pairs), advance or (lambda amount: None))
        alone = [index for index in range(len(sequences)) if index not in job.in_families]
        # A reference that is compared with one of these has to be known from its beginning.
        whole = {pair.ref for pair in pairs if pair.alt not in job.in_families} & job.families.keys()
        one_by_one = {ref for ref in job.families if self._reads_one_by_one(len(sequences[ref]))}
        for ref in sorted(one_by_one):
            self._read_family(job, ref, whole=ref in whole)
        rest = job.families.keys() - one_by_one
        for refs, entire in ((rest & whole, True), (rest - whole, False)):
            read = partial(self._read_families, job, whole=entire)
            for length, members in self._by_length(sequences, sorted(refs)):
                for batch in cut(members, self._family_rows(length)):
                    halving(read, batch, device=self.device)
        for length, members in self._by_length(sequences, alone):
            for batch in cut(members, self._single_rows(length)):
                halving(partial(self._read_alone, job), batch, device=self.device)
        return job.results

    def _reads_one_by_one(self, length: int) -> bool:
        """Whether alternatives of windows of this length are read one at a time."""
        model = self.model
        return not self.batch_size and isinstance(model, HyenaDNA) and CpuSuffixReuse.serves(model, length=length)

    def _read_alone(self, job: "_Job", members: list[int]) -> None:
        length = self.padded_length(len(job.sequences[members[0]]))
        values = self._read(stack([job.sequences[index] for index in members], length, device=self.device))
        for index, row in zip(members, values, strict=True):
            job.results[index][:] = row[: len(job.results[index])]
        job.advance(len(members))

    def _read_families(self, job: "_Job", refs: list[int], *, whole: bool) -> None:
        """References of one length, and those of their alternatives that begin late enough."""
        reuse = self._reader(len(job.sequences[refs[0]]))
        ids = stack([job.sequences[ref] for ref in refs], reuse.length, device=self.device)
        values, states = self._read_references(reuse, ids, whole=whole)
        for ref, row in zip(refs, values, strict=True):
            job.results[ref][-len(row) :] = row
        job.advance(len(refs))
        children = [(row, alt) for row, ref in enumerate(refs) for alt in job.families[ref]]
        for batch in cut(children, len(refs) * reuse.length // (reuse.length - reuse.start)):
            suffixes = [job.sequences[alt][reuse.start :] for _, alt in batch]
            ids = stack(suffixes, reuse.length - reuse.start, device=self.device)
            values = self._read_alternatives(reuse, ids, states, [row for row, _ in batch])
            for (_, alt), row in zip(batch, values, strict=True):
                job.results[alt][reuse.start + 1 :] = row[1:]
            job.advance(len(batch))

    def _read_family(self, job: "_Job", ref: int, *, whole: bool) -> None:
        """One reference, and those of its alternatives that begin late enough, on a CPU."""
        alts, length = job.families[ref], len(job.sequences[ref])
        if length not in self._cpu_reuse:
            assert isinstance(self.model, HyenaDNA)
            self._cpu_reuse[length] = CpuSuffixReuse(self.model, length=length)
        reuse = self._cpu_reuse[length]
        [ids] = stack([job.sequences[ref]], length, device=self.device)
        reading = reuse.reference(ids, start=min(alts.values()) - 1, whole=whole)
        first = 0 if whole else reading.start
        values = _numpy(log_probabilities(reading.logits[None], ids[None, first:]))[0]
        job.results[ref][first + 1 :] = values[1:]
        job.advance(1)
        self.tokens += length
        for alt, first in alts.items():
            [ids] = stack([job.sequences[alt]], length, device=self.device)
            logits = reuse.alternative(ids, reading, start=first - 1)
            values = _numpy(log_probabilities(logits[None], ids[None, first - 1 :]))[0]
            job.results[alt][first:] = values[1 : len(job.results[alt]) - first + 1]
            job.advance(1)
            self.tokens += len(logits)

    def _families(self, sequences: Sequence[Tokens], pairs: Sequence[Pair]) -> Families:
        """References, each with those of its alternatives that can be read from the suffix of the window on."""
        families: Families = {}
        if not isinstance(self.model, HyenaDNA):
            return families
        for pair in dict.fromkeys(pairs):
            if pair.alt != pair.ref and 0 < self.starts.get(len(sequences[pair.ref]), 0) < pair.first:
                alts = families.setdefault(pair.ref, {})
                alts[pair.alt] = min(pair.first, alts.get(pair.alt, pair.first))
        return families

    def _by_length(self, sequences: Sequence[Tokens], members: Sequence[int]) -> list[tuple[int, list[int]]]:
        by_length: dict[int, list[int]] = {}
        for index in members:
            by_length.setdefault(self.padded_length(len(sequences[index])), []).append(index)
        return sorted(by_length.items())

    def _read(self, ids: Tensor) -> LogP:
        self.tokens += ids.numel()
        if isinstance(self.model, HyenaDNA):
            logits = base_logits(self.model, self.model.hidden(ids, layer=-1))
        else:
            logits = self.model(ids)[..., A : T + 1]
        return _numpy(log_probabilities(logits, ids))

    def _read_references(self, reuse: SuffixReuse, ids: Tensor, *, whole: bool = True) -> tuple[LogP, list[Kept]]:
        self.tokens += ids.numel()
        logits, states = reuse.reference(ids, whole=whole)
        return _numpy(log_probabilities(logits, ids[:, -logits.shape[1] :])), states

    def _read_alternatives(self, reuse: SuffixReuse, ids: Tensor, states: list[Kept], rows: list[int]) -> LogP:
        self.tokens += ids.numel()
        return _numpy(log_probabilities(reuse.alternative(ids, states, torch.tensor(rows, device=self.device)), ids))

    def _reader(self, length: int) -> SuffixReuse:
        if length not in self._reuse:
            assert isinstance(self.model, HyenaDNA)
            self._reuse[length] = SuffixReuse(self.model, length=length, start=self.starts[length])
        return self._reuse[length]

    def _single_rows(self, length: int) -> int:
        """Sequences of this padded length that are read at once."""
        if length not in self._prepared:
            # Lengths are windows, or double: all together take at most as much again as the longest.
            self._prepared |= {*self.starts, length}
            prepare = getattr(self.model, "prepare", None)
            if prepare is not None:
                prepare(*sorted(self._prepared))
        if length not in self._rows:
            self._rows[length] = self._fitting(length, lambda ids: self._read(ids))
        return self._rows[length]

    def _family_rows(self, length: int) -> int:
        """References of this length that are read at once, with room for as many alternatives."""
        if length not in self._families_at_once:
            reuse = self._reader(length)

            def try_one(ids: Tensor) -> None:
                _, states = self._read_references(reuse, ids)
                self._read_alternatives(reuse, ids[:, reuse.start :], states, [0])

            self._families_at_once[length] = self._fitting(length, try_one)
        return self._families_at_once[length]

    def _fitting(self, length: int, try_one: Callable[[Tensor], object]) -> int:
        """Rows of a batch: as asked for, or what a GPU's free memory holds, or what suits a CPU's caches."""
        if self.batch_size:
            return self.batch_size
        return fitting_rows(try_one, length=length, device=self.device)


def _numpy(values: Tensor) -> LogP:
    array: LogP = values.cpu().numpy()
    return array
