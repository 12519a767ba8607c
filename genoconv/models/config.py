"""The sizes of a HyenaDNA model: one frozen record, and the published ones by name."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from genoconv.errors import ModelError, UsageError
from genoconv.tokens import VOCAB_SIZE
from genoconv.wording import did_you_mean, printable

# Positions are held as float32, which counts every integer up to here.
MAX_LENGTH_LIMIT = 2**24
# The published lengths, in bases; the models carry two positions more, for [CLS] and [SEP].
PUBLISHED_LENGTHS = (1_024, 16_384, 32_768, 160_000, 450_000, 1_000_000)
SPECIAL_POSITIONS = 2


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and settings of a HyenaDNA model.

    Attributes:
        d_model: width of the residual stream, and number of long filters per layer.
        n_layer: number of blocks.
        max_length: longest window in training, in tokens, and the longest input unless ``filter_length`` is set.
        filter_length: taps of the long filters; 0 means ``max_length``. If it is set, an input may have any length, and
            each position sees the ``filter_length - 1`` positions before it in every layer. Positional features are
            scaled to the number of taps, so the same weights with a different ``filter_length`` give different filters.
        d_inner: inner width of the MLP; 0 means four times ``d_model``.
        filter_order: width of the small network that generates the long filters.
        emb_dim: positional features of that network: time, and (emb_dim - 1) / 2 cosines and sines. Odd, at least 3.
        num_inner_mlps: number of square hidden layers of that network.
        activation_freq: initial frequency w of its activation sin(w x).
        train_freq: whether that frequency is learned.
        short_filter_order: taps of the short causal convolution before the gates.
        modulate: whether the long filters decay exponentially.
        modulation_shift: floor of that decay: 0.05 in the published code, 0.0 in HyenaDNA's training repository.
        embed_dropout, resid_dropout: dropout after the embedding and on the output of each branch, in training.
        layer_norm_epsilon: epsilon of the last layer norm (those in the blocks use 1e-5, as published).
        tied_head: whether the output layer is the embedding matrix.
        stored_positions: whether the positional features are kept as tensors because they were trained; otherwise
            they are computed on demand.
        pad_vocab_size_multiple: the vocabulary of 12 is padded to a multiple of this.
        initializer_range: standard deviation of the initial weights.

    Raises:
        ModelError: invalid values; the message lists every problem, one per line.
    """

    d_model: int
    n_layer: int
    max_length: int
    filter_length: int = 0
    d_inner: int = 0
    filter_order: int = 64
    emb_dim: int = 5
    num_inner_mlps: int = 2
    activation_freq: float = 10.0
    train_freq: bool = True
    short_filter_order: int = 3
    modulate: bool = True
    modulation_shift: float = 0.05
    embed_dropout: float = 0.1
    resid_dropout: float = 0.0
    layer_norm_epsilon: float = 1e-5
    tied_head: bool = True
    stored_positions: bool = False
    pad_vocab_size_multiple: int = 8
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ModelError("\n".join(problems))
        if not self.d_inner:
            object.__setattr__(self, "d_inner", 4 * self.d_model)

    @property
    def padded_vocab(self) -> int:
        """Rows of the embedding matrix and number of logits: 12 tokens padded to a multiple, 16 as published."""
        return -(-VOCAB_SIZE // self.pad_vocab_size_multiple) * self.pad_vocab_size_multiple

    @property
    def taps(self) -> int:
        """Taps of the long filters of an input that is long enough; their time runs from 0 to 1 over these."""
        return self.filter_length or self.max_length

    @property
    def input_limit(self) -> int | None:
        """Longest input in tokens; None where there is no limit, because filters are shorter than windows."""
        return None if self.filter_length else self.max_length

    @property
    def max_bases(self) -> int:
        """Longest window of bases that commands read at once without special tokens, which need no place there.

        Of published lengths that is less than ``max_length``: the two positions more would double the transforms.
        Where ``input_limit`` is None, longer windows can be asked for.
        """
        bases = self.max_length - SPECIAL_POSITIONS
        return bases if bases in PUBLISHED_LENGTHS else self.max_length

    def beyond(self, bases: int) -> str:
        """The warning for windows of ``bases`` that are longer than those that the model was trained on."""
        return (
            f"windows of {bases:,} bases are longer than the {self.max_bases:,} that the model was trained on;"
            f" in each layer a base sees the {self.taps - 1:,} before it"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON or YAML."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """Build from plain values, as :meth:`to_dict` gives them.

        Raises:
            ModelError: unknown, missing or impossible values, one line each.
        """
        known = {f.name for f in fields(cls)}
        problems = [
            f"{printable(name[:60])}: not a setting of a model{did_you_mean(name, known)}"
            for name in values
            if name not in known
        ]
        problems += [f"{name}: missing" for name in ("d_model", "n_layer", "max_length") if name not in values]
        if problems:
            raise ModelError("\n".join(problems))
        return cls(**values)


# name -> (least, most); a bool is never a number here.
_INTEGERS = {
    "d_model": (1, 2**16),
    "n_layer": (1, 1024),
    "max_length": (2, MAX_LENGTH_LIMIT),
    "filter_length": (0, MAX_LENGTH_LIMIT),
    "d_inner": (0, 2**20),
    "filter_order": (1, 2**14),
    "emb_dim": (3, 2**12 + 1),
    "num_inner_mlps": (0, 64),
    "short_filter_order": (1, 64),
    "pad_vocab_size_multiple": (1, 1024),
}
_NUMBERS = {
    "activation_freq": (-1e6, 1e6),
    "modulation_shift": (-1e6, 1e6),
    "embed_dropout": (0.0, 0.999),
    "resid_dropout": (0.0, 0.999),
    "layer_norm_epsilon": (0.0, 1.0),
    "initializer_range": (0.0, 1e3),
}
_FLAGS = ("train_freq", "modulate", "tied_head", "stored_positions")


def _shown(value: object) -> str:
    """A value in a message, and not more of it than helps."""
    text = f"{value:,}" if type(value) is int else repr(value)
    return text if len(text) <= 60 else f"{text[:50]}... ({len(text):,} characters)"


def _problems(config: ModelConfig) -> list[str]:
    found = []
    for name, (least, most) in _INTEGERS.items():
        value = getattr(config, name)
        if type(value) is not int:
            found.append(f"{name}: {_shown(value)} is not a whole number")
        elif not least <= value <= most:
            found.append(f"{name}: {_shown(value)} is outside {least:,} to {most:,}")
    for name, (low, high) in _NUMBERS.items():
        value = getattr(config, name)
        if type(value) not in (int, float):
            found.append(f"{name}: {_shown(value)} is not a number")
        elif not low <= value <= high:
            found.append(f"{name}: {_shown(value)} is outside {low:g} to {high:g}")
    found += [
        f"{n}: {_shown(getattr(config, n))} is not true or false"
        for n in _FLAGS
        if type(getattr(config, n)) is not bool
    ]
    if type(config.filter_length) is int and type(config.max_length) is int:
        if config.filter_length > config.max_length > 0:
            found.append(f"filter_length: {config.filter_length:,} exceeds max_length, {config.max_length:,}")
        if config.filter_length == 1:
            found.append("filter_length: 1 is too small; use 2 or more, or 0 to turn it off")
    if type(config.emb_dim) is int and config.emb_dim % 2 == 0:
        found.append(f"emb_dim: {config.emb_dim} is even; it is 1 (time) plus pairs of cosine and sine")
    return found


PRESETS: dict[str, ModelConfig] = {
    "tiny-1k": ModelConfig(d_model=128, n_layer=2, max_length=1_024 + SPECIAL_POSITIONS),
    "tiny-1k-d256": ModelConfig(d_model=256, n_layer=2, max_length=1_024 + SPECIAL_POSITIONS),
    "tiny-16k": ModelConfig(d_model=128, n_layer=2, max_length=16_384 + SPECIAL_POSITIONS),
    "small-32k": ModelConfig(d_model=256, n_layer=4, max_length=32_768 + SPECIAL_POSITIONS),
    "medium-160k": ModelConfig(d_model=256, n_layer=8, max_length=160_000 + SPECIAL_POSITIONS),
    "medium-450k": ModelConfig(d_model=256, n_layer=8, max_length=450_000 + SPECIAL_POSITIONS),
    "large-1m": ModelConfig(d_model=256, n_layer=8, max_length=1_000_000 + SPECIAL_POSITIONS),
    "gene-4m": ModelConfig(d_model=256, n_layer=8, max_length=4_194_304),
}


def preset(name: str) -> ModelConfig:
    """The configuration called ``name`` in :data:`PRESETS`.

    Raises:
        UsageError: there is none of that name.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(
            f"no preset {name!r}{did_you_mean(str(name), PRESETS)} (known: {', '.join(PRESETS)})"
        ) from None
