"""The kernels around the long convolution, from their own source, against float64: on any machine with g++."""

from dataclasses import replace

import pytest
from emulation import harness, operators
from hyena_operators import Call, faults, network, small_calls

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


@pytest.mark.parametrize("size", [0.0, 1e-20, 1e20])
def test_gradients_of_any_size_pass_the_filter_network(size: float) -> None:
    """Its backward kernel brings them to the range of fp16 and back."""
    call = network(64, 9, 48, 4, most=64, stored=True)
    scaled = replace(call, run=lambda **given: tuple(size * y for y in call.run(**given)))
    with operators.machine():
        assert not faults(scaled.results(), scaled)
