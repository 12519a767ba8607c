"""Convolutions with what torch offers besides autograd: torch.func, forward, inference mode, fake tensors."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from genoconv.models import HyenaDNA, ModelConfig
from genoconv.ops import fftconv, fftconv_packed, fftconv_sparse, fftconv_stream, gated_short_conv, prepare_filter
from genoconv.ops.longconv import conv
from genoconv.ops.longconv.overlap_save.plan import Chunks
from genoconv.ops.longconv.sparse import FrequencyMask

CONFIG = ModelConfig(d_model=8, n_layer=2, max_length=32, embed_dropout=0.0)
B, H, N = 3, 4, 24


@pytest.fixture(params=["whole rows", "a few channels at a time", "chunks"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every way in which a CPU computes."""
    if request.param == "a few channels at a time":
        for least in ("models.cpu.LEAST", "ops.longconv.on_cpu._LEAST", "ops.short_conv.on_cpu._LEAST"):
            monkeypatch.setattr(f"genoconv.{least}", 0)
    if request.param == "chunks":
        chunks = Chunks(N, 5, 16, 4, False)
        monkeypatch.setattr(
            conv, "choose_chunks", lambda length, *, taps, **_: chunks if (length, taps) == (N, 5) else None
        )
    return str(request.param)


def rows(taps: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """u, k, D and a gate."""
    torch.manual_seed(0)
    u, gate = torch.randn(2, B, H, N, dtype=torch.float64)
    return u, torch.randn(H, taps, dtype=torch.float64), torch.randn(H, dtype=torch.float64), gate


def direct(u: Tensor, k: Tensor, D: Tensor, gate: Tensor) -> Tensor:
    """y by the definition, without a transform."""
    v = torch.nn.functional.pad(u, (k.shape[-1] - 1, 0))
    windows = v.unfold(-1, k.shape[-1], 1)  # (..., N, K)
    return gate * ((windows * k.flip(-1)[:, None]).sum(-1) + D[:, None] * u)


def test_results_are_contiguous_and_hold_no_more_than_they_show() -> None:
    u, k, D, _ = rows()
    found = [
        fftconv(u, k),
        fftconv(u.transpose(1, 2).contiguous().transpose(1, 2), k, D=D),
        fftconv_sparse(u, k, FrequencyMask((True, True))),
        fftconv_packed(u[:1], k, [0, 9, N]),
        fftconv_stream(u, k, fftconv_stream(u, k)[1])[0],
    ]
    for y in found:
        assert y.is_contiguous()
        assert y.untyped_storage().nbytes() == y.numel() * y.element_size()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated")  # which torch itself does in forward mode
def test_per_sample_gradients_and_batches_of_every_argument() -> None:
    u, k, D, gate = rows()
    for index, x in enumerate((u, k, D, gate)):
        several = torch.stack([x, 2 * x])

        def call(x: Tensor, index: int = index, f: Callable[..., Tensor] = fftconv) -> Tensor:
            a, b, c, d = (x if i == index else given for i, given in enumerate((u, k, D, gate)))
            return f(a, b, D=c, gate_out=d) if f is fftconv else f(a, b, c, d)

        torch.testing.assert_close(vmap(call)(several), torch.stack([call(one, f=direct) for one in several]))
        wanted = torch.autograd.functional.jvp(lambda x: call(x, f=direct), x, torch.ones_like(x))[1]
        torch.testing.assert_close(jvp(call, (x,), (torch.ones_like(x),))[1], wanted)
        with forward_ad.dual_level():
            y = forward_ad.unpack_dual(call(forward_ad.make_dual(x, torch.ones_like(x))))
            torch.testing.assert_close(y.tangent, wanted)
    found = vmap(grad(lambda k, u: fftconv(u[None], k, D=D).square().sum()), (None, 0))(k, u)
    for one, row in zip(found, u, strict=True):
        leaf = k.clone().requires_grad_()
        (wanted,) = torch.autograd.grad(direct(row[None], leaf, D, torch.ones(())).square().sum(), leaf)
        torch.testing.assert_close(one, wanted)


def test_packed_rows_and_short_filters_are_batched_too() -> None:
    u, k, *_ = rows()
    several = torch.stack([k, 2 * k])
    packed = vmap(lambda k: fftconv_packed(u[:1], k, [0, 9, 17, N]))(several)
    torch.testing.assert_close(packed[1], 2 * packed[0])
    torch.testing.assert_close(packed[0], fftconv_packed(u[:1], k, [0, 9, 17, N]))
    weights = torch.randn(2, 3, 1, 3, dtype=torch.float64)
    found = vmap(lambda w: torch.stack(gated_short_conv(u[:, :3], w, None)))(weights)
    torch.testing.assert_close(found[1], torch.stack(gated_short_conv(u[:, :3], weights[1], None)))


def test_a_filter_prepared_or_first_used_in_inference_mode_serves_gradients() -> None:
    u, k, D, gate = rows()
    early = prepare_filter(k, N, D=D)
    with torch.inference_mode():
        late = prepare_filter(k.clone(), N, D=D.clone())
        fftconv(u, early)
        fftconv(u, late)
    for kept in (early, late):
        leaf = u.clone().requires_grad_()
        fftconv(leaf, kept, gate_out=gate).sum().backward()
        wanted = torch.autograd.functional.vjp(lambda u: direct(u, k, D, gate), u, torch.ones_like(u))[1]
        torch.testing.assert_close(leaf.grad, wanted)


def test_a_prepared_filter_is_constant() -> None:
    u, k, D, gate = rows()
    kept = prepare_filter(k, N, D=D)
    wanted = direct(u, k, D, gate)
    k.mul_(3)
    D.mul_(3)
    torch.testing.assert_close(fftconv(u, kept, gate_out=gate), wanted)
    torch.testing.assert_close(fftconv_stream(u[..., :2], kept)[0], (wanted / gate)[..., :2])


def test_shapes_without_values() -> None:
    u, k, D, _ = rows()
    assert fftconv(u.to("meta"), k.to("meta"), D=D.to("meta")).shape == u.shape
    with FakeTensorMode():
        assert fftconv(torch.empty(B, H, N), torch.empty(H, 5), D=torch.empty(H)).shape == u.shape
        assert HyenaDNA(CONFIG)(torch.zeros(2, 20, dtype=torch.long)).shape == (2, 20, 16)
    with torch.device("meta"):
        assert HyenaDNA(CONFIG)(torch.zeros(2, 20, dtype=torch.long)).shape == (2, 20, 16)
    traced = make_fx(lambda u, k, D: fftconv(u, k, D=D), tracing_mode="fake")(u, k, D)
    torch.testing.assert_close(traced(u, k, D), fftconv(u, k, D=D))


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`", "ignore:.*instantiated")
def test_packed_rows_compile_whole() -> None:
    u, k, *_ = rows()
    bounds = [0, 7, 14, N]
    compiled = torch.compile(lambda u, k: fftconv_packed(u, k, bounds), fullgraph=True, backend="aot_eager")
    found, plain = (
        torch.autograd.grad(f(leaf := u[:1].clone().requires_grad_(), k).square().sum(), leaf)[0]
        for f in (compiled, lambda u, k: fftconv_packed(u, k, bounds))
    )
    torch.testing.assert_close(found, plain)


def test_gradients_of_a_model_by_torch_func() -> None:
    torch.manual_seed(0)
    model, ids = HyenaDNA(CONFIG).eval(), torch.randint(7, 11, (3, 20))
    parameters = dict(model.named_parameters())

    def loss(values: dict[str, Tensor], ids: Tensor) -> Tensor:
        return functional_call(model, values, (ids,)).square().sum()

    each = vmap(grad(loss), (None, 0))(parameters, ids[:, None])
    model(ids).square().sum().backward()
    for name, parameter in parameters.items():
        torch.testing.assert_close(each[name].sum(0), parameter.grad, rtol=1e-4, atol=1e-5)


def test_functional_call_leaves_a_model_as_it_was() -> None:
    model, ids = HyenaDNA(CONFIG).eval(), torch.randint(7, 11, (1, 20))
    wanted = model(ids)
    other = {name: 2 * parameter.detach() for name, parameter in model.named_parameters()}
    assert not torch.equal(functional_call(model, other, (ids,)), wanted)
    torch.testing.assert_close(model(ids), wanted, rtol=0, atol=0)
