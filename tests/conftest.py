"""Fixtures for every layer of the tests."""

import itertools
import logging
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from odd_files import NASTY, Odd, shared_odd, write_odd

from support import DATA

# As ./bootstrap test has it: two workers on two cores do not fight over them, and a process that shares the cores with
# another gets the same bits as one alone. Read when torch is loaded, which nothing above does.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest.register_assert_rewrite("option_effects")

# Every run draws the same examples, and a busy machine may take its time over them.
settings.register_profile(
    "repeatable", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """What a test draws does not depend on the tests that ran before it in the same process."""
    seed = 41_153  # of which no test draws anything of its own
    random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


@pytest.fixture(scope="module")
def _new_folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Makes folders of a module's own: pytest looks through all that there are, thousands, before it makes one."""
    parent = tmp_path_factory.mktemp(request.path.stem)
    numbers = itertools.count()

    def make(name: str) -> Path:
        folder = parent / f"{name}{next(numbers)}"
        folder.mkdir()
        return folder

    return make


@pytest.fixture
def tmp_path(_new_folder: Callable[[str], Path]) -> Path:
    """An empty folder of the test's own, in place of pytest's."""
    return _new_folder("test")


@pytest.fixture(autouse=True)
def _private_home(_new_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the cache of the person who runs it."""
    monkeypatch.setenv("GENOCONV_HOME", str(_new_folder("home")))


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """A command that ran in this process has sent the library's log to its own stderr: the next test gets it back."""
    logger = logging.getLogger("genoconv")
    before = logger.handlers[:], logger.propagate, logger.level
    logger.handlers[:], logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
    yield
    logger.handlers[:], logger.propagate = before[:2]
    logger.setLevel(before[2])


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """A command started by a test can be interrupted, even where the tests themselves run with signals ignored.

    A process inherits ignored signals: from ``nohup``, or from a command that an earlier test ran in this process.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def _large_test_data_stays_as_it_is() -> Iterator[None]:
    """Other people read the same folder; no test writes an index or anything else there, not even as root."""

    def everything() -> dict[Path, int]:
        return {path: path.lstat().st_mtime_ns for path in DATA.rglob("*")} if DATA.is_dir() else {}

    before = everything()
    yield
    after = everything()
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert not changed, f"a test changed the shared test data: {sorted(map(str, changed))}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A cache folder for commands that run as a subprocess."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session", params=["written", "shared"] if NASTY.exists() else ["written"])
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Odd:
    """Odd files of every kind: written here, and those of public projects where the large test data is."""
    if request.param == "written":
        return write_odd(tmp_path_factory.mktemp("odd") / "files")
    return shared_odd()
