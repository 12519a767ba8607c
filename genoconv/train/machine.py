"""Where a run computes: devices and processes, settled before anything is written."""

import importlib.util
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from genoconv.errors import UsageError
from genoconv.models.devices import resolve_precision
from genoconv.train.cluster import environment_number, is_first_process, launcher, place
from genoconv.train.settings import RunSettings

if TYPE_CHECKING:
    from pytorch_lightning.plugins.environments import ClusterEnvironment

_LIGHTNING_PRECISIONS: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The devices of a run and this process's place among its processes.

    Attributes:
        accelerator: ``cpu`` or ``cuda``.
        lightning_devices: how many devices of this machine, or which one.
        devices, nodes: processes on each machine; machines.
        precision: ``32`` or ``bf16``.
        environment: Lightning's view of who starts processes.
        is_first: whether this process writes files and talks.
        starts_workers: whether this process has to start the others of its machine.
        rank: of this process among all.
        device: of this process.
    """

    accelerator: str
    lightning_devices: int | list[int]
    devices: int
    nodes: int
    precision: str
    environment: "ClusterEnvironment"
    is_first: bool
    starts_workers: bool
    rank: int
    device: torch.device

    @property
    def processes(self) -> int:
        """Processes in all."""
        return self.devices * self.nodes

    @property
    def lightning_precision(self) -> Any:
        """Lightning's name of the precision."""
        return _LIGHTNING_PRECISIONS[self.precision]

    def describe(self) -> str:
        """For the record of a model: ``NVIDIA H200``, ``2 x cpu``."""
        name = torch.cuda.get_device_name() if self.accelerator == "cuda" else "cpu"
        return name if self.processes == 1 else f"{self.processes} x {name}"


def settle(settings: RunSettings) -> Machine:
    """Find what ``settings`` ask for.

    Raises:
        UsageError: no such device, processes that nobody started, nothing that says when to stop, or a missing extra.
    """
    if settings.max_steps is None and settings.max_minutes is None:
        raise UsageError("the run has no limit; pass --max-steps or --max-minutes")
    if settings.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UsageError("run.tensorboard needs the extra: pip install 'genoconv[tensorboard]'")
    accelerator, found = _devices(settings.device, settings.devices)
    where = place(settings, found if isinstance(found, int) else len(found))
    kind = launcher(settings.launcher)
    names = {"slurm": "SLURM_PROCID", "torchrun": "RANK"}
    on_node = environment_number("SLURM_LOCALID" if kind == "slurm" else "LOCAL_RANK", default=0)
    node = environment_number("NODE_RANK" if "NODE_RANK" in os.environ else "GROUP_RANK", default=0)
    return Machine(
        accelerator=accelerator,
        lightning_devices=found if where.devices == 1 else where.devices,
        devices=where.devices,
        nodes=where.nodes,
        precision=resolve_precision(settings.precision, device=accelerator),
        environment=where.environment,
        is_first=is_first_process(settings.launcher),
        starts_workers=kind == "local" and where.devices > 1 and "LOCAL_RANK" not in os.environ,
        rank=environment_number(names[kind], default=0) if kind in names else node * where.devices + on_node,
        device=torch.device(accelerator, found[0] if isinstance(found, list) else on_node)
        if accelerator == "cuda"
        else torch.device("cpu"),
    )


def _devices(device: str, wanted: int | None) -> tuple[str, int | list[int]]:
    """Lightning's accelerator and devices for ``--device`` and ``run.devices``."""
    count = torch.cuda.device_count()
    kind, _, number = device.partition(":")
    if kind == "auto":
        kind = "cuda" if count else "cpu"
    if kind == "cpu":
        return "cpu", wanted or 1
    if not count or (number and int(number) >= count):
        raise UsageError(f"--device {device}: torch sees {count} CUDA devices; `genoconv doctor` says why")
    if wanted and wanted > (1 if number else count):
        raise UsageError(f"run.devices {wanted}: --device {device} gives {1 if number else count}; ask for fewer")
    return "cuda", [int(number)] if number else wanted or count
