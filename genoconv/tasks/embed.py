"""Vectors of sequences: a model's states, pooled over each sequence or kept base by base.

The model looks backwards only, so rows of a batch are padded on the right, where no base sees the padding, and the
padding is left out of every pool: a sequence has the same vector alone and in any company (to rounding). A sequence
longer than the model takes is read in pieces of equal length; a piece does not see what lies before it. For
comparison with published pipelines each piece can be framed in special tokens and padded on the left.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genoconv.genome.windows.intervals import equal_parts
from genoconv.models.config import ModelConfig
from genoconv.models.hyena import HyenaDNA
from genoconv.models.published.special_tokens import PLAIN, Framing
from genoconv.tasks.batching import computing, cut, fitting_rows, halving, round_up, stack
from genoconv.tokens import N, Tokens, reverse_complement

Vectors = npt.NDArray[np.float32]

_REMEDY = "a smaller --max-length, --precision bf16"
_CHUNK_ROWS = 4096


class Pool(StrEnum):
    """How the states of a sequence become one vector: NONE keeps one vector per base."""

    MEAN = "mean"
    MAX = "max"
    LAST = "last"
    NONE = "none"


class Reading(StrEnum):
    """In which direction a sequence is read: that of its strand, or that and the opposite, averaged."""

    FORWARD = "forward"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of sequence that becomes one row, or one row per base.

    Attributes:
        name, contig: what it is called, and where it lies.
        start, end: its bases on the contig, 0-based half-open.
        strand: ``+``, ``-`` or ``.``; ``-`` is read as its reverse complement.
        tokens: (end - start,) uint8, those of the forward strand in any case.
    """

    name: str
    contig: str
    start: int
    end: int
    strand: str
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class _Piece:
    """Bases ``start`` to ``end`` of span number ``span``, read in one direction; 0-based, within the span."""

    span: int
    start: int
    end: int
    backwards: bool

    @property
    def length(self) -> int:
        return self.end - self.start


def most_bases(config: ModelConfig, framing: Framing) -> int:
    """Longest piece, in bases, that is read at once beside the special tokens of ``framing``, unless more is asked for.

    More can be asked of models whose ``config.input_limit`` is None.
    """
    if framing.length is None and not framing.policy.extra:
        return config.max_bases
    return (framing.length or config.max_length) - framing.policy.extra


class Embedder:
    """Reads spans with a model, in batches that fit the memory, and pools what it finds.

    Args:
        model: where it is, and in its own floating type.
        pool: see :class:`Pool`. Over several pieces: the mean weighs each base alike, the maximum is that of all, the
            last state is that after the last base, with as many bases before it as the model takes.
        reading: see :class:`Reading`. BOTH averages the vectors of the two directions; without a pool, base by base.
        layer: as in :meth:`.HyenaDNA.hidden`.
        max_length: longest piece, in bases; if None as long as the windows that the model was trained on.
        batch_size: pieces in a batch; from free memory if None.
        framing: what each piece has around its bases. States of bases are pooled, those of special tokens and padding
            not, but for LAST: it is the state after the last token, which is [SEP] where there is one.

    Attributes:
        width: length of a vector.
    """

    def __init__(
        self,
        model: HyenaDNA,
        *,
        pool: Pool = Pool.MEAN,
        reading: Reading = Reading.FORWARD,
        layer: int | None = None,
        max_length: int | None = None,
        batch_size: int | None = None,
        framing: Framing = PLAIN,
    ) -> None:
        self.model = model.eval()
        self.device = next(model.parameters()).device
        self.width = model.config.d_model
        self.pool = pool
        self.reading = reading
        self.layer = layer
        self.framing = framing
        limit = most_bases(model.config, framing)
        unlimited = model.config.input_limit is None and framing.length is None
        self.max_length = (max_length or limit) if unlimited else min(max_length or limit, limit)
        self.batch_size = batch_size
        self._rows: dict[int, int] = {}
        self._prepared = 0
        self._blank: tuple[int, Vectors] | None = None

    def pieces(self, length: int) -> int:
        """How many pieces a span of this length has; of the LAST pool only the last one is read."""
        return -(-length // self.max_length)

    @torch.inference_mode()
    def __call__(self, spans: Sequence[Span], *, advance: Callable[[float], None] | None = None) -> list[Vectors]:
        """Vectors of each span, in order: (1, width), or (bases, width) in the span's own direction without a pool.

        An empty span has no states: its vector is NaN.

        Args:
            spans: what to read.
            advance: called with the number of bases of ``spans`` that have just been done.

        Raises:
            ModelError: one piece alone does not fit into the memory of the device.
        """
        work = [self._pieces(number, span) for number, span in enumerate(spans)]
        found = _Found(spans, self.pool, self.width, directions=2 if self.reading == Reading.BOTH else 1)

        def done(batch: list[_Piece]) -> None:
            if advance is not None:
                advance(sum(len(spans[piece.span].tokens) / len(work[piece.span]) for piece in batch))

        def read(batch: list[_Piece]) -> None:
            length = self._padded(batch[0].length)
            rows = [self.framing(_tokens(spans[piece.span], piece)) for piece in batch]
            with computing():
                self._prepare(length)
                states = self._states(stack(rows, length, device=self.device), [piece.length for piece in batch])
            for piece, values in zip(batch, states, strict=True):
                found.add(piece, values)
            done(batch)

        by_length: dict[int, list[_Piece]] = {}
        blank: dict[int, list[_Piece]] = {}
        for pieces in work:
            for piece in pieces:
                if _is_blank(spans[piece.span], piece):
                    blank.setdefault(piece.length, []).append(piece)
                else:
                    by_length.setdefault(self._padded(piece.length), []).append(piece)
        for length, members in sorted(by_length.items()):
            for batch in cut(members, self._fitting(length)):
                halving(read, batch, device=self.device, remedy=_REMEDY)
        for length, members in sorted(blank.items()):
            values = self._blank_states(length)
            for piece in members:
                found.add(piece, values)
            done(members)
        return found.vectors()

    def _blank_states(self, length: int) -> Vectors:
        """States of ``length`` times N, read once for all the gaps of a genome that are that long."""
        with computing():
            if self._blank is None or self._blank[0] != length:
                padded = self._padded(length)
                self._fitting(padded)

                def read(batch: list[Tokens]) -> None:
                    self._prepare(padded)
                    ids = stack([self.framing(tokens) for tokens in batch], padded, device=self.device)
                    [values] = self._states(ids, [length])
                    self._blank = length, values

                halving(read, [np.full(length, N, np.uint8)], device=self.device, remedy=_REMEDY)
            assert self._blank is not None
            return self._blank[1]

    def _pieces(self, number: int, span: Span) -> list[_Piece]:
        length = len(span.tokens)
        if not length:
            return []
        own = span.strand == "-"
        directions = (own, not own) if self.reading == Reading.BOTH else (own,)
        if self.pool == Pool.LAST:
            whole = min(length, self.max_length)
            return [_Piece(number, *((0, whole) if back else (length - whole, length)), back) for back in directions]
        parts = list(equal_parts(0, length, self.max_length))
        return [_Piece(number, start, end, back) for back in directions for start, end in parts]

    def _padded(self, bases: int) -> int:
        """Tokens to which a piece is padded."""
        length = round_up(self.framing.tokens(bases), steps=4, least=16)
        return min(length, self.framing.tokens(self.max_length))

    def _fitting(self, length: int) -> int:
        """Pieces of this padded length that are read at once."""
        if self.batch_size:
            return self.batch_size
        with computing():
            if length not in self._rows:
                self._prepare(length)
                bases = length - self.framing.policy.extra
                self._rows[length] = fitting_rows(
                    lambda ids: self._states(ids, [bases] * len(ids)), length=length, device=self.device, remedy=_REMEDY
                )
            return self._rows[length]

    def _prepare(self, length: int) -> None:
        """Make the model's filters for this padded length."""
        if self._prepared != length:
            # One length at a time: what is kept then does not depend on what was read before, to the last bit.
            self.model.prepare(length)
            self._prepared = length

    def _states(self, ids: Tensor, bases: list[int]) -> list[Vectors]:
        """What each row leaves: (1, width) pooled, or (its bases, width)."""
        states = self.model.hidden(ids, layer=self.layer).float()
        first = [self.framing.first(count) for count in bases]
        if self.pool == Pool.NONE:
            return [row[f : f + n].cpu().numpy() for row, f, n in zip(states, first, bases, strict=True)]
        begins, counts = torch.tensor(first, device=self.device), torch.tensor(bases, device=self.device)
        ends = begins + counts
        if self.pool == Pool.LAST:
            last = ends - 1 + self.framing.policy.after
            pooled = states[torch.arange(len(states), device=self.device), last]
        else:
            place = torch.arange(states.shape[1], device=self.device)
            other = ((place < begins[:, None]) | (place >= ends[:, None]))[..., None]
            if self.pool == Pool.MEAN:
                pooled = states.masked_fill_(other, 0.0).sum(1) / counts[:, None]
            else:
                pooled = states.masked_fill_(other, -torch.inf).amax(1)
        return list(pooled[:, None].cpu().numpy())


class _Found:
    """The vectors of some spans, put together from their pieces, which may come in any order."""

    def __init__(self, spans: Sequence[Span], pool: Pool, width: int, *, directions: int) -> None:
        self.spans = spans
        self.pool = pool
        self.directions = directions
        self.held: list[Vectors] | Vectors
        if pool == Pool.NONE:
            self.held = [np.zeros((len(span.tokens), width), np.float32) for span in spans]
        else:
            self.held = np.full((len(spans), directions, width), -np.inf if pool == Pool.MAX else 0, np.float32)

    def add(self, piece: _Piece, values: Vectors) -> None:
        held, span = self.held[piece.span], self.spans[piece.span]
        direction = int(piece.backwards != (span.strand == "-"))
        if self.pool == Pool.NONE:
            held[piece.start : piece.end] += (values[::-1] if piece.backwards else values) / self.directions
        elif self.pool == Pool.MAX:
            np.maximum(held[direction], values[0], out=held[direction])
        elif self.pool == Pool.MEAN:
            held[direction] += values[0] * np.float32(piece.length / len(span.tokens))
        else:
            held[direction] = values[0]

    def vectors(self) -> list[Vectors]:
        if self.pool == Pool.NONE:
            return [h[::-1] if span.strand == "-" else h for h, span in zip(self.held, self.spans, strict=True)]
        pooled = np.mean(self.held, axis=1)
        pooled[[not len(span.tokens) for span in self.spans]] = np.nan
        return list(pooled[:, None])


def _is_blank(span: Span, piece: _Piece) -> bool:
    """Whether a piece is N and nothing else, in either direction."""
    return bool(span.tokens[piece.start] == N and (span.tokens[piece.start : piece.end] == N).all())


def _tokens(span: Span, piece: _Piece) -> Tokens:
    tokens = span.tokens[piece.start : piece.end]
    return reverse_complement(tokens) if piece.backwards else tokens


def chunked(spans: Iterable[Span], *, tokens: int) -> Iterator[list[Span]]:
    """Group spans into runs of about ``tokens`` bases; never more spans are drawn than the run has.

    The cuts depend on the spans alone, so that a run that is done again has the same ones.
    """
    run: list[Span] = []
    size = 0
    for span in spans:
        run.append(span)
        size += len(span.tokens)
        if size >= tokens or len(run) == _CHUNK_ROWS:
            yield run
            run, size = [], 0
    if run:
        yield run
