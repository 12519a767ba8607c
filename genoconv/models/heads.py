"""A head on the backbone: one vector per sequence, or per base, from the states becomes probabilities or values.

Letters in shapes: R records, N tokens, D = d_model, K outputs of the head, S the width of what the head sees: D, 2 D
where it sees both strands side by side, or (n_layer + 1) D where it sees all layers.
"""

from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor, nn

from genoconv.errors import ModelError
from genoconv.models.config import ModelConfig
from genoconv.models.float32 import Float32Module
from genoconv.models.hyena import HyenaDNA
from genoconv.models.parts import cut, lengths, opposite, overlapping, turned
from genoconv.ops.precision import full_precision
from genoconv.tokens import PAD

Kind = Literal["binary", "multiclass", "multilabel", "regression"]
Pooling = Literal["mean", "last", "attention", "none"]
Layers = Literal["last", "all"]

HEAD_PREFIX = "head."
"""Of the names of a head's tensors in a model folder."""
_SMALLEST_SCALE = 1e-6


class HeadConfig(BaseModel):
    """What a head predicts and from what.

    Attributes:
        kind: ``binary`` (one probability), ``multiclass`` (probabilities that sum to one), ``multilabel`` (independent
            probabilities) or ``regression`` (real numbers).
        labels: names of the classes of ``binary`` (the negative one first) and ``multiclass``; of the labels of
            ``multilabel``; of the values of ``regression``.
        pooling: how the states of all bases become one vector; ``none`` predicts every base from its own.
        layers: whose states are pooled: the normalised ones after the ``last`` block, or those after every block and
            these, side by side.
        both_strands: read each sequence and its reverse complement, and average the two vectors.
        stranded: of ``none``, whether what is predicted belongs to the strand that is read, as splice sites do; the
            vectors of both strands then stay side by side.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Kind
    labels: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    pooling: Pooling = "mean"
    layers: Layers = "last"
    both_strands: bool = False
    stranded: bool = False

    @model_validator(mode="after")
    def _enough_labels(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: two have the same name")
        if self.kind == "binary" and len(self.labels) != 2:
            raise ValueError(f"labels: a binary head has two, not {len(self.labels)}")
        if self.kind == "multiclass" and len(self.labels) < 2:
            raise ValueError("labels: a multiclass head has at least two")
        if self.stranded and not self.per_base:
            raise ValueError("stranded: needs pooling none")
        if self.layers == "all" and self.per_base:
            raise ValueError("layers: all needs a pooling other than none")
        return self

    @property
    def per_base(self) -> bool:
        """Whether every base has outputs of its own, rather than the whole sequence."""
        return self.pooling == "none"

    @property
    def sides(self) -> int:
        """Vectors that the head sees side by side: that of the strand that is read, and perhaps of the other."""
        return 2 if self.stranded and self.both_strands else 1

    @property
    def outputs(self) -> int:
        """K, numbers per sequence or base: one for ``binary``, else one per label."""
        return 1 if self.kind == "binary" else len(self.labels)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the K outputs: for ``binary`` the positive class."""
        return self.labels[1:] if self.kind == "binary" else self.labels

    @classmethod
    def from_record(cls, record: object) -> Self:
        """From ``config.json``.

        Raises:
            ModelError: it describes no head that this version knows.
        """
        try:
            return cls.model_validate(record)
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}".replace(": Value error, ", "")
                for problem in error.errors()
            ]
            raise ModelError("; ".join(problems)) from None


class Head(Float32Module):
    """Pooled vectors, or those of bases, standardised, through one linear layer. Kept and computed in float32.

    Attributes:
        center, spread: (S,) mean and standard deviation of the vectors of the training set.
        offset, unit: (K,) mean and standard deviation of the values of a regression; zeros and ones otherwise.
    """

    center: Tensor
    spread: Tensor
    offset: Tensor
    unit: Tensor

    def __init__(self, config: HeadConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.attention = nn.Linear(width, 1, bias=False) if config.pooling == "attention" else None
        seen = width * config.sides
        self.linear = nn.Linear(seen, config.outputs)
        for name, size, value in (
            ("center", seen, 0.0),
            ("spread", seen, 1.0),
            ("offset", config.outputs, 0.0),
            ("unit", config.outputs, 1.0),
        ):
            self.register_buffer(name, torch.full((size,), value))
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def pool(self, states: Tensor, valid: Tensor) -> Tensor:
        """One vector per record.

        Args:
            states: (R, N, S).
            valid: (R, N) bool, which positions hold a base; at least one in each row.

        Returns:
            (R, S) float32.
        """
        with full_precision(states):
            return self._pool(states.float(), valid)

    def _pool(self, states: Tensor, valid: Tensor) -> Tensor:
        if self.config.pooling == "last":
            place = torch.arange(states.shape[1], device=states.device)
            last = torch.where(valid, place, -1).amax(1).clamp(min=0)
            return states[torch.arange(len(states), device=states.device), last]
        if self.attention is not None:
            scores = (states @ self.attention.weight[0]).masked_fill(~valid, -torch.inf)
            return (torch.softmax(scores, dim=1)[..., None] * states).sum(1)
        return states.masked_fill(~valid[..., None], 0.0).sum(1) / valid.sum(1, keepdim=True).clamp(min=1)

    def forward(self, pooled: Tensor) -> Tensor:
        """(..., S) -> (..., K): logits, or standardised values of a regression."""
        with full_precision(pooled):
            outputs: Tensor = self.linear((pooled.float() - self.center) / self.spread)
        return outputs

    def predictions(self, outputs: Tensor) -> Tensor:
        """(..., K) of :meth:`forward` -> (..., K): probabilities, or values in the unit of the labels."""
        if self.config.kind == "regression":
            return outputs * self.unit + self.offset
        return outputs.softmax(-1) if self.config.kind == "multiclass" else outputs.sigmoid()

    @torch.no_grad()
    def standardise(self, pooled: Tensor) -> None:
        """Take :attr:`center` and :attr:`spread` from vectors (R, S)."""
        self.center.copy_(pooled.mean(0))
        spread = pooled.std(0, correction=0)
        self.spread.copy_(torch.where(spread > _SMALLEST_SCALE, spread, torch.ones_like(spread)))


class Predictor(HyenaDNA):
    """A HyenaDNA with a head; everything that reads a HyenaDNA reads its backbone.

    Attributes:
        head: from pooled states to outputs.
        frozen: whether the backbone is not trained; it then stays in evaluation mode.
    """

    def __init__(self, config: ModelConfig, head: HeadConfig) -> None:
        super().__init__(config)
        self.head = Head(head, config.d_model * (config.n_layer + 1 if head.layers == "all" else 1))
        self.frozen = False

    @classmethod
    def on(cls, model: HyenaDNA, head: HeadConfig) -> "Predictor":
        """A copy of ``model`` with a new head that predicts nothing yet."""
        random = torch.get_rng_state()
        predictor = cls(model.config, head)
        torch.set_rng_state(random)  # the weights are replaced
        own = predictor.state_dict()
        own.update({name: tensor for name, tensor in model.state_dict().items() if not name.startswith(HEAD_PREFIX)})
        predictor.load_state_dict(own)
        if not model.config.tied_head:
            predictor.lm_head.weight.requires_grad_(False)  # no part of a prediction
        return predictor.to(next(model.parameters()).device)

    def freeze(self) -> None:
        """Train the head alone."""
        self.frozen = True
        self.backbone.requires_grad_(False)
        self.lm_head.requires_grad_(False)

    def train(self, mode: bool = True) -> "Predictor":
        """As of any module; a frozen backbone has no dropout."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def pooled(self, ids: Tensor) -> Tensor:
        """What the head sees. One vector per record: :meth:`.Head.pool` of the states of all of its bases.

        Records longer than ``config.max_bases`` are read in the fewest equal parts, which do not see each other; the
        pooling runs over the bases of all of them. ``last`` reads the last ``config.max_bases`` bases alone. A head
        without pooling sees the state of each base, of longer records from windows that overlap by half.

        Args:
            ids: (R, N) integers of any length N >= 1, right-padded with PAD.

        Returns:
            (R, S) float32, the mean of both strands where the head reads both; without pooling (R, N, S).
        """
        if self.head.config.per_base:
            return self._every_base(ids)
        vectors = self._one_strand(ids)
        if self.head.config.both_strands:
            vectors = (vectors + self._one_strand(opposite(ids), mirrored=True)) / 2
        return vectors

    def _one_strand(self, ids: Tensor, *, mirrored: bool = False) -> Tensor:
        last = self.head.config.pooling == "last"
        pieces, valid = cut(ids, longest=self.config.max_bases, last=last, mirrored=mirrored)
        rows, parts, length = pieces.shape
        layer: Literal["all"] | None = "all" if self.head.config.layers == "all" else None
        states = self.hidden(pieces.reshape(rows * parts, length), layer=layer)
        return self.head.pool(states.reshape(rows, parts * length, -1), valid.reshape(rows, parts * length))

    def _every_base(self, ids: Tensor) -> Tensor:
        states = self._states(ids)
        if not self.head.config.both_strands:
            return states
        other = turned(self._states(opposite(ids)), lengths(ids))
        return torch.cat([states, other], -1) if self.head.config.stranded else (states + other) / 2

    def _states(self, ids: Tensor) -> Tensor:
        """(R, N, D) float32, each with what lies before it."""
        longest, length = self.config.max_bases, ids.shape[1]
        parts = [
            self.hidden(ids[:, start:end])[:, kept - start :].float()
            for start, kept, end in overlapping(0, length, length=length, longest=longest)
        ]
        return torch.cat(parts, dim=1)

    def outputs(self, ids: Tensor) -> Tensor:
        """(R, N) -> (R, K), without pooling (R, N, K): what the loss is computed from; see :meth:`.Head.forward`."""
        outputs: Tensor = self.head(self.pooled(ids))
        return outputs

    @torch.inference_mode()
    def predict(self, ids: Tensor) -> Tensor:
        """Predictions for token ids.

        Args:
            ids: (R, N) integers on the model's device, right-padded with PAD; N may exceed the model's windows.

        Returns:
            (R, K) float32: of ``binary`` the probability of the positive class, K = 1; of ``multiclass`` the
            probabilities of all classes; of ``multilabel`` one probability per label; of ``regression`` the values.
            Of a head without pooling (R, N, K), with NaN where ``ids`` is PAD.

        Raises:
            ModelError: ``ids`` is not (R, N) of integers, or a row holds no token but PAD.
        """
        if not isinstance(ids, Tensor):
            raise ModelError(f"ids: got a {type(ids).__name__}; predict takes a tensor (genoconv.tokens.encode)")
        if ids.ndim != 2 or not ids.numel() or ids.is_floating_point() or ids.is_complex() or ids.dtype is torch.bool:
            raise ModelError(f"ids: got {tuple(ids.shape)} of {ids.dtype}; predict takes (records, length) integers")
        if bool((ids == PAD).all(1).any()):
            raise ModelError("ids: a row contains only padding; leave out empty sequences")
        found = self.head.predictions(self.outputs(ids))
        return found.masked_fill((ids == PAD)[..., None], torch.nan) if self.head.config.per_base else found


def head_record(model: HyenaDNA) -> dict[str, Any] | None:
    """The head of a model for ``config.json``; None where it has none."""
    return model.head.config.model_dump(mode="json") if isinstance(model, Predictor) else None
