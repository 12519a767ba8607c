"""Builds the kernels' own source with g++ and calls it on numpy arrays, block after block, on the CPU."""

import ctypes
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from genoconv.ops.plan import Kernel
from genoconv.paths import shipped

HERE = Path(__file__).parent
_BUILDS = TemporaryDirectory(prefix="genoconv-emulation-")


@dataclass(frozen=True)
class Counts:
    """faults: misaligned or outside accesses. wavefronts: what all shared accesses cost; ideal: without conflicts."""

    faults: int
    wavefronts: int
    ideal: int


def available() -> bool:
    """Whether a C++20 compiler is here."""
    return shutil.which("g++") is not None


@cache
def _library(kernel: Kernel) -> ctypes.CDLL:
    path = Path(_BUILDS.name) / f"{kernel.name}-{abs(hash(kernel))}.so"
    defines = {**dict(kernel.defines), "KERNEL": kernel.name, "KERNEL_SOURCE": f"<{kernel.name}.cu>"}
    defines["EMULATED_SHARED_BYTES"] = kernel.smem_bytes
    flags = [f"-D{name}={value}" for name, value in defines.items()]
    flags += ["-I", str(HERE), "-I", str(shipped("csrc"))]
    # Each library keeps its own shared memory: without the flag, inline variables are one for the whole process.
    command = ["g++", "-O1", "-std=c++20", "-w", "-shared", "-fPIC", "-fno-gnu-unique", *flags, "-o", str(path)]
    built = subprocess.run([*command, str(HERE / "emulate.cpp")], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return ctypes.CDLL(str(path))


def run(kernel: Kernel, args: tuple[object, ...], *, grid: int) -> Counts:
    """Run `kernel` on arrays (passed as pointers), ints (C int) and np.int64 (C long long)."""
    values: list[ctypes._SimpleCData[object]] = []
    for arg in args:
        if arg is None or isinstance(arg, np.ndarray):
            values.append(ctypes.c_void_p(None if arg is None else arg.ctypes.data))
        elif isinstance(arg, np.int64):
            values.append(ctypes.c_longlong(int(arg)))
        else:
            assert isinstance(arg, int)
            values.append(ctypes.c_int(arg))
    pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
    counts = (ctypes.c_long * 3)()
    _library(kernel).emulate(pointers, ctypes.c_int(grid), counts)
    return Counts(*counts)
