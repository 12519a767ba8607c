"""The update of the weights: gradients exchanged, clipped, and AdamW's step; in CUDA graphs where they can hold it."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from genoconv.train.graphs import captured

if TYPE_CHECKING:
    from genoconv.train.exchange import Exchange

log = logging.getLogger(__name__)


class Update:
    """What changes the weights once their gradients are there: clipping and an optimiser's step.

    The graph of a step holds all of it. Where several processes exchange gradients, it holds what comes before: NCCL
    lets a graph hold the exchange only if all processes launch the same graph, and a batch of another shape makes one
    of them launch its kernels one by one. What comes after the exchange has a graph of its own: it reads the gradients
    where the exchange leaves them, so it serves batches of all shapes, also those whose step has no graph.

    On a GPU learning rates are always read from there, as a graph reads them: steps with and without one have the same
    bits.

    Args:
        optimizer: fused, so that a graph can hold its step; learning rates are read from its groups at every step.
        clip: norm that gradients are clipped to.
        exchange: what makes the gradients those of all processes, where there are several.
        graphs: whether what follows the exchange may be a graph.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        clip: float,
        exchange: "Exchange | None" = None,
        graphs: bool = True,
    ) -> None:
        self.optimizer = optimizer
        self.clip = clip
        self.exchange = exchange
        self.graphs = graphs
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._rates = self._rates_there()

    def __call__(self) -> None:
        """Take the step, with the gradients that the parameters have."""
        self.put_rates()
        if self.exchange is None:
            self._change()
            return
        self.exchange.gather({p: p.grad for p in self._parameters})
        self.exchange.meet()
        self._take()

    def finish(self) -> None:
        """Take what is left of the step after a graph that holds what was recorded by :meth:`record`."""
        if self.exchange is not None:
            self.exchange.meet(marked=True)
            self._take()

    def _take(self) -> None:
        if self._graph is None and self.graphs and self.capturable:
            self._capture()
        if self._graph is None:
            self._change()
        else:
            self._graph.replay()

    def overlapping(self) -> AbstractContextManager[None]:
        """While the backward pass of a step's graph is captured: what of the exchange goes beside the pass."""
        return nullcontext() if self.exchange is None else self.exchange.overlapping()

    def record(self, gradients: Mapping[nn.Parameter, Tensor | None]) -> None:
        """Its part of a step's graph, while that is captured: all of it, or what comes before the exchange."""
        if self.exchange is not None:
            self.exchange.gather(gradients, marked=True)
            return
        for parameter, gradient in gradients.items():
            parameter.grad = gradient
        self._change(captured=True)
        for parameter in gradients:
            parameter.grad = None

    @property
    def capturable(self) -> bool:
        """Whether a graph can hold the optimiser's step: fused, and past its first one, which makes its state."""
        stepped = all(p in self.optimizer.state for p in self._parameters)
        return self._rates is not None and stepped

    def put_rates(self) -> None:
        """Write the learning rates of now where steps read them; values travel with launches, so nothing waits."""
        if self._rates is not None:
            for rate, group in zip(self._rates.unbind(), self.optimizer.param_groups, strict=True):
                rate.fill_(group["lr"])

    def _rates_there(self) -> Tensor | None:
        """The learning rates of the groups, (groups,), on the GPU; None where the optimiser's step reads numbers."""
        groups = self.optimizer.param_groups
        if not all(group.get("fused") for group in groups) or not all(p.is_cuda for p in self._parameters):
            return None
        return torch.tensor([group["lr"] for group in groups], device=self._parameters[0].device)

    def _change(self, *, captured: bool = False) -> None:
        with self._reading(captured=captured):
            torch.nn.utils.clip_grad_norm_(self._parameters, self.clip)
            self.optimizer.step()

    @contextmanager
    def _reading(self, *, captured: bool) -> Iterator[None]:
        """The optimiser's step reads its learning rates from where :meth:`put_rates` writes them."""
        if self._rates is None:
            yield
            return
        groups = self.optimizer.param_groups
        before = [(group["lr"], group["capturable"]) for group in groups]
        for group, rate in zip(groups, self._rates.unbind(), strict=True):
            group.update(lr=rate, capturable=captured)
        try:
            yield
        finally:
            for group, (rate, capturable) in zip(groups, before, strict=True):
                group.update(lr=rate, capturable=capturable)

    def _capture(self) -> None:
        """The graph of what follows the exchange; the gradients are in places that stay."""
        try:
            self._graph, _ = captured(partial(self._change, captured=True), _stream(self._parameters[0].device))
        except RuntimeError as error:
            log.warning("weights are updated without a CUDA graph: %s", " ".join(str(error).split())[:200])
            self.graphs = False


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
