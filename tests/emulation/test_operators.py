"""The kernels around the long convolution, from their own source, against float64: on any machine with g++."""

from dataclasses import replace

import pytest
import torch
from emulation import harness, operators
from hyena_operators import Call, faults, network, small_calls

from genoconv.ops import embed

pytestmark = pytest.mark.skipif(not harness.available(), reason="needs g++ with C++20")


@pytest.mark.parametrize("call", list(small_calls()), ids=str)
def test_kernels_agree_with_float64(call: Call) -> None:
    with operators.machine() as gpu:
        found = call.results()
    assert gpu.counts, "no kernel ran"
    assert not faults(found, call)
    assert not gpu.overrun(), "written beside a buffer"
    for name, counts in gpu.counts.items():
        assert counts.faults == 0, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_token_that_the_table_has_not_is_nan(dtype: torch.dtype) -> None:
    table = torch.arange(12 * 16).reshape(12, 16).to(dtype)
    with operators.machine() as gpu:
        found = embed(torch.tensor([[11, 12, -1, 0]]), table, backend="cuda")[0]
    assert not gpu.overrun()
    assert found[1:3].isnan().all()
    assert torch.equal(found[[0, 3]], table[[11, 0]])


def test_a_table_may_begin_anywhere() -> None:
    table = torch.arange(1 + 16 * 8.0)[1:].view(16, 8)
    assert table.data_ptr() % 16
    with operators.machine() as gpu:
        found = embed(torch.arange(16)[None], table, backend="cuda")[0]
    assert [counts.faults for counts in gpu.counts.values()] == [0]
    assert torch.equal(found, table)


@pytest.mark.parametrize("size", [0.0, 1e-20, 1e20])
def test_gradients_of_any_size_pass_the_filter_network(size: float) -> None:
    """Its backward kernel brings them to the range of fp16 and back."""
    call = network(64, 9, 48, 4, most=64, stored=True)
    scaled = replace(call, run=lambda **given: tuple(size * y for y in call.run(**given)))
    with operators.machine():
        assert not faults(scaled.results(), scaled)
