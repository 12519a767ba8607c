"""Memory and time of a HyenaDNA model as functions of its sizes: no model is built and nothing is run.

Memory is counted, with coefficients for what a token leaves in each layer; time is matrix products at the rate that
they attain, plus traffic at the speed of a copy. The coefficients were fitted to measurements: `benchmarks/plan.py`
measures and holds predictions against them, `benchmarks/results/plan-*.md` has the errors.

Letters: d = d_model, N tokens in a window, B windows in a batch, K taps, P points of the convolution's transform.
"""

from dataclasses import dataclass
from math import prod

from genoconv.gpu.targets import Card
from genoconv.models.config import ModelConfig
from genoconv.models.weights import expected_shapes
from genoconv.ops.longconv.overlap_save.plan import (
    CLUSTER_COST,
    COPY_COST,
    HALVES_COST,
    TORCH_COST,
    choose_chunks,
    kernel_cost,
    pair_costs,
)
from genoconv.ops.longconv.regimes import choose_plan, pair_sizes, transforms
from genoconv.ops.longconv.spectrum import fast_size
from genoconv.pipelines.plan.cards import Accelerator

# Bytes per token, layer and unit of d_model.
_SAVED = 38.6  # kept by a layer for its backward pass
_SAVED_TORCH = 31.0  # more, where torch.fft convolves: spectra and float32 copies
_RESIDUAL = 6.0  # a layer's inputs, all that checkpointing keeps
_FORWARD = 36.0  # live at once in the MLP of a layer, without gradients
_FORWARD_CONVOLVING = 16.0  # the same around the convolution, beside the filter
_FORWARD_TORCH = 24.0
_MOVED_FORWARD = 46.0  # read and written by a forward pass
_MOVED_BACKWARD = 73.0
# Bytes per tap, layer and unit of d_model.
_FILTER_MOVED = 48.0  # by the network that makes a filter, and by its transform
_FILTER_KEPT = 8.0  # the filter in float32, and its transform
_FILTER_WORKING = 12.0  # copies while one layer's filter is in work
# Bytes per token, once per model: embedding, last norm, logits of 16 tokens, loss.
_HEAD_SAVED, _HEAD_SAVED_FIXED = 18.5, 250.0
_HEAD_MOVED_FORWARD, _HEAD_MOVED_TRAIN = 42.0, 140.0
# A pass of the convolution moves three inputs and a result of two bytes each.
_CONV_PASSES = 8.0
_CONV_BACKWARD = {"one-sm": 2.4, "halves": 4.1, "cluster": 2.7, "three-pass": 2.0}
"""Time of a plan's backward pass, in forward passes; making dk of its transform is counted with filters."""
_FLOAT32_FACTOR = 1.8
_CONTEXT = 0.6e9
"""CUDA context, loaded kernels, and what the allocator cannot use."""
_OVERHEAD = 1.2e-3
"""Seconds of a pass whatever its size: launches, optimizer."""

SAFE = 0.92
"""Share of the memory that a run may take: predictions are that exact, and others use a GPU too."""


@dataclass(frozen=True)
class Workload:
    """What is to be run.

    Attributes:
        config: sizes of the model.
        parameters: number of its parameters.
        length: N, tokens in a window.
        batch: B, windows at once.
        train: a training step with AdamW; otherwise a forward pass without gradients.
        bf16: arithmetic in bfloat16; otherwise float32.
        checkpointing: keep only each layer's input for the backward pass.
    """

    config: ModelConfig
    parameters: int
    length: int
    batch: int = 1
    train: bool = False
    bf16: bool = True
    checkpointing: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of a batch."""
        return self.batch * self.length

    @property
    def taps(self) -> int:
        """K, taps of the filters for windows of this length."""
        return min(self.length, self.config.taps)


@dataclass(frozen=True)
class Convolution:
    """How one layer's convolution is computed on a card: ``regime`` is the plan's, ``chunks`` or ``torch.fft``."""

    regime: str
    points: int
    cost: float
    """Time, in multiples of what moving its inputs and result once takes."""
    workspace: float = 0.0
    """Bytes of device memory that a pass needs for a while, the backward pass where there is one."""
    backward: float = 2.4
    """Time of a backward pass, in forward passes."""


@dataclass(frozen=True)
class Prediction:
    """Bytes and seconds of one step or forward pass, by what they are for."""

    workload: Workload
    convolution: Convolution
    memory: dict[str, float]
    seconds: dict[str, float]

    @property
    def allocated(self) -> float:
        """Bytes that tensors take at the peak: all but the context."""
        return self.bytes - self.memory["context"]

    @property
    def bytes(self) -> float:
        """Peak of device memory."""
        return sum(self.memory.values())

    @property
    def time(self) -> float:
        """Seconds."""
        return sum(self.seconds.values())

    @property
    def tokens_per_second(self) -> float:
        """Tokens read, or learned from, per second."""
        return self.workload.tokens / self.time


def convolution(work: Workload, card: Card) -> Convolution:
    """What the operator would choose for rows of this workload, and its cost."""
    sizes = tuple(size for _, size, _ in transforms(card, gradients=True)) if work.bf16 else ()
    found = next(((regime, size) for regime, size, _ in transforms(card) if size >= work.length), None)
    pairs = pair_sizes(card, gradients=work.train) if work.bf16 else ()
    chunks = choose_chunks(work.length, taps=work.taps, sizes=sizes, pairs=pairs, gradients=work.train)
    if chunks is not None:
        share = chunks.count * chunks.points / work.length
        if chunks.paired:
            each, backward = pair_costs(chunks.points)
            return Convolution("chunks", chunks.points, each * share, backward=backward / each)
        each = kernel_cost(chunks.points) + COPY_COST if chunks.fused else TORCH_COST
        return Convolution("chunks" if chunks.fused else "torch.fft, chunks", chunks.points, each * share)
    if found is None or not work.bf16:
        points = fast_size(work.length + work.taps - 1)
        return Convolution("torch.fft", points, TORCH_COST * points / (2 * work.length))
    plan = choose_plan(work.length, card=card)
    workspace = plan.workspace_bytes(work.batch, work.config.d_model, backward=work.train)
    cost = {"halves": HALVES_COST, "cluster": CLUSTER_COST}.get(plan.regime, kernel_cost(plan.size))
    backward = _CONV_BACKWARD[plan.regime]
    return Convolution(plan.regime, plan.size, cost * plan.size / work.length, workspace, backward)


def predict(work: Workload, on: Accelerator) -> Prediction:
    """Memory and time of ``work`` on a GPU."""
    conv = convolution(work, on.card)
    return Prediction(work, conv, _memory(work, conv), _seconds(work, conv, on))


def peak_memory(work: Workload, card: Card) -> float:
    """Bytes of device memory that ``work`` takes at its peak."""
    return sum(_memory(work, convolution(work, card)).values())


def workload(config: ModelConfig, *, length: int, batch: int = 1, train: bool = False, bf16: bool = True) -> Workload:
    """A workload of a model, its parameters counted without making it."""
    shapes = expected_shapes(config)
    parameters = sum(prod(shape) for name, shape in shapes.items() if not name.endswith(("deltas", "pos_emb.z")))
    return Workload(config, parameters, length=length, batch=batch, train=train, bf16=bf16)


def _memory(work: Workload, conv: Convolution) -> dict[str, float]:
    d, layers, tokens = work.config.d_model, work.config.n_layer, work.tokens
    wide = 1.0 if work.bf16 else _FLOAT32_FACTOR
    torch_fft = conv.regime == "torch.fft"
    one_filter = d * work.taps * _FILTER_KEPT
    if not work.train:
        mlp = tokens * _FORWARD * wide * d
        convolving = tokens * (_FORWARD_CONVOLVING * wide + (_FORWARD_TORCH if torch_fft else 0)) * d + conv.workspace
        filters = one_filter + d * work.taps * _FILTER_WORKING
        # The peak is in the MLP or in the convolution; filters count where they raise it.
        return {
            "weights": work.parameters * (2.0 if work.bf16 else 4.0),
            "activations": max(mlp, convolving),
            "filters": max(0.0, convolving + filters - max(mlp, convolving)),
            "context": _CONTEXT,
        }
    saved = (_SAVED * wide + (_SAVED_TORCH if torch_fft else 0)) * d
    head = _HEAD_SAVED * d + _HEAD_SAVED_FIXED
    kept = layers * _RESIDUAL * d + saved if work.checkpointing else layers * saved
    return {
        "weights, gradients, optimizer": work.parameters * 16.0,
        "activations": tokens * (kept + head),
        "filters": one_filter * (1 if work.checkpointing else layers),
        "spectra in flight": conv.workspace,
        "context": _CONTEXT,
    }


def _seconds(work: Workload, conv: Convolution, on: Accelerator) -> dict[str, float]:
    d, layers, tokens = work.config.d_model, work.config.n_layer, work.tokens
    wide = 1.0 if work.bf16 else _FLOAT32_FACTOR
    rate = on.matrix if work.bf16 else on.matrix / 8
    # Passes: one forward; in training also a backward pass of twice the work, and what checkpointing computes again.
    again = 1 if work.train and work.checkpointing else 0
    products = (2 * 4 * d * d + 2 * 2 * d * work.config.d_inner) * (3 + again if work.train else 1)
    moved = _MOVED_FORWARD * (1 + again) + (_MOVED_BACKWARD if work.train else 0)
    backward = conv.backward if work.train else 0.0
    convolved = _CONV_PASSES * conv.cost * (1 + again + backward)
    filters = _FILTER_MOVED * (3 + again if work.train else 1)
    head = _HEAD_MOVED_TRAIN if work.train else _HEAD_MOVED_FORWARD
    return {
        "matrix products": layers * tokens * products / rate,
        "convolutions": layers * tokens * d * convolved / on.bandwidth,
        "filters": layers * work.taps * d * filters / on.bandwidth,
        "everything else": tokens * d * wide * (layers * moved + head) / on.bandwidth + _OVERHEAD,
    }
