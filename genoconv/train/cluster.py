"""Who starts the processes of a run, and which of them this one is."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from genoconv.errors import UsageError
from genoconv.train.settings import RunSettings

if TYPE_CHECKING:
    from pytorch_lightning.plugins.environments import ClusterEnvironment

Launcher = Literal["auto", "local", "slurm", "torchrun"]


@dataclass(frozen=True, slots=True)
class Place:
    """Lightning's view of the machines: their number and the processes on each."""

    environment: "ClusterEnvironment"
    nodes: int
    devices: int


def launcher(wanted: Launcher) -> Launcher:
    """Who started this process: srun, torchrun, or a person (or Lightning, on that person's machine).

    A batch script of SLURM that does not call srun is a person too.
    """
    if wanted != "auto":
        return wanted
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return "slurm"
    return "torchrun" if "TORCHELASTIC_RUN_ID" in os.environ else "local"


def is_first_process(wanted: Launcher) -> bool:
    """Whether this process writes files: every run has one such, however many GPUs and machines it spans."""
    names = {"slurm": ("SLURM_PROCID",), "torchrun": ("RANK",)}.get(launcher(wanted), ("LOCAL_RANK", "NODE_RANK"))
    return all(os.environ.get(name, "0") == "0" for name in names)


def place(settings: RunSettings, devices: int) -> Place:
    """Where this process stands.

    Args:
        settings: of the run.
        devices: processes that it would have on this machine.

    Raises:
        UsageError: the launcher started another number of processes than there are devices.
    """
    from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment

    kind = launcher(settings.launcher)
    try:
        if kind == "slurm":
            environment: ClusterEnvironment = SLURMEnvironment(auto_requeue=False)
            found = Place(environment, int(os.environ["SLURM_NNODES"]), devices)
        elif kind == "torchrun":
            environment = TorchElasticEnvironment()
            each = int(os.environ["LOCAL_WORLD_SIZE"])
            found = Place(environment, int(os.environ["WORLD_SIZE"]) // each, each)
        else:
            environment = LightningEnvironment()
            found = Place(environment, settings.nodes, devices)
        environment.validate_settings(num_devices=found.devices, num_nodes=found.nodes)
    except KeyError as error:
        raise UsageError(f"run.launcher {kind}: {error.args[0]} is not set; was genoconv started by {kind}?") from None
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"run.launcher {kind}: {error}") from None
    return found
