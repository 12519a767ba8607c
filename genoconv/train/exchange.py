"""Gradients of several processes: exchanged in buffers of our own, the first of them during the backward pass.

Torch's DistributedDataParallel exchanges them inside the backward pass, and keeps a node of each parameter on the
stream it was made on, beside which no CUDA graph can be captured. Here a process takes its backward pass through a
graph or launches it kernel by kernel, depending on the shape of its batch; the exchange is the same either way.
A graph can hold the gathering, and another one what reads the means, for both are always in the same places. A graph
also marks when the gradients are gathered that a backward pass has first, those of a model's end. Their exchange waits
for the mark alone, and the rest of the graph runs beside it.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

_LATE = 0.25
"""Share of the parameters, from a model's begin on, that are exchanged after the backward pass."""


class _Bucket:
    """One buffer for the gradients of some parameters of a kind, and the place of each in it."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        sizes = [p.numel() for p in parameters]
        self.buffer = torch.zeros(sum(sizes), dtype=parameters[0].dtype, device=parameters[0].device)
        parts = self.buffer.split_with_sizes(sizes)
        self.slots = {p: part.view(p.shape) for p, part in zip(parameters, parts, strict=True)}

    def gather(self, gradients: Mapping[nn.Parameter, Tensor | None]) -> None:
        given = [(slot, gradient) for p, slot in self.slots.items() if (gradient := gradients[p]) is not None]
        if len(given) < len(self.slots):
            self.buffer.zero_()
        if given:
            torch._foreach_copy_([slot for slot, _ in given], [gradient for _, gradient in given])
        self.buffer.div_(dist.get_world_size())
        for parameter, slot in self.slots.items():
            parameter.grad = slot


class Exchange:
    """The mean of the processes' gradients, each of its own batch.

    Args:
        model: its parameters and buffers become those of the first process.
    """

    def __init__(self, model: nn.Module) -> None:
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)
        trained = [p for p in model.parameters() if p.requires_grad]
        self._mark = _mark(trained[0].device)
        late, early = divided(trained, share=_LATE) if self._mark is not None else (trained, [])
        self._early, self._late = _buckets(early), _buckets(late)
        self._begun = False

    @contextlib.contextmanager
    def overlapping(self) -> Iterator[None]:
        """While a backward pass is captured: its first gradients are gathered, and marked, once all are there."""
        gradients: dict[nn.Parameter, Tensor | None] = {}
        parameters = [p for bucket in self._early for p in bucket.slots]

        def arrived(parameter: nn.Parameter) -> Callable[[Tensor], None]:
            def note(gradient: Tensor) -> None:
                gradients[parameter] = gradient
                if len(gradients) == len(parameters):
                    self._begin(gradients)

            return note

        handles: list[Any] = [p.register_hook(arrived(p)) for p in parameters]  # type: ignore[no-untyped-call]
        try:
            yield
        except BaseException:
            self._begun = False
            raise
        finally:
            for handle in handles:
                handle.remove()

    def gather(self, gradients: Mapping[nn.Parameter, Tensor | None], *, marked: bool = False) -> None:
        """Put this process's part of the mean into the buffers, and their places into the parameters' ``grad``.

        Args:
            gradients: of all trained parameters; a missing one counts as zero.
            marked: whether the exchange waits for marks, as after a graph; one is set here if none was set before.
        """
        if not self._begun:
            for bucket in self._early:
                bucket.gather(gradients)
            if marked and self._mark is not None:
                self._mark.record()
        self._begun = False
        for bucket in self._late:
            bucket.gather(gradients)

    def meet(self, *, marked: bool = False) -> None:
        """Make what was gathered the mean of all processes; on a GPU the host does not wait for it.

        Args:
            marked: whether a graph that marks its first gradients was launched just before.
        """
        beside = self._after_mark() if marked and self._mark is not None else contextlib.nullcontext()
        with beside:
            works = [dist.all_reduce(bucket.buffer, async_op=True) for bucket in self._early]
        works += [dist.all_reduce(bucket.buffer, async_op=True) for bucket in self._late]
        for work in works:
            work.wait()

    def _begin(self, gradients: Mapping[nn.Parameter, Tensor | None]) -> None:
        assert self._mark is not None
        for bucket in self._early:
            bucket.gather(gradients)
        self._mark.record()
        self._begun = True

    @contextlib.contextmanager
    def _after_mark(self) -> Iterator[None]:
        """What is launched in the block waits for the mark alone."""
        assert self._mark is not None
        self._mark.stream.wait_event(self._mark.event)
        with torch.cuda.stream(self._mark.stream):
            yield


class _Mark:
    """A moment inside a graph, for which another stream waits."""

    def __init__(self, device: torch.device) -> None:
        self.event = torch.cuda.Event(external=True)  # type: ignore[no-untyped-call]
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.event.record(self.stream)  # which makes it, outside of any graph

    def record(self) -> None:
        """It is now, on the stream of now."""
        self.event.record()


def _mark(device: torch.device) -> _Mark | None:
    if device.type != "cuda":
        return None
    try:
        return _Mark(device)
    except TypeError:  # torch 2.6 has no events that a graph shows to others
        return None


def divided(parameters: Sequence[nn.Parameter], *, share: float) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The first parameters, that share of all numbers or a little more, and the others."""
    first: list[nn.Parameter] = []
    left = share * sum(p.numel() for p in parameters)
    for parameter in parameters:
        if left <= 0:
            break
        first.append(parameter)
        left -= parameter.numel()
    return first, list(parameters[len(first) :])


def _buckets(parameters: Sequence[nn.Parameter]) -> list[_Bucket]:
    kinds = dict.fromkeys((p.dtype, p.device) for p in parameters)
    return [_Bucket([p for p in parameters if (p.dtype, p.device) == kind]) for kind in kinds]
