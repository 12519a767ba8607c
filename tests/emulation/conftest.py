"""Starts to build what the selected tests need, on all cores, before the first runs."""

import os
from collections.abc import Iterator

import pytest
from emulation import harness


@pytest.fixture(scope="session", autouse=True)
def _builds(request: pytest.FixtureRequest) -> Iterator[None]:
    if harness.available() and "PYTEST_XDIST_WORKER" not in os.environ:  # xdist's workers fill the cores themselves
        for item in request.session.items:
            for kernel in getattr(getattr(item, "callspec", None), "params", {}).get("case", ()):
                harness.start(kernel)
    yield
    harness.cancel()
