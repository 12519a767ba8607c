"""The Python API: what it says of arguments that do not fit, and that a model can be exported."""

import numpy as np
import pytest
import torch
from embed_files import model_folder, small_model

import genoconv
from genoconv.errors import UsageError

U, K = torch.randn(1, 2, 8), torch.randn(2, 8)


def test_arrays_are_not_tensors():
    with pytest.raises(UsageError, match=r"u is a ndarray; it must be a tensor: torch.as_tensor\(u\)"):
        genoconv.fftconv(U.numpy(), K)
    with pytest.raises(UsageError, match="k is a list; it must be a tensor"):
        genoconv.fftconv(U, K.tolist())
    with pytest.raises(UsageError, match="D is a ndarray; it must be a tensor"):
        genoconv.fftconv(U, K, D=np.zeros(2))


@pytest.mark.parametrize("dtype", ["bfloat16", torch.int64, np.float32])
def test_a_type_that_a_model_cannot_have(dtype, tmp_path):
    folder = model_folder(tmp_path / "m")
    with pytest.raises(
        UsageError, match=r"^dtype is .*; it must be one of torch.float16, torch.bfloat16, torch.float32"
    ):
        genoconv.load_model(folder, dtype=dtype)
    assert genoconv.load_model(folder, dtype=torch.bfloat16).lm_head.weight.dtype == torch.bfloat16


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU is needed to ask for one in vain")
def test_a_gpu_that_is_not_there(tmp_path):
    folder = model_folder(tmp_path / "m")
    for device in ("cuda", "cuda:3", torch.device("cuda")):
        with pytest.raises(UsageError) as refused:
            genoconv.load_model(folder, device=device)
        text = f"device {str(device)!r}: torch sees no CUDA device here; use auto or cpu, and see `genoconv doctor`"
        assert str(refused.value) == text
    with pytest.raises(UsageError, match="device 'gpu' is unknown; use auto, cpu, cuda or cuda:N"):
        genoconv.load_model(folder, device="gpu")


@pytest.mark.filterwarnings("ignore")
def test_a_model_can_be_exported():
    model = small_model().eval()
    ids = torch.randint(7, 11, (1, 50))
    exported = torch.export.export(model, (ids,)).module()
    other = torch.randint(7, 11, (1, 50))
    torch.testing.assert_close(exported(other), model(other))
