"""The kernels' own source, built with g++, behind the same host code that launches it on a GPU.

Inside :func:`machine` plans work on CPU tensors: kernels come from here in place of NVRTC, everything else (arguments,
strides, grids, workspaces) is what a GPU gets.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import torch
from long_convolutions import Inputs
from numpy.typing import NDArray
from torch import Tensor

from genoconv.gpu import compiler, launch, targets
from genoconv.gpu.cache import included
from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import Card
from genoconv.ops.longconv import fused, host, regimes
from genoconv.ops.longconv.cluster import launches as cluster
from genoconv.ops.longconv.halves import launches as halves
from genoconv.ops.longconv.one_sm import launches as one_sm
from genoconv.ops.longconv.one_sm import tables as one_sm_tables
from genoconv.ops.longconv.three_pass import passes as three_pass
from genoconv.paths import shipped

HERE = Path(__file__).parent
GUARD = 128
"""Elements before and after every buffer of device memory that no kernel may touch."""

_BUILDS = TemporaryDirectory(prefix="genoconv-emulation-")
_pool = ThreadPoolExecutor(os.cpu_count())
_started: dict[tuple[object, ...], "Future[ctypes.CDLL]"] = {}
# Kernels that have the same defines in every plan share a build.
_TOGETHER = (("one_sm/spectrum", "one_sm/filter_grad"),)
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
    tables: Callable[[int, int], NDArray[np.uint32]] | None = None,
    sources: Path | None = None,
) -> Iterator[Machine]:
    """Stand in for a GPU of ``sm_count`` SMs whose blocks have ``smem`` bytes of shared memory.

    ``tables`` and ``sources`` take the place of the plan's own: kernels that should go wrong.
    """
    here = Machine()
    card = Card("sm_90", smem, sm_count, 50 * 2**20)

    def empty(*shape: Any, dtype: torch.dtype = torch.float32, device: object = None) -> Tensor:
        shape = shape[0] if isinstance(shape[0], Sequence) else shape
        count = torch.Size(shape).numel()
        whole = poison(torch.zeros(count + 2 * GUARD, dtype=dtype))
        here.buffers.append(whole)
        return whole[GUARD : GUARD + count].view(shape)

    def emulated(kernels: Sequence[Kernel], **_: object) -> tuple["_Emulated", ...]:
        return tuple(_Emulated(kernel, sources, here) for kernel in kernels)

    kept = (regimes.plan_on, host.loaded, one_sm._kernels, one_sm._shares, one_sm.tables_on, halves._kernel)
    kept = (*kept, cluster._kernel, three_pass._tables)
    with (
        mock.patch.object(targets, "local_card", return_value=card),
        mock.patch.object(torch.cuda, "current_device", return_value=0),
        mock.patch.object(compiler, "missing", return_value=None),
        mock.patch.object(host, "upload", lambda words, index: torch.from_numpy(words.view("int32").copy())),
        mock.patch.object(one_sm_tables, "build", tables or one_sm_tables.build),
        mock.patch.object(launch, "load_all", emulated),
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
    y, spectrum = fused.convolve(x.u, x.k, x.D, x.gate_in, x.gate_out, gradients=True)
    out = {"y": y}
    names = ("du", "dk", "dD", "dgate_in", "dgate_out")
    gradients = fused.plan_of(x.u, gradients=True).backward(x.dy, x.u, spectrum, x.gate_in, x.gate_out)
    out |= {name: value for name, value in zip(names, gradients, strict=True) if value is not None}
    if x.D is None:
        del out["dD"]
    return out


def poison(x: Tensor) -> Tensor:
    x.view(torch.uint8).fill_(0xFF)  # NaN in every type
    return x


def _poisoned(edge: Tensor) -> bool:
    return bool((edge.view(torch.uint8) != 0xFF).any())


@dataclass(frozen=True)
class _Emulated:
    """Takes the place of `genoconv.gpu.launch.Loaded`."""

    kernel: Kernel
    sources: Path | None
    machine: Machine

    def launch(
        self, args: Sequence[Any], *, grid: int, cooperative: bool = False, pdl: bool = False, cluster: int = 1
    ) -> None:
        assert cluster == dict(self.kernel.defines).get("PLAN_CLUSTER", 1)
        self.queue(grid, 0, launch.parameters(args), cooperative=cooperative, pdl=pdl)

    def clusters(self, size: int) -> int:
        return 2

    def queue(self, grid: int, stream: int, address: int, *, cooperative: bool, pdl: bool) -> None:
        pointers = ctypes.c_void_p(address)
        counts = (ctypes.c_long * 3)()
        library = build(self.kernel, self.sources)
        run = getattr(library, f"emulate_{self.kernel.name}")
        run(pointers, ctypes.c_int(grid), ctypes.c_int(self.kernel.smem_bytes), counts)
        self.machine.counts[self.kernel.name] = Counts(*counts)

    def check(self, status: None) -> None:
        """Nothing is refused here."""


def build(kernel: Kernel, sources: Path | None = None, *, divergent: bool = False) -> ctypes.CDLL:
    """The kernel's library, built at its first use. divergent: its lanes may take different ways at shared memory."""
    return start(kernel, sources, divergent=divergent).result()


def start(kernel: Kernel, sources: Path | None = None, *, divergent: bool = False) -> "Future[ctypes.CDLL]":
    """Begin to build a kernel, if nobody has."""
    names = next((group for group in _TOGETHER if kernel.source in group), (kernel.source,))
    defines = (*kernel.defines, *((("LANES_DIVERGE", 1),) if divergent else ()))
    folder = sources or shipped("csrc")
    key = (names, defines, _digest(names, folder))  # of changed sources only what includes them is built anew
    if key not in _started:
        library = Path(_BUILDS.name) / f"{kernel.name}-{len(_started)}.so"
        _started[key] = _pool.submit(_build, names, defines, folder, library)
    return _started[key]


@cache
def _digest(names: tuple[str, ...], folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted({path for name in names for path in included(folder / f"{name}.cu", folder)}):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def cancel() -> None:
    """Drop the builds that have not begun."""
    for future in _started.values():
        future.cancel()


def _build(names: tuple[str, ...], defines: tuple[tuple[str, int], ...], sources: Path, library: Path) -> ctypes.CDLL:
    text = "".join(f"#include <{name}.cu>\n" for name in names) + "#include <emulate.h>\n"
    text += "".join(f"EMULATED({name.rpartition('/')[2]})\n" for name in names)
    # Each library keeps its own shared memory: without the flag, inline variables are one for the whole process.
    command = ["g++", *_FLAGS, "-fno-gnu-unique", *(f"-D{name}={value}" for name, value in defines)]
    command += ["-I", str(HERE), "-I", str(sources), "-x", "c++", "-", "-o", str(library)]
    built = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return ctypes.CDLL(str(library))
