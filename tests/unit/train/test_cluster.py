"""What launchers leave in the environment: used where it fits, refused in one line where a run would wait for ever."""

import os

import pytest

from genoconv.errors import UsageError
from genoconv.train.cluster import STARTED_BY
from genoconv.train.machine import settle
from genoconv.train.settings import RunSettings

STRAY = {
    "a rank of another run": (1, {"LOCAL_RANK": "1"}, "LOCAL_RANK='1' is set in the environment"),
    "the first rank of another run": (2, {"LOCAL_RANK": "0"}, "LOCAL_RANK='0' is set in the environment"),
    "a rank of a run of somebody else": (
        2,
        {"LOCAL_RANK": "1", STARTED_BY: str(os.getpid())},
        "unset it, or start genoconv with",
    ),
    "a rank that is not a number": (2, {"SLURM_STEP_NUM_TASKS": "2(x3)"}, "SLURM_STEP_NUM_TASKS in the environment is"),
    "a second machine of one": (1, {"NODE_RANK": "1"}, "NODE_RANK=1 is set in the environment, but run.nodes is 1"),
    "nowhere to meet": (1, {"NODE_RANK": "0", "MASTER_ADDR": "a"}, "run.nodes is 2, but MASTER_PORT is not set"),
    "an invalid port": (2, {"MASTER_PORT": "99999"}, "MASTER_PORT in the environment is 99999, not a port"),
    "a port that is a word": (2, {"MASTER_PORT": "http"}, "MASTER_PORT in the environment is 'http', not a whole"),
    "no processes": (1, {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "0", "WORLD_SIZE": "1"}, "run.launcher torch"),
}


@pytest.mark.parametrize("name", STRAY)
def test_what_another_launcher_left_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    devices, environment, message = STRAY[name]
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(UsageError, match=message) as error:
        settle(RunSettings(max_steps=1, device="cpu", devices=devices, nodes=2 if "MASTER_PORT" in message else 1))
    assert "\n" not in str(error.value)


def test_one_process_does_not_mind_being_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    machine = settle(RunSettings(max_steps=1, device="cpu"))
    assert machine.is_first
    assert not machine.starts_workers


def test_a_process_that_the_run_has_started_knows_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(STARTED_BY, str(os.getppid()))
    machine = settle(RunSettings(max_steps=1, device="cpu", devices=2))
    assert (machine.rank, machine.is_first, machine.starts_workers) == (1, False, False)


@pytest.mark.parametrize(
    ("device", "devices", "environment", "expected"),
    [
        ("cuda:2", None, {}, "cuda:2"),
        ("cuda", 1, {}, "cuda:0"),
        ("cuda", 2, {"LOCAL_RANK": "1", STARTED_BY: str(os.getppid())}, "cuda:1"),
        ("cpu", 2, {"LOCAL_RANK": "1", STARTED_BY: str(os.getppid())}, "cpu"),
    ],
)
def test_every_process_has_its_device(
    monkeypatch: pytest.MonkeyPatch, device: str, devices: int | None, environment: dict[str, str], expected: str
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    found = settle(RunSettings(max_steps=1, device=device, devices=devices, precision="32"))
    assert str(found.device) == expected
