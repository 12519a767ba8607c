"""On a GPU: the kernels around the long convolution against float64, and what torch expects of operators.

    python -m pytest -m gpu tests/numerics/gpu/test_operators.py

Every buffer that torch hands out is filled with NaN beforehand, so what a kernel does not write shows.
"""

import pytest
import torch
import torch.nn.functional as F
from gpu_kernels import ON_A_GPU
from hyena_operators import (
    Call,
    faults,
    gelu,
    large_calls,
    last_layer,
    modulation,
    network,
    norm,
    short_conv,
    small_calls,
)

from genoconv.errors import KernelError
from genoconv.ops import bias_gelu, embed, gated_short_conv, linear_gelu
from genoconv.ops.filter.filter import taps
from genoconv.ops.filter.positions import Positions

pytestmark = [*ON_A_GPU, pytest.mark.usefixtures("poisoned_memory")]

CALLS = [*small_calls(), *large_calls()]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_kernels_agree_with_float64(call: Call) -> None:
    call = call.to("cuda")
    found = call.results(backend="cuda")
    assert not faults(found, call)
    again = call.results(backend="cuda")
    assert all(torch.equal(found[name], again[name]) for name in found), "not the same twice"


@pytest.mark.parametrize("name", ["norm", "gelu", "short_conv", "network", "modulation", "taps"])
def test_operators_compile_whole_and_agree(name: str) -> None:
    calls = {
        "norm": norm(65, 64, torch.bfloat16),
        "gelu": gelu(65, 64, torch.bfloat16),
        "short_conv": short_conv(2, 3, 130, 3, torch.bfloat16),
        "network": network(130, 5, 16, 2),
        "modulation": modulation(3, 130),
        "taps": last_layer(32, 16, 130, start=3),
    }
    call = calls[name].to("cuda")
    plain = call.results(backend="cuda")
    whole = torch.compile(call.run, fullgraph=True, backend="aot_eager")
    compiled = Call(call.name, call.tensors, whole, call.plain).results(backend="cuda")
    assert all(torch.equal(plain[name], compiled[name]) for name in plain)


def test_operators_pass_opcheck() -> None:
    ops = torch.ops.genoconv
    x, bias = torch.randn(9, 16, device="cuda", requires_grad=True), torch.randn(16, device="cuda", requires_grad=True)
    bias_gelu(x, bias)  # registers
    torch.library.opcheck(ops.bias_gelu.default, (x, bias))
    ids, table = torch.randint(0, 16, (2, 9), device="cuda"), torch.randn(16, 8, device="cuda", requires_grad=True)
    embed(ids, table)
    torch.library.opcheck(ops.embed.default, (ids, table))
    u = torch.randn(2, 6, 40, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(6, 1, 3, device="cuda", requires_grad=True)
    gated_short_conv(u, weight, None)
    torch.library.opcheck(ops.gated_short_conv.default, (u, weight, None, None))
    weight, h = (torch.randn(shape, device="cuda", requires_grad=True) for shape in ((32, 16), (16, 132)))
    rates = torch.rand(32, device="cuda")
    for decay in (rates, None):
        taps(weight, h, decay, Positions(3, 132, 4096), shift=0.05, backend="cuda")
        torch.library.opcheck(ops.filter_taps.default, (weight, h, decay, 3, 4096, 0.05))


def test_what_the_kernels_cannot_serve_says_so() -> None:
    x = torch.randn(4, 12, device="cuda")
    with pytest.raises(KernelError, match="multiple of 8"):
        bias_gelu(x, torch.zeros(12, device="cuda"), backend="cuda")
    assert bias_gelu(x, torch.zeros(12, device="cuda")).shape == x.shape


@pytest.mark.parametrize(("dtype", "bar"), [(torch.float32, 1e-6), (torch.bfloat16, 3e-3), (torch.float16, 4e-4)])
def test_a_linear_layer_and_its_gelu_are_the_same_without_gradients(dtype: torch.dtype, bar: float) -> None:
    x, weight, bias = (torch.randn(shape, device="cuda", dtype=dtype) for shape in ((3, 1001, 64), (256, 64), (256,)))
    weight *= 0.2
    true = F.gelu(F.linear(x.double(), weight.double(), bias.double()), approximate="tanh")
    weight.requires_grad_()
    followed = linear_gelu(x, weight, bias)
    with torch.no_grad():
        alone = linear_gelu(x, weight, bias)
    assert followed.requires_grad
    assert not alone.requires_grad
    for found in (followed, alone):
        assert found.shape == true.shape
        assert (found.double() - true).norm() < bar * true.norm()


def test_layouts_change_nothing() -> None:
    call = short_conv(3, 4, 64, 3, torch.bfloat16).to("cuda")
    u = call.tensors["u"]
    strided = {**call.tensors, "u": u.transpose(1, 2).contiguous().transpose(1, 2)}
    shifted = {**call.tensors, "u": torch.cat([u.new_zeros(1), u.flatten()])[1:].view(u.shape)}
    plain = call.results(backend="cuda")
    for tensors in (strided, shifted):
        found = Call(call.name, tensors, call.run).results(backend="cuda")
        assert all(torch.allclose(plain[name].float(), found[name].float(), rtol=1e-5, atol=1e-5) for name in plain)
