"""CUDA graphs of a training step's forward and backward pass.

The host takes longer to launch some hundred kernels one by one than a GPU takes to run them on a small batch. A graph
is one launch. It belongs to one shape of batch, so it is captured once a shape has come several times in a row.
"""

import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from genoconv.train.data import Batch
    from genoconv.train.objectives import Objective

log = logging.getLogger(__name__)

_IN_A_ROW = 3
"""Batches of one shape after which it is worth a graph: a stage of a run, not a single odd batch."""
_MOST_TOKENS = 2**18
"""Tokens up to which a batch is small: beyond, kernels take longer than launches, and a graph only keeps memory."""
_LONGEST_ROW = 2**15
"""Tokens: convolutions of longer rows use streams of their own."""


class GraphedSums:
    """An objective's sums of a batch, through a CUDA graph where that is possible and pays.

    Args:
        model: what is trained; its parameters stay where they are.
        objective: gives the sums, the first of which is differentiated, relative to the second.
    """

    def __init__(self, model: nn.Module, objective: "Objective") -> None:
        self.model = model
        self.objective = objective
        self.enabled = True
        self._shape: tuple[torch.Size, ...] = ()
        self._in_a_row = 0
        self._graph: _Graph | None = None

    def __call__(self, batch: "Batch") -> Tensor:
        """As ``objective.sums(model, batch)``, differentiable in the parameters."""
        if not self._pays(batch):
            return self.objective.sums(self.model, batch)
        shape = tuple(x.shape for x in batch if isinstance(x, Tensor))
        if self._graph is not None and shape == self._graph.shape:
            self._in_a_row = 0
            return self._graph(batch)
        # A batch of another shape, such as the last of an epoch, does not end the use of the graph.
        self._in_a_row = self._in_a_row + 1 if shape == self._shape else 1
        self._shape = shape
        if self._in_a_row <= _IN_A_ROW:
            return self.objective.sums(self.model, batch)
        self._graph = None  # before another takes memory of its own
        try:
            self._graph = _Graph(self.model, self.objective, batch)
        except RuntimeError as error:
            log.warning("training continues without CUDA graphs: %s", " ".join(str(error).split())[:200])
            self.enabled = False
            return self.objective.sums(self.model, batch)
        return self._graph(batch)

    def _pays(self, batch: "Batch") -> bool:
        if not self.enabled or batch.ids.device.type != "cuda" or batch.ids.numel() > _MOST_TOKENS:
            return False
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return False  # gradients are to be exchanged while the backward pass runs
        if batch.ids.shape[-1] > _LONGEST_ROW:
            return False
        return torch.is_grad_enabled() and not getattr(self.model, "checkpointing", False)


class _Graph:
    """One captured forward and backward pass: the sums, and gradients of their quotient."""

    def __init__(self, model: nn.Module, objective: "Objective", batch: "Batch") -> None:
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.shape = tuple(x.shape for x in batch if isinstance(x, Tensor))
        own: dict[str, Any] = {name: x.clone() for name, x in batch._asdict().items() if isinstance(x, Tensor)}
        self.batch = batch._replace(**own)
        self._graph = torch.cuda.CUDAGraph()
        device = batch.ids.device
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        random = torch.cuda.get_rng_state(device)

        def once() -> tuple[Tensor, tuple[Tensor | None, ...]]:
            sums = objective.sums(model, self.batch)
            loss = sums[0] / sums[1].clamp(min=1.0)
            return sums.detach(), torch.autograd.grad(loss, self.parameters, allow_unused=True)

        enabled, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        # What autocast caches would be made outside of the graph, from weights that change.
        with torch.autocast("cuda", dtype=dtype, enabled=enabled, cache_enabled=False):
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream):
                for _ in range(2):  # kernels are compiled and libraries choose their algorithms
                    once()
            torch.cuda.current_stream(device).wait_stream(stream)
            # Of this thread's calls alone: another one may be pinning the next batch's memory.
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self.sums, self.gradients = once()
        torch.cuda.set_rng_state(random, device)

    def __call__(self, batch: "Batch") -> Tensor:
        sums: Tensor = _Replay.apply(self, batch, *self.parameters)  # type: ignore[no-untyped-call]
        return sums

    def replay(self, batch: "Batch") -> Tensor:
        """Run the graph on the values of ``batch``."""
        for static, value in zip(self.batch, batch, strict=True):
            if isinstance(static, Tensor) and isinstance(value, Tensor) and static.numel():
                static.copy_(value, non_blocking=True)
        self._graph.replay()
        return self.sums.clone()


class _Replay(torch.autograd.Function):
    """The backward pass has run with the forward pass; what is left of it is the factor that the caller's loss has."""

    @staticmethod
    def forward(ctx: Any, graph: _Graph, batch: "Batch", *parameters: Tensor) -> Tensor:
        ctx.graph = graph
        return graph.replay(batch)

    @staticmethod
    def backward(ctx: Any, d_sums: Tensor) -> tuple[Tensor | None, ...]:
        graph: _Graph = ctx.graph
        factor = d_sums[0] * graph.sums[1].clamp(min=1.0)  # one where the loss is the quotient itself
        present = [gradient for gradient in graph.gradients if gradient is not None]
        scaled = iter(torch._foreach_mul(present, factor))
        return None, None, *(None if gradient is None else next(scaled) for gradient in graph.gradients)
