"""On a GPU: a kernel that is broken, or has one wrong twiddle, fails the comparison with float64."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from broken_kernels import CHANGES, OF_LONG_ROWS, PARTS, broken_sources, wrong_tables
from gpu_kernels import ON_A_GPU, compile_all, kernels
from long_convolutions import (
    Problem,
    differentiated,
    faults,
)

from genoconv.gpu import cache, compiler, launch
from genoconv.ops.longconv import fused, host
from genoconv.ops.longconv.one_sm import launches as one_sm
from genoconv.ops.longconv.one_sm import tables as one_sm_tables

pytestmark = [*ON_A_GPU, pytest.mark.usefixtures("poisoned_memory")]


@pytest.fixture
def other_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing compiled or loaded beforehand is used, and nothing of the test afterwards."""
    kept = (cache.sources_digest, launch.load, host.loaded, one_sm._kernels)
    for function in kept:
        function.cache_clear()
    yield
    monkeypatch.undo()
    for function in kept:
        function.cache_clear()


@pytest.mark.usefixtures("other_kernels")
@pytest.mark.parametrize("change", CHANGES)
def test_a_broken_kernel_shows(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = broken_sources(change, tmp_path)
    for module in (cache, compiler):
        monkeypatch.setattr(module, "shipped", lambda name: sources)
    N = 8192 if change in OF_LONG_ROWS else 512
    x = Problem(N, B=67, H=3).inputs("cuda")
    assert fused.unsupported(x.u) is None
    compile_all(kernels(N, torch.bfloat16, [(True, True)], ["aligned"]))
    assert faults(differentiated(x, backend="cuda"), x)


@pytest.mark.parametrize(("N", "part"), [(N, part) for N, parts in PARTS.items() for part in parts])
def test_one_wrong_twiddle_shows(
    N: int, part: float, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    x = Problem(N, B=32, H=2).inputs("cuda")
    assert not faults(differentiated(x, backend="cuda"), x)
    monkeypatch.setattr(one_sm_tables, "build", partial(wrong_tables, part=part))
    one_sm.tables_on.cache_clear()
    request.addfinalizer(one_sm.tables_on.cache_clear)
    assert faults(differentiated(x, backend="cuda"), x)
