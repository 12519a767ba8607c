"""The operator's contract, as far as it shows without a GPU."""

import ctypes
import logging
from collections.abc import Callable
from functools import partial
from unittest import mock

import pytest
import torch
from long_convolutions import Problem, differentiated, faults
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from genoconv.errors import KernelError, UsageError
from genoconv.gpu import compiler, launch, targets
from genoconv.gpu.targets import card_of
from genoconv.ops import fftconv, prepare_filter
from genoconv.ops.longconv import conv, host, regimes

H200 = card_of("sm_90")
LIMIT = regimes.reach(H200)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("N", [1, 2, 255, 1000])
def test_the_torch_path_is_the_convolution_and_its_gradients(N: int, dtype: torch.dtype) -> None:
    for problem in (Problem(N, B=3, H=5, dtype=dtype), Problem(N, K=max(1, N // 3), gate_in=False, skip=False, H=7)):
        x = problem.inputs()
        assert not faults(differentiated(x, backend="torch"), x, leniency=1.3)


def test_a_prepared_filter_serves_every_length_up_to_its_own() -> None:
    x = Problem(1000, B=2, H=3, dtype=torch.float32).inputs()
    kept = prepare_filter(x.k, 1000, D=x.D)
    for N in (1, 300, 1000):
        u = x.u[..., :N]
        torch.testing.assert_close(fftconv(u, kept), fftconv(u, x.k[:, :N], D=x.D), rtol=1e-4, atol=1e-4)


U = torch.zeros(2, 3, 8)
K = torch.zeros(3, 8)
MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "dimensions": (lambda: fftconv(U[0], K), r"u must be \(B, H, N\).*got \(3, 8\)"),
    "no positions": (lambda: fftconv(U[..., :0], K), r"no empty dimension; got \(2, 3, 0\)"),
    "integers": (lambda: fftconv(U.int(), K), r"u is torch.int32; it must be bfloat16"),
    "integer taps": (lambda: fftconv(U, K.int()), r"k is torch.int32; it must be floating point \(float32\): use k"),
    "more taps than positions": (lambda: fftconv(U, torch.zeros(3, 9)), r"1 <= K <= N = 8; got \(3, 9\); use k"),
    "channels": (lambda: fftconv(U, K[:2]), "k has 2 channels, but u has 3"),
    "skip": (lambda: fftconv(U, K, D=torch.zeros(2)), r"D must be \(3,\).*got \(2,\)"),
    "skip not finite": (lambda: fftconv(U, K, D=torch.tensor([0, torch.inf, 0])), "D is inf in channel 1"),
    "gate's shape": (lambda: fftconv(U, K, gate_in=U[:1]), r"gate_in is \(1, 3, 8\).*but u is \(2, 3, 8\)"),
    "gate's type": (lambda: fftconv(U, K, gate_out=U.double()), "gate_out is .*float64, but u is .*torch.float32"),
    "device": (lambda: fftconv(U, K.to("meta")), "k is on meta, but u is on cpu; move them"),
    "backend": (lambda: fftconv(U, K, backend="fast"), "backend is 'fast'; it must be one of auto, cuda, torch"),
    "D twice": (lambda: fftconv(U, prepare_filter(K, 8), D=K[:, 0]), "pass it to prepare_filter instead"),
    "prepared for less": (lambda: fftconv(U, prepare_filter(K[:, :4], 4)), "prepared for 4 positions, but u has 8"),
    "prepared too long": (lambda: prepare_filter(K, 4), r"1 <= K <= length; got \(3, 8\) for length 4"),
    "prepared rows": (lambda: fftconv(prepare_filter(K, 8), K), "u is a FilterSpectrum; it must be a tensor"),
    "prepared gate": (lambda: fftconv(U, K, gate_in=prepare_filter(K, 8)), "gate_in is a FilterSpectrum"),
    "nothing": (lambda: fftconv(U, None), "k is a NoneType; it must be a tensor"),
    "complex skip": (lambda: fftconv(U, K, D=torch.zeros(3) + 0j), "D is torch.complex64; it must be real"),
    "sparse rows": (lambda: fftconv(U.to_sparse(), K), "u has the layout torch.sparse_coo; it must be dense"),
    "half a position": (lambda: prepare_filter(K, 8.5), "length is 8.5; it must be a whole number of positions"),
    "a list to prepare": (lambda: prepare_filter(K.tolist(), 8), "k is a list; it must be a tensor"),
    "mask": (lambda: prepare_filter(K, 8, keep="+-+"), "the mask is a str; it must be a FrequencyMask"),
    "prepared skip": (lambda: prepare_filter(K, 8, D=K), r"D must be \(3,\), one value per channel of k; got \(3, 8\)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_value_and_the_way_out(mistake: str) -> None:
    call, message = MISTAKES[mistake]
    with pytest.raises(UsageError, match=message):
        call()


def test_cuda_by_name_never_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KernelError, match=r"u is on cpu; move it to a GPU or use backend='torch'"):
        fftconv(U, K, backend="cuda")
    monkeypatch.setenv("GENOCONV_KERNELS", "cuda")
    with pytest.raises(KernelError, match="need CUDA tensors"):
        fftconv(U, K)
    monkeypatch.setenv("GENOCONV_KERNELS", "gpu")
    with pytest.raises(UsageError, match="GENOCONV_KERNELS is 'gpu'"):
        fftconv(U, K)


def test_what_auto_chooses_on_a_gpu_and_that_it_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv._said.clear()
    monkeypatch.setattr(logging.getLogger("genoconv"), "propagate", True)
    caplog.set_level(logging.INFO, "genoconv")
    with FakeTensorMode(), mock.patch.object(targets, "local_card", return_value=H200):
        rows = partial(torch.empty, 1, 1, device="cuda")
        for _ in range(2):
            with mock.patch.object(compiler, "missing", return_value=None):
                assert conv.choose(rows(LIMIT, dtype=torch.bfloat16), LIMIT, "auto") == "cuda"
                assert conv.choose(rows(LIMIT + 1, dtype=torch.bfloat16), LIMIT + 1, "auto") == "torch"
                assert conv.choose(rows(99), 99, "cuda") == "torch"
                with pytest.raises(KernelError, match=f"rows of {LIMIT + 1:,} positions exceed the {LIMIT:,}"):
                    conv.choose(rows(LIMIT + 1, dtype=torch.float16), LIMIT + 1, "cuda")
            with mock.patch.object(compiler, "missing", return_value="no compiler: pip install it"):
                assert conv.choose(rows(99, dtype=torch.float16), 99, "auto") == "torch"
                with pytest.raises(KernelError, match="pip install it"):
                    conv.choose(rows(99, dtype=torch.float16), 99, "cuda")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 4
    assert [("fused" in s, f"{LIMIT + 1:,}" in s, "cuFFT" in s, "pip install" in s).index(True) for s in said] == [
        0,
        1,
        2,
        3,
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("backend", ["cuda", "auto"])
def test_torch_compile_sees_one_graph_whatever_the_length(backend: str) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(partial(fftconv, backend=backend), fullgraph=True, backend="eager")
    with (
        mock.patch.object(targets, "local_card", return_value=H200),
        mock.patch.object(compiler, "missing", return_value=None),
        FakeTensorMode(allow_non_fake_inputs=True),
    ):
        for N in (1024, 1000, 700):  # the second length makes N symbolic
            u = torch.empty(2, 4, N, dtype=torch.bfloat16, device="cuda")
            k, D = torch.empty(4, N, device="cuda"), torch.empty(4, device="cuda")
            y: Tensor = compiled(u, k, D=D, gate_in=u, gate_out=u)
            assert (y.shape, y.dtype, y.device.type) == (u.shape, u.dtype, "cuda")


def test_torch_compile_on_a_cpu() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(fftconv, fullgraph=True, backend="eager")
    x = Problem(100, dtype=torch.float32).inputs()
    torch.testing.assert_close(compiled(x.u, x.k, D=x.D), fftconv(x.u, x.k, D=x.D))


def test_launch_arguments_reach_the_driver_with_their_widths() -> None:
    x = torch.zeros(3)
    pointers = (ctypes.c_void_p * 4).from_address(launch.parameters((x, None, -7, 1 << 40)))
    read = (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int32, ctypes.c_int64)
    values = [kind.from_address(place).value for kind, place in zip(read, pointers, strict=True)]
    assert values == [x.data_ptr(), 0, -7, 1 << 40]


def test_strides_that_do_not_fit_32_bits_are_copied() -> None:
    near, far = (torch.empty_strided((2, 2, 8), (stride, 8, 1), device="meta") for stride in (2**32 - 1, 2**32))
    assert host.rows(near, largest_stride=2**32 - 1) is near
    assert host.rows(far, largest_stride=2**32 - 1).stride() == (16, 8, 1)
