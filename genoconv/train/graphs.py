"""CUDA graphs of a training step: forward and backward pass, and the update of the weights where nothing else needs
the gradients.

The host takes longer to launch some hundred kernels one by one than a GPU takes to run them on a small batch. A graph
is one launch. It belongs to one shape of batch, so it is captured once a shape has come several times in a row.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from genoconv.tokens import PAD

if TYPE_CHECKING:
    from genoconv.train.batch import Batch
    from genoconv.train.exchange import Exchange
    from genoconv.train.objectives import Objective

log = logging.getLogger(__name__)

_IN_A_ROW = 3
"""Batches of one shape after which it is worth a graph: a stage of a run, not a single odd batch."""
_MOST_TOKENS = 2**18
"""Tokens up to which a batch is small: beyond, kernels take longer than launches, and a graph only keeps memory."""
_LONGEST_ROW = 2**15
"""Tokens: convolutions of longer rows use streams of their own."""
_CHEAP_TOKENS = 2**16
"""Tokens of a graph that a GPU computes sooner than the host launches a step: any smaller batch may fill it up."""


class Update:
    """What changes the weights once their gradients are there: clipping and an optimiser's step.

    Args:
        optimizer: fused, so that a graph can hold its step; learning rates are read from its groups at every step.
        clip: norm that gradients are clipped to.
        exchange: what makes the gradients those of all processes, where there are several.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, clip: float, exchange: "Exchange | None" = None) -> None:
        self.optimizer = optimizer
        self.clip = clip
        self.exchange = exchange
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def __call__(self) -> None:
        """Take the step, with the gradients that the parameters have."""
        if self.exchange is not None:
            self.exchange()
        torch.nn.utils.clip_grad_norm_(self._parameters, self.clip)
        self.optimizer.step()

    @property
    def capturable(self) -> bool:
        """Whether a graph can hold it: fused, and past its first step, which makes the optimiser's state.

        It cannot hold an exchange: NCCL requires all processes to capture the same, and a batch of another shape makes
        one of them launch its kernels one by one.
        """
        if self.exchange is not None:
            return False
        stepped = all(p in self.optimizer.state for p in self._parameters)
        return stepped and all(group.get("fused") for group in self.optimizer.param_groups)

    def rates(self, device: torch.device) -> Tensor:
        """The learning rates of the groups, (groups,), for a graph to read."""
        return torch.tensor([group["lr"] for group in self.optimizer.param_groups], device=device)

    def put_rates(self, rates: Tensor) -> None:
        """Write the learning rates of now into ``rates``; values travel with the launch, so nothing waits."""
        for rate, group in zip(rates.unbind(), self.optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])

    @contextmanager
    def reading(self, rates: Tensor) -> Iterator[None]:
        """While a graph is captured: the step reads its learning rates from ``rates``."""
        groups = self.optimizer.param_groups
        before = [(group["lr"], group["capturable"]) for group in groups]
        for group, rate in zip(groups, rates.unbind(), strict=True):
            group.update(lr=rate, capturable=True)
        try:
            yield
        finally:
            for group, (rate, capturable) in zip(groups, before, strict=True):
                group.update(lr=rate, capturable=capturable)


class GraphedSums:
    """An objective's sums of a batch, through a CUDA graph where that is possible and pays.

    Args:
        model: what is trained; its parameters stay where they are.
        objective: gives the sums, the first of which is differentiated, relative to the second.
        enabled: whether graphs are wanted.

    Attributes:
        update: taken by the graph as well, where it is set and can be captured; after the graph, where processes have
            to exchange gradients first.
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
            return self._replayed(self._graph, batch)
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
        return self._replayed(self._graph, batch)

    def _replayed(self, graph: "_Graph", batch: "Batch") -> Tensor:
        update = self.update
        if graph.update is None and update is not None and update.exchange is not None:
            sums = graph.replay(batch)
            for parameter, gradient in zip(graph.parameters, graph.gradients, strict=True):
                parameter.grad = gradient
            update()
            self.updated = True
            return sums
        self.updated = graph.update is not None
        return graph(batch)

    def _pays(self, batch: "Batch") -> bool:
        if not self.enabled or batch.ids.device.type != "cuda" or batch.ids.numel() > _MOST_TOKENS:
            return False
        if batch.cu_seqlens:
            return False  # its launches depend on them, so that no two batches are of one shape
        if batch.ids.shape[-1] > _LONGEST_ROW:
            return False
        return torch.is_grad_enabled() and not getattr(self.model, "checkpointing", False)


class _Graph:
    """One captured forward and backward pass: the sums, gradients of their quotient and, if wanted, the update."""

    def __init__(self, model: nn.Module, objective: "Objective", batch: "Batch", update: Update | None = None) -> None:
        self.update = update
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.shape = tuple(x.shape for x in batch if isinstance(x, Tensor))
        own: dict[str, Any] = {name: x.clone() for name, x in batch._asdict().items() if isinstance(x, Tensor)}
        self.batch = batch._replace(**own)
        self._graph = torch.cuda.CUDAGraph()
        device = batch.ids.device
        self._rates = update.rates(device) if update is not None else None
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        random = torch.cuda.get_rng_state(device)

        def once() -> tuple[Tensor, tuple[Tensor | None, ...]]:
            sums = objective.sums(model, self.batch)
            loss = sums[0] / sums[1].clamp(min=1.0)
            with torch.autocast("cuda", enabled=False):  # or it would round the gradients of what is float32
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
                if update is not None:
                    self._capture(update)
        torch.cuda.set_rng_state(random, device)

    def _capture(self, update: Update) -> None:
        assert self._rates is not None
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        with update.reading(self._rates):
            update()
        for parameter in self.parameters:
            parameter.grad = None

    def __call__(self, batch: "Batch") -> Tensor:
        if self.update is not None and self._rates is not None:
            self.update.put_rates(self._rates)
            return self.replay(batch)
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
        smaller = all(n <= most for n, most in zip(batch.ids.shape, own.ids.shape, strict=True))
        return smaller and own.ids.numel() <= max(_CHEAP_TOKENS, 2 * batch.ids.numel())

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
