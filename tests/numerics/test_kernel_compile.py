"""Every plan's kernels compile for every target on a machine without a GPU, and what is compiled is kept."""

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest import mock

import pytest
import torch
from hyena_operators import one_of_each

from genoconv import paths
from genoconv.errors import KernelCompileError
from genoconv.gpu import cache, compiler
from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import KERNEL_TARGETS, card_of
from genoconv.models import HyenaDNA, ModelConfig, preset
from genoconv.ops import kernels
from genoconv.ops.filter import fused as filter_kernels
from genoconv.ops.longconv.cluster.plan import BLOCKS, Cluster
from genoconv.ops.longconv.cluster.plan import KERNELS as CLUSTER_KERNELS
from genoconv.ops.longconv.halves.plan import Halves
from genoconv.ops.longconv.one_sm.blocks import SIZES
from genoconv.ops.longconv.one_sm.plan import FITS, KERNELS, ROW_CHUNK_KERNELS, OneSm, OneSmPlan
from genoconv.ops.longconv.regimes import choose_plan
from genoconv.ops.longconv.three_pass.plan import ThreePass
from genoconv.paths import shipped
from genoconv.pipelines.train import kernels as run_kernels
from genoconv.train.batch import Batch
from genoconv.train.machine import Machine
from genoconv.train.objectives.next_base import NextBase
from support import HANG

pytestmark = pytest.mark.skipif(compiler.missing() is not None, reason=str(compiler.missing()))

ELF = b"\x7fELF"


def plan_of(size: int, *, arch: str, dtype: str) -> OneSmPlan:
    return OneSm().plan(size, size, filter_length=size, dtype=dtype, card=card_of(arch))


@pytest.mark.parametrize("arch", KERNEL_TARGETS)
@pytest.mark.parametrize("size", SIZES)
def test_every_plan_compiles_for_every_target(size: int, arch: str) -> None:
    """Half of its kernels: of neighbouring sizes and targets the other half."""
    if size not in OneSm().sizes(card_of(arch)):
        pytest.skip("rows of this size do not fit one multiprocessor")
    # Row types, gates and raggedness take turns over sizes and targets, so that all are met on every target.
    turn = SIZES.index(size) + KERNEL_TARGETS.index(arch)
    plan = plan_of(size, arch=arch, dtype=("bfloat16", "float16")[turn // 2 % 2])
    for name in KERNELS[turn % 2 :: 2]:
        kernel = plan.kernel(name, fit=FITS[turn % 3], gate_in=turn // 2 % 3 != 1, gate_out=turn // 2 % 3 != 2)
        cubin = cache.compile_kernel(kernel.source, kernel.defines, arch=arch)
        assert cubin.startswith(ELF)
        assert name.encode() in cubin
    if plan.takes_pairs and turn % 4 == 0:
        kernel = plan.chunk_kernel(aligned=turn % 8 == 0, gate_in=True, gate_out=turn % 8 != 0)
        assert cache.compile_kernel(kernel.source, kernel.defines, arch=arch).startswith(ELF)
    if plan.takes_rows_in_chunks and turn % 4 == 2:
        kernel = plan.row_chunk_kernel(ROW_CHUNK_KERNELS[turn // 4 % 3], aligned=turn % 8 == 2)
        assert cache.compile_kernel(kernel.source, kernel.defines, arch=arch).startswith(ELF)


@pytest.mark.parametrize("arch", KERNEL_TARGETS)
def test_the_operators_around_compile_for_every_target(arch: str) -> None:
    wanted: dict[str, Kernel] = {}

    def record(kernel: Kernel, *_: object, **__: object) -> None:
        wanted.setdefault(kernel.source, kernel)

    with (
        mock.patch.object(kernels, "unsupported", return_value=None),
        mock.patch.object(kernels, "card", return_value=card_of(arch)),
        mock.patch.object(kernels, "index_of", return_value=0),
        mock.patch.object(filter_kernels, "too_large", return_value=None),
        mock.patch.object(filter_kernels, "no_taps", return_value=None),
        mock.patch.object(kernels, "launch", record),
    ):
        for call in one_of_each():
            call.results()
    folders = {"embedding", "filter", "gelu", "loss", "norm", "short_conv", "sums"}
    entries = [path for folder in folders for path in (shipped("csrc") / folder).glob("*.cu")]
    assert set(wanted) == {f"{path.parent.name}/{path.stem}" for path in entries}
    for kernel in wanted.values():
        assert cache.compile_kernel(kernel.source, kernel.defines, arch=arch).startswith(ELF)


@pytest.mark.parametrize(("arch", "dtype"), [("sm_80", "float16"), ("sm_90", "bfloat16")])
def test_kernels_of_halves_compile(arch: str, dtype: str) -> None:
    (size,) = Halves().sizes(card_of(arch))
    plan = Halves().plan(size, size, filter_length=size, dtype=dtype, card=card_of(arch))
    for kernel in (plan.filter_kernel, plan.kernel(fit="ragged" if arch == "sm_80" else "whole")):
        assert cache.compile_kernel(kernel.source, kernel.defines, arch=arch).startswith(ELF)


@pytest.mark.parametrize(("arch", "dtype", "blocks"), [("sm_90", "bfloat16", 3), ("sm_100", "float16", BLOCKS[-1])])
def test_kernels_of_clusters_compile(arch: str, dtype: str, blocks: int) -> None:
    card = card_of(arch)
    (size,) = [size for size in Cluster().sizes(card) if size == blocks << 15]
    plan = Cluster().plan(size, size, filter_length=size, dtype=dtype, card=card)
    for name in CLUSTER_KERNELS if blocks == 3 else ("cluster_rows",):
        kernel = plan.kernel(name, aligned=blocks == 3)
        assert cache.compile_kernel(kernel.source, kernel.defines, arch=arch).startswith(ELF)


@pytest.mark.parametrize(
    ("arch", "size", "dtype"),
    [  # one step down the columns, two steps, the longest lines
        ("sm_80", 49152, "float16"),
        ("sm_86", 655_360, "bfloat16"),
        ("sm_90", 14 << 20, "bfloat16"),
        ("sm_100", 655_360, "float16"),
    ],
)
def test_kernels_of_long_rows_compile(arch: str, size: int, dtype: str) -> None:
    plan = ThreePass().plan(size, size, filter_length=size, dtype=dtype, card=card_of(arch))
    kernels = list(plan.kernels())
    assert {kernel.name for kernel in kernels} == {
        "columns_in",
        "columns_out",
        "lines",
        "line_spectra",
        "line_gradients",
    }
    if arch == "sm_86":  # frequency-sparse filters
        sparse = plan.sparse(2, 1)
        assert sparse is not None
        skip = {"gated": True, "second": True, "skip": (True, True), "sums": True}
        kernels.append(sparse.columns("columns_out", dtype=dtype, aligned=False, **skip))
    for kernel in kernels[KERNEL_TARGETS.index(arch) % 3 :: 3]:
        assert cache.compile_kernel(kernel.source, kernel.defines, arch=arch).startswith(ELF)


def test_no_lambda_is_generic() -> None:
    """NVRTC 13.0, the oldest that is supported, takes such for functions of the host; later ones do not."""
    generic = re.compile(r"\][ ]*\([^()]*\bauto\b[^()]*\)[ ]*(mutable[ ]*)?\{")
    assert generic.search("const auto f = [&](int i, auto act) {")
    for source in sorted(shipped("csrc").rglob("*.cu*")):
        found = generic.search(source.read_text(encoding="utf-8"))
        assert not found, f"{source.name}: {found.group(0)}"


@pytest.fixture
def kernel() -> tuple[str, tuple[tuple[str, int], ...]]:
    made = plan_of(256, arch="sm_80", dtype="float16").kernel("filter_grad")
    return made.source, made.defines


def test_a_compiled_kernel_is_kept_and_found(kernel: tuple[str, tuple[tuple[str, int], ...]]) -> None:
    first = cache.compile_kernel(*kernel, arch="sm_80")
    (entry,) = cache.entries()
    before = entry.path.stat().st_mtime_ns
    assert cache.compile_kernel(*kernel, arch="sm_80") == first
    source, defines = kernel
    assert cache.compile_kernel(source, defines[::-1], arch="sm_80") == first
    assert cache.entries() == [entry]
    assert entry.path.stat().st_mtime_ns == before
    assert entry.path.is_relative_to(paths.kernels_dir())
    assert cache.clear() == 1
    assert not cache.entries()


@pytest.mark.parametrize("damage", [b"", b"x", "flip"])
def test_a_damaged_entry_is_a_miss(kernel: tuple[str, tuple[tuple[str, int], ...]], damage: bytes | str) -> None:
    good = cache.compile_kernel(*kernel, arch="sm_80")
    (entry,) = cache.entries()
    data = bytearray(entry.path.read_bytes())
    data[-1] ^= 1
    entry.path.write_bytes(bytes(data) if damage == "flip" else bytes(damage))
    assert cache.compile_kernel(*kernel, arch="sm_80") == good
    assert entry.path.stat().st_size == len(data)


def test_flags_targets_and_compilers_have_other_names(
    kernel: tuple[str, tuple[tuple[str, int], ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, defines = kernel
    key = cache.key(source, defines, "sm_80")
    assert key == cache.key(source, defines, "sm_80")
    assert key != cache.key(source, defines, "sm_86")
    assert key != cache.key(source, (*defines, ("X", 1)), "sm_80")
    monkeypatch.setattr(cache, "compiler_version", lambda: "99.9")
    assert key != cache.key(source, defines, "sm_80")


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    copy = tmp_path / "csrc"
    shutil.copytree(shipped("csrc"), copy)
    monkeypatch.setattr(cache, "shipped", lambda name: copy)
    cache.sources_digest.cache_clear()
    yield copy
    cache.sources_digest.cache_clear()


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ("one_sm/filter_grad.cu", True),
        ("one_sm/rows.cuh", True),  # included
        ("common/ptx.cuh", True),  # included by what is included
        ("one_sm/forward.cu", False),
        ("one_sm/README.md", False),
        ("other/kernel.cu", False),
    ],
)
def test_only_what_a_kernel_includes_changes_its_name(changed: str, matters: bool, sources: Path) -> None:
    before = cache.key("one_sm/filter_grad", (), "sm_80")
    cache.sources_digest.cache_clear()
    assert cache.key("one_sm/filter_grad", (), "sm_80") == before
    file = sources / changed
    file.parent.mkdir(exist_ok=True)
    file.write_text((file.read_text(encoding="utf-8") if file.exists() else "") + "// changed\n", encoding="utf-8")
    cache.sources_digest.cache_clear()
    assert (cache.key("one_sm/filter_grad", (), "sm_80") != before) is matters


def test_the_include_closure_is_the_compilers(sources: Path) -> None:
    """Without any header of the closure the kernel does not compile, and nothing else is needed."""
    closure = cache.included(sources / "one_sm/filter_grad.cu", sources)
    for path in sources.rglob("*.cu*"):
        if path not in closure:
            path.unlink()
    with mock.patch.object(compiler, "shipped", return_value=sources):
        made = plan_of(256, arch="sm_80", dtype="float16").kernel("filter_grad")
        assert compiler.compile_source(made.source, made.defines, arch="sm_80").startswith(ELF)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_cache_that_cannot_be_written_costs_time_only(
    kernel: tuple[str, tuple[tuple[str, int], ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setenv("GENOCONV_HOME", str(tmp_path / "home"))
    assert cache.compile_kernel(*kernel, arch="sm_80").startswith(ELF)


def test_a_cache_below_a_file_costs_time_only(
    kernel: tuple[str, tuple[tuple[str, int], ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GENOCONV_HOME", str(tmp_path / "file"))
    assert cache.compile_kernel(*kernel, arch="sm_80").startswith(ELF)


def test_a_refused_kernel_says_what_and_where() -> None:
    with pytest.raises(
        KernelCompileError, match=r"one_sm/forward.cu does not compile for sm_90 with PLAN_R.*=3: .*error"
    ):
        cache.compile_kernel("one_sm/forward", [("PLAN_RADIX", 3)], arch="sm_90")


def test_threads_that_need_one_kernel_compile_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, calls = threading.Event(), threading.Event(), []

    class Waited(Future[bytes]):
        def result(self, timeout: float | None = None) -> bytes:
            go_on.set()  # the kernel is not there before somebody waits for it
            return super().result(timeout)

    def slow(source: str, defines: Sequence[tuple[str, int]], *, arch: str) -> bytes:
        calls.append(source)
        begun.set()
        assert go_on.wait(HANG)
        return b"code"

    monkeypatch.setattr(cache, "Future", Waited)
    monkeypatch.setattr(cache, "compile_source", slow)
    cache.compile_ahead([Kernel("one_sm/forward", (), 0, 32)], arch="sm_90")
    assert begun.wait(HANG)
    assert cache.compile_kernel("one_sm/forward", (), arch="sm_90") == b"code"
    assert calls == ["one_sm/forward"]
    assert not cache._running


def test_what_cannot_be_compiled_ahead_is_an_error_where_it_is_needed(caplog: pytest.LogCaptureFixture) -> None:
    broken = Kernel("one_sm/forward", (("PLAN_LENGTH", -1),), 0, 32)
    cache.compile_ahead([broken], arch="sm_90")
    with pytest.raises(KernelCompileError, match="does not compile"):
        cache.compile_kernel(broken.source, broken.defines, arch="sm_90")
    assert not caplog.records


def test_a_process_that_compiles_ahead_ends_when_it_is_done() -> None:
    """The compiler crashes in a thread that the end of its process cuts off."""
    script = """
from genoconv.gpu import cache
from genoconv.gpu.targets import card_of
from genoconv.ops.longconv.regimes import choose_plan

cache.compile_ahead(choose_plan(1_024, card=card_of("sm_90")).kernels(), arch="sm_90")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=HANG)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_process_that_ends_waits_only_for_kernels_in_work() -> None:
    script = r"""
import os, threading, time
from genoconv.gpu import cache
from genoconv.gpu.compiler import Kernel

begun = []

def compile_source(source, defines, *, arch):
    begun.append(defines)
    while threading.main_thread().is_alive():
        time.sleep(0.01)
    os.write(1, b"compiled\n")
    return b"code"

cache.compile_source = compile_source
cache.compile_ahead([Kernel("one_sm/forward", (("N", n),), 0, 32) for n in range(200)], arch="sm_90")
while len(begun) < os.cpu_count():
    time.sleep(0.01)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=HANG)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split() == ["compiled"] * (os.cpu_count() or 1)


def test_a_run_compiles_the_lengths_of_its_stages_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Kernel] = []
    monkeypatch.setattr(cache, "compile_ahead", lambda kernels, *, arch: found.extend(kernels))
    monkeypatch.setattr(run_kernels, "local_card", lambda index: card_of("sm_90"))
    gpu = SimpleNamespace(accelerator="cuda", precision="bf16", is_first=True, device=torch.device("cuda", 0))

    def lengths(machine: SimpleNamespace) -> list[int]:
        found.clear()
        wanted = (1_024, 32_768, 2**26)  # the last is longer than any kernel's rows
        run_kernels.compile_ahead(wanted, sizes=preset("small-32k"), machine=cast(Machine, machine))
        return [n for n in wanted if set(choose_plan(min(n, 2**20), card=card_of("sm_90")).kernels()) <= set(found)]

    assert lengths(gpu) == [1_024, 32_768]
    for change in ({"accelerator": "cpu"}, {"precision": "32"}, {"is_first": False}):
        assert not lengths(SimpleNamespace(**{**vars(gpu), **change}))
    monkeypatch.setenv("GENOCONV_KERNELS", "torch")
    assert not lengths(gpu)


@pytest.mark.parametrize("modulate", [True, False])
def test_what_a_run_compiles_ahead_is_what_a_step_launches(modulate: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    card, launched = card_of("sm_90"), set[Kernel]()
    sizes = ModelConfig(d_model=48, n_layer=2, max_length=64, filter_order=32, modulate=modulate)
    model = HyenaDNA(sizes).train()
    ids = torch.randint(7, 11, (2, 64), dtype=torch.uint8)
    monkeypatch.setattr(kernels, "unsupported", lambda x, backend="auto": None)
    monkeypatch.setattr(kernels, "card", lambda x: card)
    monkeypatch.setattr(kernels, "index_of", lambda x: 0)
    for check in ("too_large", "no_taps"):
        monkeypatch.setattr(filter_kernels, check, lambda *_: None)
    monkeypatch.setattr(kernels, "launch", lambda kernel, args, *, grid, on: launched.add(kernel))
    monkeypatch.setattr(torch, "empty", torch.zeros)  # nothing is computed, and the convolution wants numbers
    with torch.autocast("cpu", torch.bfloat16):
        sums = NextBase().sums(model, Batch(ids, torch.empty(0), 128, torch.empty(0)))
    sums[0].backward()
    ahead = set(run_kernels.step_kernels(64, sizes=sizes, card=card))
    assert {kernel for kernel in ahead if "one_sm" not in kernel.source} == launched
