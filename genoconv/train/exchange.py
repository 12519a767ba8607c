"""Gradients of several processes: exchanged in one buffer of our own, after the backward pass.

Torch's DistributedDataParallel exchanges them inside the backward pass, and keeps a node of each parameter on the
stream it was made on, beside which no CUDA graph can be captured. Here a process takes its backward pass through a
graph or launches it kernel by kernel, depending on the shape of its batch; the exchange is the same either way.
A graph can hold the gathering, and another one what reads the means, for both are always in the same places.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Exchange:
    """The mean of the processes' gradients, each of its own batch.

    The exchange of a model of seven million parameters takes a fraction of a millisecond between GPUs of one machine,
    so nothing is begun before the backward pass ends.

    Args:
        model: its parameters and buffers become those of the first process.
    """

    def __init__(self, model: nn.Module) -> None:
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)
        trained = [p for p in model.parameters() if p.requires_grad]
        kinds = dict.fromkeys((p.dtype, p.device) for p in trained)
        self._buffers = [self._buffer([p for p in trained if (p.dtype, p.device) == kind]) for kind in kinds]

    def gather(self, gradients: Mapping[nn.Parameter, Tensor | None]) -> None:
        """Put this process's part of the mean into the buffers, and their places into the parameters' ``grad``.

        Args:
            gradients: of all trained parameters; a missing one counts as zero.
        """
        for buffer, slots in self._buffers:
            given = [(slot, gradient) for p, slot in slots.items() if (gradient := gradients[p]) is not None]
            if len(given) < len(slots):
                buffer.zero_()
            if given:
                torch._foreach_copy_([slot for slot, _ in given], [gradient for _, gradient in given])
            buffer.div_(dist.get_world_size())
            for parameter, slot in slots.items():
                parameter.grad = slot

    def meet(self) -> None:
        """Make what was gathered the mean of all processes; on a GPU the host does not wait for it."""
        for buffer, _ in self._buffers:
            dist.all_reduce(buffer)

    @staticmethod
    def _buffer(parameters: Sequence[nn.Parameter]) -> tuple[Tensor, dict[nn.Parameter, Tensor]]:
        """One buffer for the gradients of some parameters, and the place of each in it."""
        buffer = torch.zeros(sum(p.numel() for p in parameters), dtype=parameters[0].dtype, device=parameters[0].device)
        parts = buffer.split_with_sizes([p.numel() for p in parameters])
        return buffer, {p: part.view(p.shape) for p, part in zip(parameters, parts, strict=True)}
