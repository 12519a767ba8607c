"""``genoconv kernels`` on a machine that need not have a GPU."""

import re
from pathlib import Path

import pytest
import torch
from calls import call

from genoconv.errors import KernelError, UsageError
from genoconv.gpu import compiler
from genoconv.gpu.targets import ARCHS, card_of
from genoconv.ops.longconv import doctor, regimes
from genoconv.ops.longconv.one_sm import plan as one_sm
from genoconv.ops.longconv.one_sm.plan import OneSm
from genoconv.pipelines.kernels import run as kernels
from support import one_clear_line, run_cli

needs_compiler = pytest.mark.skipif(compiler.missing() is not None, reason=str(compiler.missing()))


def run(*words: str) -> str:
    return call("kernels", *words).stdout


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_explain(arch: str, dtype: str) -> None:
    text = run("explain", "--length", "5000", "--arch", arch, "--dtype", dtype)
    assert "length 5,000" in text
    assert "transform of 8,192 points as 32*16*16" in text
    assert arch in text
    assert f"{card_of(arch).sm_count} SMs" in text


def test_explain_a_partial_convolution() -> None:
    assert "filter 128" in run("explain", "-n", "4096", "--taps", "128")
    text = run("explain", "-n", "2.4m", "--taps", "2k")
    assert "filter 2,000" in text
    assert "2,000 taps over 2,400,000 positions, in 586 chunks of 4,096 positions, each joined with the" in text
    assert "length 4,096, filter 2,000, bfloat16, sm_90" in text
    # Longer filters than those whose chunks go in pairs.
    text = run("explain", "-n", "2400000", "--taps", "40000")
    assert "40,000 taps over 2,400,000 positions, in 16 chunks of 196,608 positions that overlap by 40,000" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--length", "40000000"), "40,000,000 positions exceed the .*backend='torch' or 'auto'"),
        (("--length", "40000000", "--arch", "sm_86"), "40,000,000 positions exceed the .*99 KB"),
        (("--length", "0"), "at least 1"),
        (("--length", "8", "--taps", "9"), "K = 9 taps do not fit N = 8"),
        (("--length", "8", "--arch", "sm_75"), "--arch sm_75: choose one of sm_80"),
    ],
)
def test_explain_what_no_kernel_serves(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run("explain", *words)


def test_a_length_beyond_the_kernels_ends_in_one_line(home: Path) -> None:
    result = run_cli("kernels", "explain", "--length", "100000000", home=home)
    assert "100,000,000 positions exceed" in one_clear_line(result, code=2)


@needs_compiler
def test_warm_list_and_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OneSm, "sizes", lambda self, card: (256,))
    monkeypatch.setattr(regimes, "REGIMES", (OneSm(),))
    monkeypatch.setattr(one_sm, "KERNELS", ("spectrum", "filter_grad"))
    assert run("list") == ""
    run("warm", "--arch", "sm_89", "--quiet")
    listed = run("list").splitlines()
    assert len(listed) == len(list(kernels.every_kernel("sm_89"))) == 2
    assert all(re.fullmatch(r" *[\d,]+  \w+-sm_89-[0-9a-f]{32}\.cubin", line) for line in listed)
    run("clear")
    assert run("list") == ""


def test_warm_knows_its_targets() -> None:
    with pytest.raises(UsageError, match="--arch sm_1: choose one of"):
        run("warm", "--arch", "sm_1")


def test_doctor_says_in_words_what_will_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_CPU_LONGEST", 512)
    text = run("doctor", "--device", "cpu")
    lines = [line.split() for line in text.splitlines() if re.match(r" +\d", line)]
    assert [(line[0], line[1]) for line in lines] == [("256", "torch"), ("512", "torch")]
    assert all(0 < float(error) < doctor.TOLERANCE for line in lines for error in line[2:8])
    assert all(float(line[8]) > 0 for line in lines)
    if not torch.cuda.is_available():
        assert re.search(r"^GPU: none \(.*\)$", text, flags=re.M)
        assert "backend: torch.fft on the CPU" in text


def test_doctor_fails_where_a_result_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_CPU_LONGEST", 256)
    monkeypatch.setattr(doctor, "TOLERANCE", 1e-6)
    with pytest.raises(
        KernelError, match=r"256 on torch: relative error of \w+ is .*, above 1e-06; set GENOCONV_KERNELS=torch"
    ):
        call("kernels", "doctor", "--device", "cpu")
