"""Every plan's kernels compile for every target on a machine without a GPU, and what is compiled is kept."""

import os
import re
import stat
from pathlib import Path

import pytest

from genoconv import paths
from genoconv.errors import KernelCompileError, UsageError
from genoconv.gpu import jit
from genoconv.gpu.targets import KERNEL_TARGETS
from genoconv.ops.longconv.one_sm.blocks import SIZES
from genoconv.ops.longconv.one_sm.plan import FITS, KERNELS, longest
from genoconv.paths import shipped
from genoconv.pipelines.kernels import SHARED_MEMORY, plan_of

pytestmark = pytest.mark.skipif(jit.missing() is not None, reason=str(jit.missing()))

ELF = b"\x7fELF"


@pytest.mark.parametrize("arch", KERNEL_TARGETS)
@pytest.mark.parametrize("size", SIZES)
def test_every_plan_compiles_for_every_target(size: int, arch: str) -> None:
    if size > longest(SHARED_MEMORY[arch] * 1024):
        with pytest.raises(UsageError, match="backend='torch'"):
            plan_of(size, arch=arch, dtype="bfloat16")
        return
    # Row types, gates and raggedness take turns over sizes and targets, so that all are met on every target.
    turn = SIZES.index(size) + KERNEL_TARGETS.index(arch)
    plan = plan_of(size, arch=arch, dtype=("bfloat16", "float16")[turn % 2])
    for name in KERNELS:
        kernel = plan.kernel(name, fit=FITS[turn % 3], gate_in=turn % 4 != 1, gate_out=turn % 4 != 2)
        cubin = jit.compile_kernel(kernel.name, kernel.defines, arch=arch)
        assert cubin.startswith(ELF)
        assert name.encode() in cubin


def test_no_lambda_is_generic() -> None:
    """NVRTC 13.0, the oldest that is supported, takes such for functions of the host; later ones do not."""
    generic = re.compile(r"\][ ]*\([^()]*\bauto\b[^()]*\)[ ]*(mutable[ ]*)?\{")
    assert generic.search("const auto f = [&](int i, auto act) {")
    for source in sorted(shipped("csrc").iterdir()):
        found = generic.search(source.read_text(encoding="utf-8"))
        assert not found, f"{source.name}: {found.group(0)}"


@pytest.fixture
def kernel() -> tuple[str, tuple[tuple[str, int], ...]]:
    made = plan_of(256, arch="sm_80", dtype="float16").kernel("filter_grad")
    return made.name, made.defines


def test_a_compiled_kernel_is_kept_and_found(kernel: tuple[str, tuple[tuple[str, int], ...]]) -> None:
    first = jit.compile_kernel(*kernel, arch="sm_80")
    (entry,) = jit.entries()
    before = entry.path.stat().st_mtime_ns
    assert jit.compile_kernel(*kernel, arch="sm_80") == first
    assert entry.path.stat().st_mtime_ns == before
    assert entry.path.is_relative_to(paths.kernels_dir())
    assert jit.clear() == 1
    assert not jit.entries()


@pytest.mark.parametrize("damage", [b"", b"x", "flip"])
def test_a_damaged_entry_is_a_miss(kernel: tuple[str, tuple[tuple[str, int], ...]], damage: bytes | str) -> None:
    good = jit.compile_kernel(*kernel, arch="sm_80")
    (entry,) = jit.entries()
    data = bytearray(entry.path.read_bytes())
    data[-1] ^= 1
    entry.path.write_bytes(bytes(data) if damage == "flip" else bytes(damage))
    assert jit.compile_kernel(*kernel, arch="sm_80") == good
    assert entry.path.stat().st_size == len(data)


def test_other_sources_flags_and_targets_have_other_names(
    kernel: tuple[str, tuple[tuple[str, int], ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, defines = kernel
    flags = tuple(f"{k}={v}" for k, v in defines)
    key = jit._key(name, flags, "sm_80")
    assert key != jit._key(name, flags, "sm_86")
    assert key != jit._key(name, (*flags, "X=1"), "sm_80")
    monkeypatch.setattr(jit, "_sources_digest", lambda: b"other sources")
    assert key != jit._key(name, flags, "sm_80")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_cache_that_cannot_be_written_costs_time_only(
    kernel: tuple[str, tuple[tuple[str, int], ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setenv("GENOCONV_HOME", str(tmp_path / "home"))
    assert jit.compile_kernel(*kernel, arch="sm_80").startswith(ELF)


def test_a_cache_below_a_file_costs_time_only(
    kernel: tuple[str, tuple[tuple[str, int], ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GENOCONV_HOME", str(tmp_path / "file"))
    assert jit.compile_kernel(*kernel, arch="sm_80").startswith(ELF)


def test_a_refused_kernel_says_what_and_where() -> None:
    with pytest.raises(KernelCompileError, match=r"forward.cu does not compile for sm_90 with PLAN_RADIX=3: .*error"):
        jit.compile_kernel("forward", [("PLAN_RADIX", 3)], arch="sm_90")
