"""The kernels around the long convolution, from their own source, against float64: on any machine with g++."""

import pytest
from emulation import harness, operators
from hyena_operators import Call, faults, small_calls

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
