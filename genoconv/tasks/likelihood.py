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
from genoconv.models.suffix import Kept, SuffixReuse
from genoconv.models.suffix_cpu import CpuSuffixReuse
from genoconv.tasks.batching import cut, fetching, fitting_rows, halving, round_up, sent, stack
from genoconv.tasks.families import Families
from genoconv.tasks.rows import Indices, Rows
from genoconv.tokens import A, T

Tokens = npt.NDArray[np.uint8]
LogP = npt.NDArray[np.float32]


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


class _Job(NamedTuple):
    """One call: what to read, what belongs together, what was found."""

    sequences: Rows[np.uint8]
    families: Families
    advance: Callable[[float], object]
    results: Rows[np.float32]


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
        rows = Rows.of(sequences, dtype=np.uint8)
        return list(self.read(rows, np.array(pairs, np.int64).reshape(-1, 3), advance=advance))

    @torch.inference_mode()
    def read(
        self, sequences: Rows[np.uint8], pairs: Indices, *, advance: Callable[[float], object] | None = None
    ) -> Rows[np.float32]:
        """The same for many sequences in one array.

        Args:
            sequences: tokens.
            pairs: (P, 3) as of :class:`Pair`.
            advance: called with the number of sequences just read.
        """
        starts = self.starts if isinstance(self.model, HyenaDNA) else {}
        families = Families.of_pairs(pairs, lengths=sequences.lengths, starts=starts)
        job = _Job(sequences, families, advance or (lambda amount: None), sequences.zeros(np.float32))
        alone = np.flatnonzero(~families.members)
        refs = np.unique(families.refs)
        one_by_one = np.isin(sequences.lengths[refs], self._lengths_one_by_one(np.unique(sequences.lengths[refs])))
        for ref in refs[one_by_one].tolist():
            self._read_family(job, ref)
        rest = refs[~one_by_one]
        for whole in (True, False):
            read = partial(self._read_families, job, whole=whole)
            for length, members in self._by_length(sequences, rest[families.whole[rest] == whole]):
                for batch in cut(members, self._family_rows(length)):
                    halving(read, batch, device=self.device)
        for length, members in self._by_length(sequences, alone):
            for batch in cut(members, self._single_rows(length)):
                halving(partial(self._read_alone, job), batch, device=self.device)
        return job.results

    def _lengths_one_by_one(self, lengths: Indices) -> list[int]:
        return [length for length in lengths.tolist() if self._reads_one_by_one(length)]

    def _reads_one_by_one(self, length: int) -> bool:
        """Whether alternatives of windows of this length are read one at a time."""
        model = self.model
        return not self.batch_size and isinstance(model, HyenaDNA) and CpuSuffixReuse.serves(model, length=length)

    def _read_alone(self, job: _Job, members: list[int]) -> None:
        rows = np.array(members)
        length = self.padded_length(int(job.sequences.lengths[members[0]]))
        job.results.put(rows, self._read(self._ids(job.sequences.taken(rows, length))))
        job.advance(len(members))

    def _read_families(self, job: _Job, members: list[int], *, whole: bool) -> None:
        """References of one length, and those of their alternatives that begin late enough."""
        refs = np.array(members)
        reuse = self._reader(int(job.sequences.lengths[members[0]]))
        values, states = self._read_references(reuse, self._ids(job.sequences.taken(refs, reuse.length)), whole=whole)
        job.results.put(refs, values, first=reuse.length - values.shape[1])
        job.advance(len(refs))
        self._read_changed(job, reuse, states, refs)

    def _read_changed(self, job: _Job, reuse: SuffixReuse, states: list[Kept], refs: Indices) -> None:
        """The alternatives of references: as many at once as memory has been found for, however few references."""
        index, alts, _ = job.families.of(refs)
        rows = len(refs), max(len(refs), self._family_rows(reuse.length))
        least, size = (count * reuse.length // (reuse.length - reuse.start) for count in rows)
        first = 0
        while first < len(alts):
            some = slice(first, first + size)
            ids = self._ids(job.sequences.taken(alts[some], reuse.length, first=reuse.start))
            values = None
            try:
                values = self._read_alternatives(reuse, ids, states, index[some])
            except torch.OutOfMemoryError:
                if size == least:
                    raise  # so fewer references, too
            if values is None:
                torch.cuda.empty_cache()
                size = max(least, size // 2)
                continue
            job.results.put(alts[some], values[:, 1:], first=reuse.start + 1)
            job.advance(values.shape[0])
            first += size

    def _read_family(self, job: _Job, ref: int) -> None:
        """One reference, and those of its alternatives that begin late enough, on a CPU."""
        whole, length = bool(job.families.whole[ref]), int(job.sequences.lengths[ref])
        _, alts, firsts = job.families.of(np.array([ref]))
        if length not in self._cpu_reuse:
            assert isinstance(self.model, HyenaDNA)
            self._cpu_reuse[length] = CpuSuffixReuse(self.model, length=length)
        reuse = self._cpu_reuse[length]
        [ids] = stack([job.sequences[ref]], length, device=self.device)
        reading = reuse.reference(ids, start=int(firsts.min()) - 1, whole=whole)
        first = 0 if whole else reading.start
        values = _numpy(log_probabilities(reading.logits[None], ids[None, first:]))[0]
        job.results[ref][first + 1 :] = values[1:]
        job.advance(1)
        self.tokens += length
        for alt, first in zip(alts.tolist(), firsts.tolist(), strict=True):
            [ids] = stack([job.sequences[alt]], length, device=self.device)
            logits = reuse.alternative(ids, reading, start=first - 1)
            values = _numpy(log_probabilities(logits[None], ids[None, first - 1 :]))[0]
            result = job.results[alt]
            result[first:] = values[1 : len(result) - first + 1]
            job.advance(1)
            self.tokens += len(logits)

    def _by_length(self, sequences: Rows[np.uint8], members: Indices) -> list[tuple[int, list[int]]]:
        by_length: dict[int, list[Indices]] = {}
        lengths = sequences.lengths[members]
        for length in np.unique(lengths).tolist():
            by_length.setdefault(self.padded_length(length), []).append(members[lengths == length])
        return sorted((length, np.sort(np.concatenate(some)).tolist()) for length, some in by_length.items())

    def _ids(self, tokens: Tokens) -> Tensor:
        return sent(tokens, self.device).long()  # a byte each goes there

    def _read(self, ids: Tensor) -> LogP:
        self.tokens += ids.numel()
        if isinstance(self.model, HyenaDNA):
            logits = self.model.base_logits(ids)
        else:
            logits = self.model(ids)[..., A : T + 1]
        return _numpy(log_probabilities(logits, ids))

    def _read_references(self, reuse: SuffixReuse, ids: Tensor, *, whole: bool = True) -> tuple[LogP, list[Kept]]:
        self.tokens += ids.numel()
        logits, states = reuse.reference(ids, whole=whole)
        return _numpy(log_probabilities(logits, ids[:, -logits.shape[1] :])), states

    def _read_alternatives(self, reuse: SuffixReuse, ids: Tensor, states: list[Kept], rows: Indices) -> LogP:
        self.tokens += ids.numel()
        return _numpy(log_probabilities(reuse.alternative(ids, states, sent(rows, self.device)), ids))

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
                self._read_alternatives(reuse, ids[:, reuse.start :], states, np.array([0]))

            self._families_at_once[length] = self._fitting(length, try_one)
        return self._families_at_once[length]

    def _fitting(self, length: int, try_one: Callable[[Tensor], object]) -> int:
        """Rows of a batch: as asked for, or what a GPU's free memory holds, or what suits a CPU's caches."""
        if self.batch_size:
            return self.batch_size
        return fitting_rows(try_one, length=length, device=self.device)


def _numpy(values: Tensor) -> LogP:
    return fetching(values)()
