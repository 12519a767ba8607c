"""What runs on a CPU without gradients, against the plain operators in float64."""

import pytest
import torch
import torch.nn.functional as F

from genoconv.models import HyenaDNA, ModelConfig
from genoconv.ops import fftconv, gated_short_conv, prepare_filter
from genoconv.ops.gelu.in_place import gelu_
from genoconv.ops.short_conv import short_conv

CONFIG = ModelConfig(d_model=24, n_layer=3, max_length=96)


@pytest.fixture(autouse=True)
def _small_rows_too(monkeypatch) -> None:
    for least in ("models.cpu.LEAST", "ops.longconv.on_cpu._LEAST", "ops.short_conv.on_cpu._LEAST"):
        monkeypatch.setattr(f"genoconv.{least}", 0)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gelu_of_any_size_of_value() -> None:
    x = torch.tensor(
        [[0.0, -0.0, 1e-6, -1e-6, 0.5, -0.5, 3.0, -3.0, 12.0, -12.0, 400.0, -400.0, 1e15, -1e15, torch.nan]]
    )
    x = torch.cat([x, 3 * random(200, 15).float()])
    expected = F.gelu(x.double(), approximate="tanh")
    found = gelu_(x.clone(), torch.empty_like(x))
    torch.testing.assert_close(found, expected.float(), rtol=2e-6, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("taps", [1, 3, 4])
@pytest.mark.parametrize("length", [1, 2, 3, 50])
@pytest.mark.parametrize("history", [False, True])
def test_short_convolution_by_shifts(taps: int, length: int, history: bool, monkeypatch) -> None:
    monkeypatch.setattr("genoconv.ops.short_conv.on_cpu._VALUES", 100)  # several pieces, the last one smaller
    u, weight, bias, u_bias = random(2, 21, length), random(21, 1, taps), random(21, seed=1), random(21, seed=2)
    before = random(2, 21, taps - 1, seed=3) if history else None
    expected = short_conv.reference(u, weight, bias, u_bias=u_bias, before=before)
    for one, other in zip(gated_short_conv(u, weight, bias, u_bias=u_bias, before=before), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    plain = gated_short_conv(u, weight, None)
    for one, other in zip(plain, short_conv.reference(u, weight, None), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("gates", [False, True])
def test_long_convolution_in_pieces_of_channels(prepared: bool, gates: bool, monkeypatch) -> None:
    monkeypatch.setattr("genoconv.ops.longconv.on_cpu._VALUES", 300)
    u, k, skip = random(2, 7, 50), random(7, 50, seed=1), random(7, seed=2)
    gate_in, gate_out = (random(2, 7, 50, seed=3), random(2, 7, 50, seed=4)) if gates else (None, None)
    v = u if gate_in is None else u * gate_in
    direct = torch.stack([(v[..., : n + 1] * k[:, : n + 1].flip(1)).sum(-1) for n in range(50)], -1) + skip[:, None] * v
    expected = direct if gate_out is None else direct * gate_out
    given = {"k": prepare_filter(k, 50, D=skip)} if prepared else {"k": k, "D": skip}
    torch.testing.assert_close(fftconv(u, **given, gate_in=gate_in, gate_out=gate_out), expected)


def test_model_is_as_exact_as_with_gradients() -> None:
    torch.manual_seed(0)
    model = HyenaDNA(CONFIG).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ids = torch.randint(0, 12, (3, 90))
    plain = model.hidden(ids, layer="all").detach()
    with torch.no_grad():
        found = model.hidden(ids, layer="all")
        truth = model.double().hidden(ids, layer="all").double()
    errors = [(one.double() - truth).abs().max() for one in (found, plain)]
    assert 0 < errors[0] < 2 * errors[1]


def test_block_leaves_its_input_alone() -> None:
    model = HyenaDNA(CONFIG).eval()
    stream = random(2, 90, 24).float()
    before = stream.clone()
    with torch.no_grad():
        found = model.backbone.layers[0](stream).settled()
    assert torch.equal(stream, before)
    assert not torch.equal(found, before)
