"""CUDA graphs of a training step: forward and backward pass, and what of the update they can hold.

The host takes longer to launch some hundred kernels one by one than a GPU takes to run them on a small batch. A graph
is one launch. It belongs to one shape of batch, so it is captured once a shape has come several times in a row.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from genoconv.tokens import PAD

if TYPE_CHECKING:
    from genoconv.train.batch import Batch
    from genoconv.train.objectives import Objective
    from genoconv.train.update import Update

log = logging.getLogger(__name__)
Made = TypeVar("Made")

_IN_A_ROW = 3
"""Batches of one shape after which it is worth a graph: a stage of a run, not a single odd batch."""
_MOST_TOKENS = 2**18
"""Tokens up to which a batch is small: beyond, kernels take longer than launches, and a graph only keeps memory."""
LONGEST_ROW = 2**15
"""Tokens: convolutions of longer rows use streams of their own."""
_CHEAP_TOKENS = 2**16
"""Tokens of a graph that a GPU computes sooner than the host launches a step: any smaller batch may fill it up."""


def captured(work: Callable[[], Made], stream: torch.cuda.Stream) -> tuple[torch.cuda.CUDAGraph, Made]:
    """A graph of what ``work`` launches, and what it returns.

    Raises:
        RuntimeError: something in it cannot be captured.
    """
    graph = torch.cuda.CUDAGraph()
    # Of this thread's calls alone: another one may be pinning the next batch's memory.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        made = work()
    return graph, made


class GraphedSums:
    """An objective's sums of a batch, through a CUDA graph where that is possible and pays.

    Args:
        model: what is trained; its parameters stay where they are.
        objective: gives the sums, the first of which is differentiated, relative to the second.
        enabled: whether graphs are wanted.

    Attributes:
        update: taken by the call as well, where it is set and can be captured.
        updated: whether the last call has changed the weights already; its sums are not differentiable then.
    """

    def __init__(self, model: nn.Module, objective: "Objective", *, enabled: bool = True) -> None:
        self.model = model
        self.objective = objective
        self.enabled = enabled
        self.update: Update | None = None
        self.updated = False
        self._shape: tuple[torch.Size, ...] = ()
        self._in_a_row = 0
        self._graph: _Graph | None = None

    def __call__(self, batch: "Batch") -> Tensor:
        """As ``objective.sums(model, batch)``, differentiable in the parameters unless they are ``updated``."""
        self.updated = False
        if not self._pays(batch):
            return self.objective.sums(self.model, batch)
        if self._graph is not None and self._graph.fits(batch):
            self._in_a_row = 0
            return self._graphed(self._graph, batch)
        # A batch of another shape does not end the use of the graph.
        shape = tuple(x.shape for x in batch if isinstance(x, Tensor))
        self._in_a_row = self._in_a_row + 1 if shape == self._shape else 1
        self._shape = shape
        if self._in_a_row <= _IN_A_ROW:
            return self.objective.sums(self.model, batch)
        self._graph = None  # before another takes memory of its own
        update = self.update if self.update is not None and self.update.capturable else None
        try:
            self._graph = _Graph(self.model, self.objective, batch, update)
        except RuntimeError as error:
            log.warning("training continues without CUDA graphs: %s", " ".join(str(error).split())[:200])
            self.enabled = False
            return self.objective.sums(self.model, batch)
        return self._graphed(self._graph, batch)

    def _graphed(self, graph: "_Graph", batch: "Batch") -> Tensor:
        self.updated = graph.update is not None
        return graph(batch)

    def _pays(self, batch: "Batch") -> bool:
        if not self.enabled or batch.ids.device.type != "cuda" or batch.ids.numel() > _MOST_TOKENS:
            return False
        if batch.cu_seqlens:
            return False  # its launches depend on them, so that no two batches are of one shape
        if batch.ids.shape[-1] > LONGEST_ROW:
            return False
        return torch.is_grad_enabled() and not getattr(self.model, "checkpointing", False)


class _Graph:
    """One captured forward and backward pass: the sums, gradients of their quotient and, if wanted, the update.

    Args:
        model, objective: as for :class:`GraphedSums`.
        batch: what to capture the graph with.
        update: taken with every batch; None leaves the gradients to the caller's backward pass.
    """

    def __init__(
        self, model: nn.Module, objective: "Objective", batch: "Batch", update: "Update | None" = None
    ) -> None:
        self.update = update
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.shape = tuple(x.shape for x in batch if isinstance(x, Tensor))
        own: dict[str, Any] = {name: x.clone() for name, x in batch._asdict().items() if isinstance(x, Tensor)}
        self.batch = batch._replace(**own)
        device = batch.ids.device
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        random = torch.cuda.get_rng_state(device)

        def once() -> tuple[Tensor, tuple[Tensor | None, ...]]:
            sums = objective.sums(model, self.batch)
            loss = sums[0] / sums[1].clamp(min=1.0)
            with torch.autocast("cuda", enabled=False):  # or it would round the gradients of what is float32
                return sums.detach(), torch.autograd.grad(loss, self.parameters, allow_unused=True)

        def step() -> tuple[Tensor, tuple[Tensor | None, ...]]:
            sums, gradients = once()
            if update is not None:
                update.record(dict(zip(self.parameters, gradients, strict=True)))
            return sums, gradients

        enabled, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        # What autocast caches would be made outside of the graph, from weights that change.
        with torch.autocast("cuda", dtype=dtype, enabled=enabled, cache_enabled=False):
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream):
                for _ in range(2):  # kernels are compiled and libraries choose their algorithms
                    once()
            torch.cuda.current_stream(device).wait_stream(stream)
            self._graph, (self.sums, self.gradients) = captured(step, stream)
        torch.cuda.set_rng_state(random, device)

    def __call__(self, batch: "Batch") -> Tensor:
        if self.update is not None:
            self.update.put_rates()
            sums = self.replay(batch)
            self.update.finish()
            return sums
        sums = self.replay(batch)
        known: Tensor = KnownGradients.apply(sums, self.gradients, *self.parameters)  # type: ignore[no-untyped-call]
        return known

    def fits(self, batch: "Batch") -> bool:
        """Whether the graph serves a batch: one of its shape, or a smaller one of sequence alone, which is padded.

        So the last batch of an epoch also goes through the graph. It costs as much as a whole one.
        """
        if tuple(x.shape for x in batch if isinstance(x, Tensor)) == self.shape:
            return True
        own = self.batch
        if batch.targets.numel() or batch.features.numel() or own.targets.numel() or own.features.numel():
            return False
        kinds = zip((batch.weights, batch.strata), (own.weights, own.strata), strict=True)
        if any(bool(theirs.numel()) != bool(mine.numel()) for theirs, mine in kinds):
            return False
        if not all(n <= most for n, most in zip(batch.ids.shape, own.ids.shape, strict=True)):
            return False
        # Where other processes take a whole batch meanwhile, this one would only wait for them.
        waits = self.update is not None and self.update.exchange is not None
        return waits or own.ids.numel() <= max(_CHEAP_TOKENS, 2 * batch.ids.numel())

    def replay(self, batch: "Batch") -> Tensor:
        """Run the graph on the values of ``batch``; padding is never a target, so its weight has no effect."""
        own, (rows, length) = self.batch, batch.ids.shape
        if batch.ids.shape != own.ids.shape:
            own.ids.fill_(PAD)
            parts = ((own.ids, batch.ids), (own.weights, batch.weights), (own.strata, batch.strata))
            for static, value in ((all_of, part) for all_of, part in parts if part.numel()):
                static[:rows, :length].copy_(value, non_blocking=True)
        else:
            for mine, theirs in zip(own, batch, strict=True):
                if isinstance(mine, Tensor) and isinstance(theirs, Tensor) and mine.numel():
                    mine.copy_(theirs, non_blocking=True)
        self._graph.replay()
        return self.sums.clone()


class KnownGradients(torch.autograd.Function):
    """Sums whose backward pass has run already: what is left of it is the factor that the caller's loss has.

    Args: the sums, gradients of the first relative to the second in the parameters, and the parameters.
    """

    @staticmethod
    def forward(ctx: Any, sums: Tensor, gradients: Sequence[Tensor | None], *parameters: Tensor) -> Tensor:
        ctx.sums, ctx.gradients = sums, gradients
        return sums.clone()

    @staticmethod
    def backward(ctx: Any, d_sums: Tensor) -> tuple[Tensor | None, ...]:
        factor = d_sums[0] * ctx.sums[1].clamp(min=1.0)  # one where the loss is the quotient itself
        present = [gradient for gradient in ctx.gradients if gradient is not None]
        scaled = iter(torch._foreach_mul(present, factor))
        return None, None, *(None if gradient is None else next(scaled) for gradient in ctx.gradients)
