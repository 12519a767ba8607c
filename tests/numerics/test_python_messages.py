"""The Python API: what it says of arguments that do not fit, and that a model can be exported."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from embed_files import model_folder, small_model

import genoconv
from genoconv import ops
from genoconv.errors import ModelError, UsageError
from genoconv.ops.filter.filter import modulate, sine_network, taps
from genoconv.ops.filter.positions import Positions

U, K = torch.randn(1, 2, 8), torch.randn(2, 8)


def test_arrays_are_not_tensors():
    with pytest.raises(UsageError, match=r"u is a ndarray; it must be a tensor: use torch.as_tensor\(u\)"):
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
    one, other = torch.randint(7, 11, (2, 1, 50))
    torch.testing.assert_close(torch.export.export(model, (one,)).module()(other), model(other))
    ids = torch.randint(7, 11, (3, 50))
    sizes = {"input_ids": {0: torch.export.Dim("batch", min=2, max=64)}}
    exported = torch.export.export(model, (ids,), dynamic_shapes=sizes).module()
    for batch in (2, 9):
        other = torch.randint(7, 11, (batch, 50))
        torch.testing.assert_close(exported(other), model(other))


POSITIONS = Positions(0, 8, 8, None)
LOGITS, IDS = torch.zeros(1, 5, 16), torch.zeros(1, 5, dtype=torch.long)
SQUARE, ROW = torch.zeros(4, 4), torch.zeros(4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ops.embed(torch.zeros(3), SQUARE), "ids are torch.float32; they must be integers"),
        (lambda: ops.embed(torch.zeros(3, dtype=torch.uint8), SQUARE), "ids are torch.uint8; .* int32 or int64"),
        (lambda: ops.embed(torch.zeros(3, dtype=torch.int32), ROW), r"table must be \(V, D\); got \(4,\)"),
        (
            lambda: ops.linear_gelu(U, torch.zeros(8, 2), ROW),
            r"weight must be \(O, 8\) like the last dimension of x, bias \(O,\); got \(8, 2\), \(4,\)",
        ),
        (
            lambda: ops.linear_gelu(U, torch.zeros(4, 8), ROW, backend="gpu"),
            "backend is 'gpu'; it must be one of auto, cuda, torch",
        ),
        (lambda: ops.bias_gelu(U, torch.zeros(7)), r"bias must be \(8,\) like the last dimension of x; got \(7,\)"),
        (
            lambda: ops.next_token_sums(torch.zeros(1, 5, 16), torch.zeros(1, 4, dtype=torch.long)),
            r"logits must be \(B, N, V\), ids and weights \(B, N\); got \(1, 5, 16\), \(1, 4\)",
        ),
        (
            lambda: ops.next_token_sums(torch.zeros(1, 5, 16), torch.zeros(1, 5, dtype=torch.long), first=14, count=4),
            "columns 14 to 17 are outside the 16 logits",
        ),
        (
            lambda: ops.next_token_sums(LOGITS, IDS, weights=torch.zeros(1, 4)),
            r"ids and weights \(B, N\); got \(1, 5, 16\), \(1, 5\), \(1, 4\)",
        ),
        (lambda: ops.next_token_sums(LOGITS, IDS, count=0), "count is 0; it must be at least 1"),
        (lambda: ops.next_token_sums(LOGITS, IDS.float()), "ids are torch.float32; they must be integers"),
        (lambda: ops.next_token_sums(LOGITS.int(), IDS), "logits are torch.int32; they must be floating point"),
        (
            lambda: modulate(torch.zeros(4, 7), ROW, POSITIONS, shift=0.0),
            r"x must be \(D, 8\) and rates \(D,\); got \(4, 7\), \(4,\)",
        ),
        (
            lambda: taps(torch.zeros(4, 3), torch.zeros(3, 7), None, POSITIONS, shift=0.0),
            r"h must be \(F, 8\) for a weight \(D, F\); got \(3, 7\), \(4, 3\)",
        ),
        (
            lambda: taps(torch.zeros(3, 4), torch.zeros(4, 8), ROW, POSITIONS, shift=0.0),
            r"rates must be \(3,\); got \(4,\)",
        ),
        (
            lambda: sine_network(POSITIONS, [(torch.zeros(4, 3), ROW), (torch.zeros(4, 5), ROW)], ROW),
            r"layer 1 must be \(4, 4\) with a bias \(4,\); got \(4, 5\), \(4,\)",
        ),
        (lambda: genoconv.fftconv(U, torch.zeros(2)), r"k must be \(H, K\) with K >= 1; got \(2,\)"),
        (lambda: genoconv.fftconv(U, torch.zeros(2, 9)), r"1 <= K <= N = 8; got \(2, 9\); use k\[:, :8\]"),
        (
            lambda: genoconv.fftconv(U, K, gate_out=U[..., :4]),
            r"gate_out is \(1, 2, 4\) torch.float32, but u is \(1, 2, 8\) torch.float32; they must have the same shape",
        ),
        (
            lambda: genoconv.score(small_model(), ["ACGT", "ACGA"], ["ACGC"] * 3),
            "2 ref and 3 alt: pass equal numbers, or one of either",
        ),
        (lambda: genoconv.score("mammal-1k", "ACGT", "ACGA"), r"model is a str; it must be a model: genoconv.load_mod"),
        (lambda: genoconv.score(small_model(), "ACGT", 3), "alt: got int; give DNA as text, a list of texts, or"),
        (lambda: genoconv.score(small_model(), "ACGU", "ACGA"), r"ref: 'U' at position 3 .*\(RNA\? write T for U\)"),
        (lambda: genoconv.score(small_model(), "ACGT", ["ACGL"]), "alt: 'L' at position 3 is not a DNA letter"),
        (
            lambda: genoconv.score(small_model(), "ACGT", "ACGA", reduce="max"),
            "reduce is 'max'; it must be one of sum, mean, site",
        ),
        (
            lambda: genoconv.score(small_model(), "ACGT", "ACGA", strand="plus"),
            "strand is 'plus'; it must be one of both, forward, reverse",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_named_with_both_sides(call, words):
    with pytest.raises(UsageError, match=words):
        call()


def test_a_model_reads_token_ids_and_not_text():
    with pytest.raises(ModelError, match="input_ids: got a str; expected a tensor of token ids"):
        small_model()("ACGT")


def test_public_modules_are_found_below_the_package_alone():
    program = "import sys, genoconv as g; g.ops.__all__, g.models.__all__, g.tokens.PAD, g.errors.GenoconvError"
    program += "; assert 'torch' not in sys.modules; print(*dir(g))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"errors", "models", "ops", "tokens", *genoconv.__all__} <= set(result.stdout.split())
