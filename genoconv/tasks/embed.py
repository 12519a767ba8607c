"""Vectors of sequences: a model's states, pooled over each sequence or kept base by base.

The model looks backwards only, so rows of a batch are padded on the right, where no base sees the padding, and the
padding is left out of every pool: a sequence has the same vector alone and in any company (to rounding). A sequence
longer than the model takes is read in pieces of equal length; a piece does not see what lies before it. For
comparison with published pipelines each piece can be framed in special tokens and padded on the left.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from genoconv.genome.windows.batches import pad_batch
from genoconv.models.config import ModelConfig
from genoconv.models.hyena import HyenaDNA
from genoconv.models.published.special_tokens import PLAIN, Framing
from genoconv.tasks.batching import computing, cut, fetching, fitting_rows, halving, round_up, sent, stack
from genoconv.tasks.pooling import EachBase, Pieces, Pool, Pooled, Reading, Vectors
from genoconv.tasks.spans import Numbers, Span
from genoconv.tokens import N, Tokens

_REMEDY = "a smaller --max-length, --precision bf16"


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
        layer: int | Literal["all"] | None = None,
        max_length: int | None = None,
        batch_size: int | None = None,
        framing: Framing = PLAIN,
    ) -> None:
        self.model = model.eval()
        self.device = next(model.parameters()).device
        self.width = model.config.d_model * (model.config.n_layer + 1 if layer == "all" else 1)
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
        self._blank: tuple[int, list[Vectors]] | None = None

    def pieces(self, length: int) -> int:
        """How many pieces a span of this length has; of the LAST pool only the last one is read."""
        return -(-length // self.max_length)

    def __call__(self, spans: Sequence[Span], *, advance: Callable[[float], None] | None = None) -> list[Vectors]:
        """Vectors of each span, in order: (1, width), or (bases, width) in the span's own direction without a pool.

        An empty span has no states: its vector is NaN. Arguments and errors are those of :meth:`rows`.
        """
        rows = self.rows(spans, advance=advance)
        return rows if self.pool == Pool.NONE else list(rows[0][:, None])

    @torch.inference_mode()
    def rows(self, spans: Sequence[Span], *, advance: Callable[[float], None] | None = None) -> list[Vectors]:
        """The same one after another: one array of all spans, or without a pool one of each.

        Args:
            spans: what to read.
            advance: called with the number of bases of ``spans`` that have just been done.

        Raises:
            ModelError: one piece alone does not fit into the memory of the device.
        """
        pieces = Pieces.of(spans, pool=self.pool, reading=self.reading, longest=self.max_length)
        directions = 2 if self.reading == Reading.BOTH else 1
        if self.pool == Pool.NONE:
            each = EachBase(pieces, self.width, directions=directions)
            self._read_all(pieces, partial(self._keep_bases, pieces, each), advance)
            return each.rows()
        pooled = Pooled(pieces, self.pool, self.width, directions=directions)
        self._read_all(pieces, partial(self._keep_pooled, pieces, pooled), advance)
        return pooled.rows()

    def _read_all(
        self, pieces: Pieces, keep: Callable[[Numbers], object], advance: Callable[[float], None] | None
    ) -> None:
        """``keep`` all pieces in batches of one padded length; those that are all N for themselves."""

        def read(batch: list[int]) -> None:
            numbers = np.array(batch)
            keep(numbers)
            if advance is not None:
                advance(pieces.bases(numbers))

        blank = pieces.blank
        lengths = _of_each(self._padded, pieces.lengths)
        for length in np.unique(lengths[~blank]).tolist():
            members = np.flatnonzero((lengths == length) & ~blank).tolist()
            for batch in cut(members, self._fitting(length)):
                halving(read, batch, device=self.device, remedy=_REMEDY)
        for length in np.unique(pieces.lengths[blank]).tolist():
            read(np.flatnonzero((pieces.lengths == length) & blank).tolist())

    def _keep_pooled(self, pieces: Pieces, pooled: Pooled, batch: Numbers) -> None:
        pooled.add(batch, self._states_of(pieces, batch)[0])

    def _keep_bases(self, pieces: Pieces, each: EachBase, batch: Numbers) -> None:
        states = self._states_of(pieces, batch)
        for nth, number in enumerate(batch.tolist()):
            each.add(number, states[nth if len(states) > 1 else 0])

    def _states_of(self, pieces: Pieces, batch: Numbers) -> list[Vectors]:
        """What :meth:`_states` gives of pieces of one padded length, or for several that are all N what one gives."""
        lengths = pieces.lengths[batch]
        if pieces.blank[batch].all():
            return self._blank_states(int(lengths[0]))
        length = self._padded(int(lengths[0]))
        if self.framing == PLAIN:
            rows = pieces.padded(batch, length)
        else:
            rows = pad_batch([self.framing(row) for row in pieces.tokens(batch)], length=length)
        with computing():
            self._prepare(length)
            found = self._states(sent(rows, self.device).long(), lengths)  # a byte each goes there
        return found()

    def _blank_states(self, length: int) -> list[Vectors]:
        """States of ``length`` times N, read once for all the gaps of a genome that are that long."""
        with computing():
            if self._blank is None or self._blank[0] != length:
                padded = self._padded(length)
                self._fitting(padded)

                def read(batch: list[Tokens]) -> None:
                    self._prepare(padded)
                    ids = stack([self.framing(tokens) for tokens in batch], padded, device=self.device)
                    self._blank = length, self._states(ids, np.array([length]))()

                halving(read, [np.full(length, N, np.uint8)], device=self.device, remedy=_REMEDY)
            assert self._blank is not None
            return self._blank[1]

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
                    lambda ids: self._states(ids, np.full(len(ids), bases))(),
                    length=length,
                    device=self.device,
                    remedy=_REMEDY,
                )
            return self._rows[length]

    def _prepare(self, length: int) -> None:
        """Make the model's filters for this padded length."""
        if self._prepared != length:
            # One length at a time: what is kept then does not depend on what was read before, to the last bit.
            self.model.prepare(length)
            self._prepared = length

    def _states(self, ids: Tensor, bases: Numbers) -> Callable[[], list[Vectors]]:
        """What the rows leave: (rows, width) pooled, or (bases, width) of each; the function waits for it."""
        states = self.model.hidden(ids, layer=self.layer)
        begins = _of_each(self.framing.first, bases)
        if self.pool == Pool.NONE:
            kept = [row[f : f + n] for row, f, n in zip(states, begins.tolist(), bases.tolist(), strict=True)]
            each = [row.float().cpu().numpy() for row in kept]
            return lambda: each
        first, counts = sent(np.stack([begins, bases]), self.device)
        if self.pool == Pool.LAST:
            last = first + counts - 1 + self.framing.policy.after
            found = fetching(states[torch.arange(len(states), device=self.device), last].float())
            return lambda: [found()]
        if begins.any() or (bases < states.shape[1]).any():
            place = torch.arange(states.shape[1], device=self.device)
            other = ((place < first[:, None]) | (place >= (first + counts)[:, None]))[..., None]
            states.masked_fill_(other, 0.0 if self.pool == Pool.MEAN else -torch.inf)
        # Summed in float32 without a copy in it.
        summed = self.pool == Pool.MEAN
        pooled = states.sum(1, dtype=torch.float32) / counts[:, None] if summed else states.amax(1).float()
        found = fetching(pooled)
        return lambda: [found()]


def _of_each(function: Callable[[int], int], numbers: Numbers) -> Numbers:
    """``function`` of each number; it is called once for those that are equal."""
    different, which = np.unique(numbers, return_inverse=True)
    found: Numbers = np.array([function(number) for number in different.tolist()], np.int64)[which]
    return found
