"""The group of a run's processes: joined at the start of the run and left at its end."""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta

import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy

from genoconv.errors import DivergedError

_LONGEST_WAIT = timedelta(minutes=30)
"""That one process takes longer than another: to read a genome, or to write a checkpoint."""


class Processes(DDPStrategy):
    """Lightning's strategy of one process per device, in a group that :func:`parting` leaves.

    Where Lightning makes the group, each process leaves it as it exits. NCCL lets it wait there for all others of its
    machine: the first process of a run would wait for the exit of those that it has started, and they for its own; and
    one that fails would wait for others that do not know.

    Attributes:
        asking: the group in which processes ask each other for decisions; None is the one that they compute in.
    """

    asking: dist.ProcessGroup | None = None

    def setup_distributed(self) -> None:
        """Meet the other processes."""
        place = self.cluster_environment
        assert place is not None
        self.set_world_ranks()
        os.environ |= {"MASTER_ADDR": place.main_address, "MASTER_PORT": str(place.main_port)}
        on_gpu = self.root_device.type == "cuda"
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            rank=place.global_rank(),
            world_size=place.world_size(),
            timeout=_LONGEST_WAIT,
            device_id=self.root_device if on_gpu else None,
        )
        super().setup_distributed()  # takes the group that is there
        if on_gpu and self.num_nodes == 1:
            # So that a question waits for no GPU. Between machines gloo may not find the network that NCCL finds.
            self.asking = dist.new_group(backend="gloo", timeout=_LONGEST_WAIT)

    def configure_ddp(self) -> None:
        """Leave the model as it is: :class:`.Exchange` exchanges its gradients."""


@contextlib.contextmanager
def parting() -> Iterator[None]:
    """Processes leave their group where the block ends, by itself or by an error that all of them meet.

    One that fails alone does not wait for the others: the first process ends them (:mod:`genoconv.train.workers`).
    """
    try:
        yield
    except DivergedError:
        _leave()
        raise
    _leave()


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
