"""On a GPU: the fused kernels inside the model, in bfloat16, against the same model in float64 arithmetic's reach.

The yardstick is torch's own bfloat16 path on the same GPU: the kernels may have up to twice its error.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gpu_kernels import ON_A_GPU
from published_checkpoints import GOLDEN, expected, golden
from torch import Tensor

from genoconv.models import HyenaDNA, ModelConfig
from genoconv.models.published.conversion import read_published
from genoconv.models.weights import build

pytestmark = ON_A_GPU


def relative(found: Tensor, true: Tensor) -> float:
    found, true = found.detach().double().cpu(), true.detach().double().cpu()
    return float((found - true).norm() / true.norm())


@pytest.fixture(params=["autocast", "weights"])
def low_precision(request: pytest.FixtureRequest) -> str:
    """The two ways to run in bfloat16: autocast over float32 weights, or bfloat16 weights."""
    return request.param


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that makes every long convolution take one backend."""
    return lambda name: monkeypatch.setenv("GENOCONV_KERNELS", name)


def logits(model: HyenaDNA, ids: Tensor, low_precision: str) -> Tensor:
    with torch.no_grad():
        if low_precision == "autocast":
            with torch.autocast("cuda", dtype=torch.bfloat16):
                return model(ids)
        return model.to(torch.bfloat16)(ids)


@pytest.mark.parametrize("layout", ["hf", "original"])
def test_fused_kernels_stay_within_twice_torchs_own_error(
    layout: str, low_precision: str, backends, tmp_path: Path
) -> None:
    values = expected()
    read = read_published(golden(layout, tmp_path))
    for N in (256, 1024):
        ids, true = values[f"input_ids.{N}"].cuda(), values[f"logits.{N}"]
        errors = {}
        for backend in ("torch", "cuda"):
            backends(backend)
            model = build(read.config, read.tensors).eval().cuda()
            errors[backend] = relative(logits(model, ids, low_precision), true)
            model.prepare(N)
            errors[f"{backend}, prepared"] = relative(logits(model, ids, low_precision), true)
        assert 1e-5 < errors["torch"] < 0.05, errors
        assert errors["cuda"] <= 2 * errors["torch"], errors
        assert errors["cuda, prepared"] <= 2 * errors["torch"], errors


def test_float32_on_a_gpu_agrees_with_the_public_implementation() -> None:
    values = expected()
    read = read_published(GOLDEN)
    model = build(read.config, read.tensors).eval().cuda()
    with torch.no_grad():
        assert relative(model(values["input_ids.1024"].cuda()), values["logits.1024"]) < 1e-4
        k = model.backbone.layers[0].mixer.filter_fn(256)
    assert relative(k, values["filter.layer0.256"]) < 1e-5


@pytest.mark.parametrize("N", [1, 100, 1000, 4096])
def test_gradients_of_a_training_step_stay_within_twice_torchs_own_error(N: int, backends) -> None:
    torch.manual_seed(0)
    config = ModelConfig(d_model=64, n_layer=2, max_length=4096, embed_dropout=0.0)
    model = HyenaDNA(config).cuda().train()
    ids = torch.randint(7, 12, (3, N), device="cuda")
    target = torch.randn(3, N, 16, device="cuda")

    def gradients(backend: str, *, low: bool) -> dict[str, Tensor]:
        backends(backend)
        model.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=low):
            out = model(ids)
        (out.float() * target).mean().backward()
        return {name: p.grad.detach().clone() for name, p in model.named_parameters() if p.grad is not None}

    true = gradients("torch", low=False)
    torch_low, fused_low = gradients("torch", low=True), gradients("cuda", low=True)
    assert fused_low.keys() == true.keys()
    whole = {n: torch.cat([g[k].flatten() for k in true]) for n, g in (("t", true), ("a", torch_low), ("b", fused_low))}
    assert 1e-5 < relative(whole["a"], whole["t"]) < 0.1
    assert relative(whole["b"], whole["t"]) <= 2 * relative(whole["a"], whole["t"])
    filters = [name for name in true if ".filter_fn." in name]
    assert len(filters) > 10
    for name in filters:
        if float(true[name].norm()) > 1e-6 * float(whole["t"].norm()):
            assert relative(fused_low[name], true[name]) <= max(0.02, 2 * relative(torch_low[name], true[name])), name


def test_checkpointing_and_moving_between_devices_change_nothing() -> None:
    torch.manual_seed(1)
    config = ModelConfig(d_model=32, n_layer=2, max_length=512, embed_dropout=0.0)
    model = HyenaDNA(config).train()
    ids = torch.randint(7, 12, (2, 300))
    with torch.no_grad():
        on_cpu = model(ids)
        model.eval().prepare(300)
        model.cuda()
        assert relative(model(ids.cuda()), on_cpu) < 1e-4, "filters prepared on the CPU must not be used on the GPU"
    model.train()
    grads = []
    for model.checkpointing in (False, True):
        model.zero_grad()
        model(ids.cuda()).square().mean().backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert relative(grads[1], grads[0]) < 1e-4
