"""The kernels' own source, built with g++, behind the same host code that launches it on a GPU.

Inside :func:`machine` the functions of `genoconv.ops.longconv.one_sm.launches` work on CPU tensors: kernels come from
here in place of NVRTC, everything else (arguments, strides, grids, workspaces) is what a GPU gets.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
from long_convolutions import Inputs
from torch import Tensor

from genoconv.gpu import jit
from genoconv.ops.longconv.one_sm import launches as cuda
from genoconv.ops.longconv.one_sm.plan import Kernel, longest
from genoconv.ops.longconv.one_sm.tables import build as table_words
from genoconv.paths import shipped

HERE = Path(__file__).parent
GUARD = 128
"""Elements before and after every buffer of device memory that no kernel may touch."""

_BUILDS = TemporaryDirectory(prefix="genoconv-emulation-")
_pool = ThreadPoolExecutor(os.cpu_count())
_started: dict[tuple[object, ...], "Future[ctypes.CDLL]"] = {}
# Kernels that have the same defines in every plan share a build.
_TOGETHER = (("forward",), ("backward",), ("spectrum", "filter_grad"))
_FLAGS = ("-Og", "-march=native", "-ffp-contract=off", "-std=c++20", "-w", "-shared", "-fPIC", "-U_FORTIFY_SOURCE")


@dataclass(frozen=True)
class Counts:
    """faults: misaligned or outside accesses. wavefronts: what all shared accesses cost; ideal: without conflicts."""

    faults: int
    wavefronts: int
    ideal: int


@dataclass
class Machine:
    """A GPU that is not there: what its kernels' shared memory saw, and the device memory that it handed out."""

    counts: dict[str, Counts] = field(default_factory=dict)
    buffers: list[Tensor] = field(default_factory=list)

    def overrun(self) -> bool:
        """Whether anything was written beside a buffer."""
        return any(_poisoned(edge) for b in self.buffers for edge in (b[:GUARD], b[-GUARD:]))


def available() -> bool:
    """Whether a C++20 compiler is here."""
    return shutil.which("g++") is not None


@contextmanager
def machine(
    *,
    smem: int = 227 * 1024,
    sm_count: int = 2,
    tables: Callable[[int, int], Tensor] | None = None,
    sources: Path | None = None,
) -> Iterator[Machine]:
    """Stand in for a GPU of ``sm_count`` SMs whose blocks have ``smem`` bytes of shared memory.

    ``tables`` and ``sources`` take the place of the plan's own: kernels that should go wrong.
    """
    here = Machine()
    gpu = cuda.Gpu("sm_90", smem, sm_count, longest(smem))

    def own_tables(radix: int, split: int, index: int) -> Tensor:
        if tables is not None:
            return tables(radix, split)
        return torch.from_numpy(table_words(radix, split).view("int32").copy())

    def empty(*shape: Any, dtype: torch.dtype = torch.float32, device: object = None) -> Tensor:
        shape = shape[0] if isinstance(shape[0], Sequence) else shape
        count = torch.Size(shape).numel()
        whole = _poison(torch.zeros(count + 2 * GUARD, dtype=dtype))
        here.buffers.append(whole)
        return whole[GUARD : GUARD + count].view(shape)

    kept = (cuda._plan, cuda._kernels, cuda._shares)
    with (
        mock.patch.object(cuda, "gpu", return_value=gpu),
        mock.patch.object(cuda, "_index", return_value=0),
        mock.patch.object(cuda, "_tables", own_tables),
        mock.patch.object(jit, "load_all", lambda kernels, **_: tuple(_Emulated(k, sources, here) for k in kernels)),
        mock.patch.object(torch, "empty", empty),
        mock.patch.object(torch, "empty_like", lambda x: empty(x.shape, dtype=x.dtype)),
    ):
        for function in kept:
            function.cache_clear()
        try:
            yield here
        finally:
            for function in kept:
                function.cache_clear()


def solve(x: Inputs) -> dict[str, Tensor]:
    """y and every gradient, by the host code that a GPU's users run."""
    y, spectrum = cuda.convolve(x.u, x.k, x.D, x.gate_in, x.gate_out)
    out = {"y": y}
    names = ("du", "dk", "dD", "dgate_in", "dgate_out")
    gradients = cuda.backward(x.dy, x.u, spectrum, x.gate_in, x.gate_out)
    out |= {name: value for name, value in zip(names, gradients, strict=True) if value is not None}
    if x.D is None:
        del out["dD"]
    return out


def _poison(x: Tensor) -> Tensor:
    x.view(torch.uint8).fill_(0xFF)  # NaN in every type
    return x


def _poisoned(edge: Tensor) -> bool:
    return bool((edge.view(torch.uint8) != 0xFF).any())


@dataclass(frozen=True)
class _Emulated:
    """Takes the place of `genoconv.gpu.jit.Loaded`."""

    kernel: Kernel
    sources: Path | None
    machine: Machine

    def launch(self, args: Sequence[Any], *, grid: int, together: bool = False, early: bool = False) -> None:
        pointers = ctypes.c_void_p(jit.parameters(args))
        counts = (ctypes.c_long * 3)()
        library = build(self.kernel, self.sources)
        run = getattr(library, f"emulate_{self.kernel.name}")
        run(pointers, ctypes.c_int(grid), ctypes.c_int(self.kernel.smem_bytes), counts)
        self.machine.counts[self.kernel.name] = Counts(*counts)


def build(kernel: Kernel, sources: Path | None = None) -> ctypes.CDLL:
    """The kernel's library, built at its first use."""
    return start(kernel, sources).result()


def start(kernel: Kernel, sources: Path | None = None) -> "Future[ctypes.CDLL]":
    """Begin to build a kernel, if nobody has."""
    names = next(group for group in _TOGETHER if kernel.name in group)
    key = (names, kernel.defines, sources or shipped("csrc"))
    if key not in _started:
        _started[key] = _pool.submit(_build, *key, Path(_BUILDS.name) / f"{names[0]}-{len(_started)}.so")
    return _started[key]


def cancel() -> None:
    """Drop the builds that have not begun."""
    for future in _started.values():
        future.cancel()


def _build(names: tuple[str, ...], defines: tuple[tuple[str, int], ...], sources: Path, library: Path) -> ctypes.CDLL:
    text = "".join(f"#include <{name}.cu>\n" for name in names) + "#include <emulate.h>\n"
    text += "".join(f"EMULATED({name})\n" for name in names)
    # Each library keeps its own shared memory: without the flag, inline variables are one for the whole process.
    command = ["g++", *_FLAGS, "-fno-gnu-unique", *(f"-D{name}={value}" for name, value in defines)]
    command += ["-I", str(HERE), "-I", str(sources), "-x", "c++", "-", "-o", str(library)]
    built = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return ctypes.CDLL(str(library))
