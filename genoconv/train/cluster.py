"""Who starts the processes of a run, and which of them this one is."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from genoconv.errors import UsageError
from genoconv.train.settings import RunSettings

if TYPE_CHECKING:
    from pytorch_lightning.plugins.environments import ClusterEnvironment

Launcher = Literal["auto", "local", "slurm", "torchrun"]

STARTED_BY = "GENOCONV_TRAIN_STARTED_BY"
"""Environment variable of the processes that a run starts itself: the id of the process that started them."""


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
    if environment_number("SLURM_STEP_NUM_TASKS", default=1) > 1:
        return "slurm"
    return "torchrun" if "TORCHELASTIC_RUN_ID" in os.environ else "local"


def environment_number(name: str, *, default: int) -> int:
    """A number that a launcher has put into the environment.

    Raises:
        UsageError: the variable holds something else.
    """
    value = os.environ.get(name, str(default))
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise UsageError(f"{name} in the environment is {value!r}, not a whole number; unset it, or correct it")
    return int(value)


def check_local(*, nodes: int, devices: int) -> None:
    """Refuse what another launcher left in the environment, and several machines without a place to meet.

    The run would wait for processes that nobody starts, or that cannot find it.

    Args:
        nodes, devices: machines of a run that starts its processes itself, and processes on each.

    Raises:
        UsageError: a variable says that this is a process of some other run, or is needed and not set.
    """
    if "LOCAL_RANK" in os.environ and not is_worker() and (os.environ["LOCAL_RANK"] != "0" or nodes * devices > 1):
        raise UsageError(
            f"LOCAL_RANK={os.environ['LOCAL_RANK']!r} is set in the environment, but genoconv starts the processes of a"
            " run itself; unset it, or start genoconv with torchrun and run.launcher=torchrun"
        )
    node = environment_number("NODE_RANK", default=0)
    if node >= nodes:
        raise UsageError(f"NODE_RANK={node} is set in the environment, but run.nodes is {nodes}; unset it, or set both")
    if nodes > 1 and "MASTER_PORT" not in os.environ:
        raise UsageError(
            f"run.nodes is {nodes}, but MASTER_PORT is not set in the environment, so the machines would wait for each"
            " other forever; start genoconv with srun or torchrun, or set MASTER_ADDR, MASTER_PORT and NODE_RANK on"
            " each machine"
        )
    port = environment_number("MASTER_PORT", default=1) if nodes > 1 else 1
    if not 1 <= port < 1 << 16:
        raise UsageError(f"MASTER_PORT in the environment is {port}, not a port; use 1 to 65535, or unset it")


def is_worker() -> bool:
    """Whether another process of the run started this one."""
    return os.environ.get(STARTED_BY) == str(os.getppid())


def is_first_process(wanted: Launcher) -> bool:
    """Whether this process writes files: every run has one such, however many GPUs and machines it spans."""
    names = {"slurm": ("SLURM_PROCID",), "torchrun": ("RANK",)}.get(launcher(wanted), ("LOCAL_RANK", "NODE_RANK"))
    return all(environment_number(name, default=0) == 0 for name in names)


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
    if kind == "local":
        check_local(nodes=settings.nodes, devices=devices)
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
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise UsageError(f"run.launcher {kind}: {error}") from None
    return found
