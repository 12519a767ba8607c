"""What the processes of a run exchange: gradients, and decisions on which all of them must agree.

Gradients go through buffers of our own, not through a DistributedDataParallel: each process decides for itself whether
a batch goes through a CUDA graph, and the others meet the same exchange, of the same buffers in the same order,
whichever way it was begun.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn

if TYPE_CHECKING:
    import pytorch_lightning as pl

_BUCKET_BYTES = 4 << 20
"""Large enough that the exchange of one takes longer than its start, small enough that the first begins early."""


class Processes(DDPStrategy):
    """Lightning's strategy of one process per device, with gradients left to :class:`Exchange`."""

    def configure_ddp(self) -> None:
        """Leave the model as it is."""

    def setup_distributed(self) -> None:
        """NCCL would register the buffers of a captured exchange with all processes, which capture at other times."""
        os.environ.setdefault("NCCL_GRAPH_REGISTER", "0")
        super().setup_distributed()


class Exchange:
    """The mean of the processes' gradients.

    Args:
        model: its parameters and buffers become those of the first process.

    Attributes:
        active: whether the backward passes that follow are the last ones of their step: then buckets are exchanged as
            soon as they are full, while the rest of the pass runs.
    """

    def __init__(self, model: nn.Module) -> None:
        self.active = True
        self.world = dist.get_world_size()
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)
        # Gradients come about in the reverse order of the parameters.
        self._parameters = [p for p in model.parameters() if p.requires_grad][::-1]
        self._buckets = _buckets(self._parameters)
        self._bucket_of = {p: bucket for bucket in self._buckets for p in bucket.slots}
        self._begun = 0
        for parameter in self._parameters:
            parameter.register_post_accumulate_grad_hook(self._arrived)  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        """Wait for all gradients of a step; those that did not come about count as zero."""
        for bucket in self._buckets[self._begun :]:
            bucket.fill()
            bucket.begin(self.world)
        for bucket in self._buckets:
            bucket.finish()
        self._begun = 0

    def exchanged(self, gradients: Sequence[Tensor | None], parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """The mean of gradients that are all there, for a CUDA graph: in buffers that stay."""
        for parameter, gradient in zip(parameters, gradients, strict=True):
            slot = self._bucket_of[parameter].slots[parameter]
            if gradient is None:
                slot.zero_()
            else:
                slot.copy_(gradient)
        for bucket in self._buckets:
            bucket.begin(self.world)
        for bucket in self._buckets:
            bucket.wait()
        return [self._bucket_of[parameter].slots[parameter] for parameter in parameters]

    def _arrived(self, parameter: Tensor) -> None:
        if not self.active:
            return
        assert isinstance(parameter, nn.Parameter)
        self._bucket_of[parameter].take(parameter)
        # In their order, so that all processes exchange the same one.
        while self._begun < len(self._buckets) and self._buckets[self._begun].full:
            self._buckets[self._begun].begin(self.world)
            self._begun += 1


class _Bucket:
    """Gradients that are exchanged together.

    Attributes:
        slots: where the gradient of each parameter lies, in one buffer.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        first = parameters[0]
        self._buffer = torch.zeros(sum(p.numel() for p in parameters), dtype=first.dtype, device=first.device)
        parts = self._buffer.split_with_sizes([p.numel() for p in parameters])
        self.slots = {p: part.view(p.shape) for p, part in zip(parameters, parts, strict=True)}
        self._taken: set[nn.Parameter] = set()
        self._work: Any = None

    @property
    def full(self) -> bool:
        """Whether all gradients of a step are here."""
        return len(self._taken) == len(self.slots)

    def take(self, parameter: nn.Parameter) -> None:
        """Copy the gradient of a parameter here."""
        assert parameter.grad is not None
        self.slots[parameter].copy_(parameter.grad)
        self._taken.add(parameter)

    def fill(self) -> None:
        """Take what is not yet here: gradients of earlier backward passes of the step, or zeros."""
        for parameter in self.slots:
            if parameter not in self._taken and parameter.grad is None:
                self.slots[parameter].zero_()
            elif parameter not in self._taken:
                self.take(parameter)

    def begin(self, world: int) -> None:
        """Begin to exchange it."""
        self._work = dist.all_reduce(self._buffer.div_(world), async_op=True)

    def wait(self) -> None:
        """Let what follows on this device wait for the exchange."""
        self._work.wait()
        self._work = None

    def finish(self) -> None:
        """As :meth:`wait`; the parameters then have the mean as their gradients."""
        self.wait()
        for parameter, slot in self.slots.items():
            parameter.grad = slot
        self._taken = set()


def _buckets(parameters: Sequence[nn.Parameter]) -> list[_Bucket]:
    groups: list[list[nn.Parameter]] = []
    room = 0
    for parameter in parameters:
        size = parameter.numel() * parameter.element_size()
        if not groups or size > room or parameter.dtype != groups[-1][0].dtype:
            groups.append([])
            room = _BUCKET_BYTES
        groups[-1].append(parameter)
        room -= size
    return [_Bucket(group) for group in groups]


class Agreement:
    """Numbers on which processes agree a step later: the largest that any of them has.

    An answer at once would let every GPU wait for the slowest, and then for its own process, in every step.
    """

    def __init__(self) -> None:
        self._asked: _Question | None = None

    def ask(self, trainer: "pl.Trainer", numbers: Sequence[int]) -> list[int]:
        """The answer to the numbers of the call before, zeros at first; all must ask. One process has them at once."""
        if trainer.world_size == 1:
            return [int(number) for number in numbers]
        before, self._asked = self._asked, _Question(numbers, trainer.strategy.root_device)
        return before.answer() if before is not None else [0] * len(numbers)


class _Question:
    def __init__(self, numbers: Sequence[int], device: torch.device) -> None:
        mine = torch.tensor([float(number) for number in numbers])
        on_gpu = device.type == "cuda"
        self._most = mine.pin_memory().to(device, non_blocking=True) if on_gpu else mine
        self._work: Any = dist.all_reduce(self._most, op=dist.ReduceOp.MAX, async_op=True)
        self._there = None
        if on_gpu:
            self._work.wait()  # on the GPU only
            self._most = self._most.to("cpu", non_blocking=True)
            self._there = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._there.record(torch.cuda.current_stream(device))

    def answer(self) -> list[int]:
        """Wait for it."""
        if self._there is None:
            self._work.wait()
        else:
            self._there.synchronize()
        return [int(number) for number in self._most.tolist()]
