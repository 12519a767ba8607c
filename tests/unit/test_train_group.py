"""Processes of a run meet and part; two real ones: test_train_command.py."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import ddp

from genoconv.errors import DivergedError
from genoconv.train.group import Processes, parting


@pytest.fixture
def left_at_the_end() -> Iterator[None]:
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.mark.usefixtures("left_at_the_end")
@pytest.mark.parametrize(("error", "parted"), [(None, True), (DivergedError, True), (OSError, False)])
def test_processes_leave_together_what_ends_for_all_of_them(
    error: type[Exception] | None, parted: bool, tmp_path: Path
) -> None:
    """One that fails alone must not wait for the others."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    with contextlib.suppress(OSError, DivergedError), parting():
        if error is not None:
            raise error("lost")
    assert dist.is_initialized() is not parted


@pytest.fixture
def strategy(monkeypatch: pytest.MonkeyPatch) -> Processes:
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # put back afterwards
    monkeypatch.setattr(LightningEnvironment, "main_address", "127.0.0.1")
    monkeypatch.setattr(LightningEnvironment, "main_port", 0)
    monkeypatch.setattr(LightningEnvironment, "local_rank", lambda self: 0)
    return Processes(parallel_devices=[torch.device("cpu")], cluster_environment=LightningEnvironment())


@pytest.mark.usefixtures("left_at_the_end")
def test_lightning_does_not_make_the_group_which_it_would_leave_at_exit(
    strategy: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    monkeypatch.setattr(ddp, "_init_dist_connection", lambda *args, **kwargs: found.append(dist.get_backend()))
    strategy.setup_distributed()
    assert (found, dist.get_world_size()) == (["gloo"], 1)


@pytest.mark.parametrize(
    ("device", "machines", "groups"), [("cpu", 1, ["gloo"]), ("cuda", 1, ["nccl", "gloo"]), ("cuda", 2, ["nccl"])]
)
def test_processes_on_gpus_of_one_machine_ask_each_other_in_a_group_without_them(
    strategy: Processes, monkeypatch: pytest.MonkeyPatch, device: str, machines: int, groups: list[str]
) -> None:
    made: list[str] = []
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **_: made.append(backend))
    monkeypatch.setattr(dist, "new_group", lambda *, backend, timeout: made.append(backend) or backend)
    monkeypatch.setattr(ddp.DDPStrategy, "setup_distributed", lambda self: None)
    strategy.parallel_devices = [torch.device(device, 0)]
    strategy.num_nodes = machines
    strategy.setup_distributed()
    assert made == groups
    assert strategy.asking == (groups[1] if len(groups) > 1 else None)
