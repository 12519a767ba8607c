"""From CUDA source to a running kernel: NVRTC at first use, cubins on disk, launches on torch's stream.

The only module that touches ``cuda.*``. Nothing happens at import, and compiling needs neither a GPU nor a driver, so
a login node can fill the cache and the tests compile every kernel for every target. A cubin's name in the cache is a
digest of all sources, the flags, the compiler's version, the target and the defines; each file begins with the digest
of its content, so that a damaged one is a miss.
"""

import contextlib
import ctypes
import hashlib
import os
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from genoconv import atomic
from genoconv.errors import KernelCompileError, KernelError
from genoconv.paths import kernels_dir, shipped

_STANDARD = "c++17"
_DIGEST_BYTES = 32
_CONFIGS = 256  # ways to launch a kernel that are kept


class KernelSource(Protocol):
    """What is compiled: ``csrc/<name>.cu`` with ``defines``, entry point ``name``; a launch takes the rest."""

    @property
    def name(self) -> str: ...
    @property
    def defines(self) -> tuple[tuple[str, int], ...]: ...
    @property
    def smem_bytes(self) -> int: ...
    @property
    def threads(self) -> int: ...
    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class CacheEntry:
    """One compiled kernel on disk."""

    path: Path
    bytes: int


def missing() -> str | None:
    """Why nothing can be compiled here, with the way out; None where NVRTC is there."""
    try:
        compiler_version()
    except (ImportError, RuntimeError, OSError) as error:
        return f"the CUDA run-time compiler is not installed ({error}); pip install 'genoconv[cuda]'"
    return None


@cache
def compiler_version() -> str:
    """Version of NVRTC, such as ``13.0``; an ImportError where that or cuda-core is not installed."""
    import_module("cuda.core")  # whole, here: threads that compile would meet it half imported
    from cuda.bindings import nvrtc

    status, major, minor = nvrtc.nvrtcVersion()
    if int(status) != 0:
        raise RuntimeError(f"nvrtcVersion failed with {status}")
    return f"{major}.{minor}"


def compile_kernel(name: str, defines: Iterable[tuple[str, int]], *, arch: str) -> bytes:
    """The cubin of one kernel, from the cache or fresh.

    Args:
        name: of the source file below ``csrc``, without ``.cu``.
        defines: (macro, value) pairs.
        arch: ``sm_80`` and so on, exactly the GPU's.

    Raises:
        KernelCompileError: the compiler refused it; carries its first error.
        KernelError: no compiler is installed.
    """
    reason = missing()
    if reason:
        raise KernelError(reason)
    flags = tuple(f"{macro}={value}" for macro, value in sorted(defines))
    entry = kernels_dir() / f"{name}-{arch}-{_key(name, flags, arch)}.cubin"
    cubin = _read(entry)
    if cubin is None:
        cubin = _compile(name, flags, arch)
        _write(entry, cubin)
    return cubin


def compile_all(kernels: Iterable[KernelSource], *, arch: str) -> None:
    """Bring all of ``kernels`` to the cache, as many at a time as there are processors; raises as the first would."""
    missing()  # imports the compiler here: threads would meet it half imported
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for compiled in [pool.submit(compile_kernel, k.name, k.defines, arch=arch) for k in kernels]:
            compiled.result()


def _key(name: str, flags: Sequence[str], arch: str) -> str:
    digest = hashlib.sha256(_sources_digest())
    digest.update("\0".join((name, *flags, arch, _STANDARD, compiler_version())).encode())
    return digest.hexdigest()[:32]


@cache
def _sources_digest() -> bytes:
    digest = hashlib.sha256()
    for path in sorted(shipped("csrc").glob("*.cu*")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.digest()


def _read(entry: Path) -> bytes | None:
    try:
        data = entry.read_bytes()
    except OSError:
        return None
    cubin = data[_DIGEST_BYTES:]
    return cubin if cubin and hashlib.sha256(cubin).digest() == data[:_DIGEST_BYTES] else None


def _write(entry: Path, cubin: bytes) -> None:
    # A cache that cannot be written (read-only home, full disk) costs time at the next start, nothing else.
    with contextlib.suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        with atomic.atomic_file(entry) as temporary:
            temporary.write_bytes(hashlib.sha256(cubin).digest() + cubin)


def _compile(name: str, flags: Sequence[str], arch: str) -> bytes:
    from cuda.core import Program, ProgramOptions

    folder = shipped("csrc")
    options = ProgramOptions(
        name=f"{name}.cu",
        arch=arch,
        std=_STANDARD,
        include_path=str(folder),
        define_macro=[(macro, value) for macro, _, value in (flag.partition("=") for flag in flags)],
    )
    try:
        code = (
            Program((folder / f"{name}.cu").read_text(encoding="utf-8"), "c++", options=options).compile("cubin").code
        )
    except Exception as error:
        # NVRTC's log comes as the text of the binding's own exception type.
        first = re.search(r"^.*\berror\b.*$", str(error), flags=re.M)
        shown = first.group(0).strip() if first else " ".join(str(error).split())[:300]
        raise KernelCompileError(
            f"csrc/{name}.cu does not compile for {arch} with {' '.join(flags)}: {shown}"
        ) from error
    return bytes(code)


def entries() -> list[CacheEntry]:
    """What the cache holds, by name."""
    return [CacheEntry(path, path.stat().st_size) for path in sorted(kernels_dir().glob("*.cubin"))]


def clear() -> int:
    """Empty the cache; return how many kernels were in it."""
    found = entries()
    for entry in found:
        entry.path.unlink(missing_ok=True)
    return len(found)


class Loaded:
    """A kernel on one GPU, ready to be launched. Make it with :func:`load`, which keeps it."""

    def __init__(self, kernel: KernelSource, arch: str, index: int) -> None:
        import torch
        from cuda.bindings import driver
        from cuda.core import Device, ObjectCode

        cubin = compile_kernel(kernel.name, kernel.defines, arch=arch)
        with torch.cuda.device(index):
            Device(index).set_current()  # the primary context, which is torch's as well
            # The handles die with the object code, so it is kept.
            self._code = ObjectCode.from_cubin(cubin)
            self._entry = self._code.get_kernel(kernel.name)
            attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            (status,) = driver.cuKernelSetAttribute(
                attribute, kernel.smem_bytes, self._entry.handle, driver.CUdevice(index)
            )
        if int(status) != 0:
            raise KernelError(
                f"{kernel.name} needs {kernel.smem_bytes:,} bytes of shared memory a block, "
                f"more than cuda:{index} gives"
            )
        self._name, self._index, self._cuda = kernel.name, index, torch.cuda
        # The driver's launch takes the arguments in one piece: of a small problem the host's part is most of the time.
        self._function = driver.CUfunction(int(self._entry.handle))
        self._driver = driver
        self._block = (kernel.threads, 1, 1, kernel.smem_bytes)
        self._configs: dict[tuple[int, int, bool], Any] = {}

    def launch(self, args: Sequence[Any], *, grid: int, together: bool = False, early: bool = False) -> None:
        """Queue one launch of ``grid`` blocks on torch's current stream of this GPU, which need not be the current one.

        Args:
            args: tensors (their addresses), None (a null pointer) or ints, whatever their width in the kernel.
            grid: blocks.
            together: they wait for one another, so all of them must be on the GPU at a time.
            early: they may begin while the kernel before them still runs: one of this package's, launched without
                ``early``, whose results they wait for themselves. Not together with ``together``.

        Raises:
            KernelError: the driver refused.
        """
        if self._cuda.current_device() == self._index:
            self._launch(args, grid, together, early)
        else:
            with self._cuda.device(self._index):
                self._launch(args, grid, together, early)

    def _launch(self, args: Sequence[Any], grid: int, together: bool, early: bool) -> None:
        stream = self._cuda.current_stream(self._index).cuda_stream
        address = parameters(args)
        status = self._queue(grid, stream, address, together, early)
        if status.name == "CUDA_ERROR_INVALID_CONTEXT":  # a thread that has not met the GPU yet
            self._cuda.set_device(self._index)
            status = self._queue(grid, stream, address, together, early)
        if int(status) != 0:
            raise KernelError(
                f"{self._name}: the driver refused the launch on cuda:{self._index}: {status.name}; "
                "set GENOCONV_KERNELS=torch and report this with the output of `genoconv kernels doctor`"
            )

    def _queue(self, grid: int, stream: int, address: int, together: bool, early: bool) -> Any:
        if together or early:
            config = self._config(grid, stream, together)
            (status,) = self._driver.cuLaunchKernelEx(config, self._function, address, 0)
        else:
            (status,) = self._driver.cuLaunchKernel(self._function, grid, 1, 1, *self._block, stream, address, 0)
        return status

    def _config(self, grid: int, stream: int, together: bool) -> Any:
        key = grid, stream, together
        if key not in self._configs:
            driver = self._driver
            attribute, config = driver.CUlaunchAttribute(), driver.CUlaunchConfig()
            if together:
                attribute.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_COOPERATIVE
                attribute.value.cooperative = 1
            else:
                attribute.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
                attribute.value.programmaticStreamSerializationAllowed = 1
            config.gridDimX, config.gridDimY, config.gridDimZ = grid, 1, 1
            config.blockDimX, config.blockDimY, config.blockDimZ, config.sharedMemBytes = self._block
            config.hStream = driver.CUstream(stream)
            config.attrs, config.numAttrs = [attribute], 1
            if len(self._configs) > _CONFIGS:
                self._configs.clear()
            self._configs[key] = config
        return self._configs[key]


class _Parameters(threading.local):
    """A thread's memory for the arguments of launches, by their number: the driver reads it before it returns."""

    def __init__(self) -> None:
        self.by_count: dict[int, tuple[Any, Any, int]] = {}

    def of(self, count: int) -> tuple[Any, Any, int]:
        if count not in self.by_count:
            values, pointers = (ctypes.c_int64 * count)(), (ctypes.c_void_p * count)()
            first = ctypes.addressof(values)
            pointers[:] = list(range(first, first + 8 * count, 8))
            self.by_count[count] = values, pointers, ctypes.addressof(pointers)
        return self.by_count[count]


_parameters = _Parameters()


def parameters(args: Sequence[Any]) -> int:
    """Where pointers to the arguments of a launch are, as the driver wants them, until this thread's next launch.

    Every argument has eight bytes: a pointer, or an integer whose lower four bytes a narrower parameter takes
    (GPUs and the hosts that they work in are little-endian).
    """
    values, _, address = _parameters.of(len(args))
    values[:] = [x if type(x) is int else 0 if x is None else x.data_ptr() for x in args]
    return address


@cache
def load(kernel: KernelSource, *, arch: str, index: int) -> Loaded:
    """``kernel`` on GPU ``index`` (architecture ``arch``): compiled, or found in the cache, and loaded once.

    Raises:
        KernelCompileError: it does not compile.
        KernelError: no compiler is installed, or the driver refused the kernel.
    """
    return Loaded(kernel, arch, index)


def load_all(kernels: Sequence[KernelSource], *, arch: str, index: int) -> tuple[Loaded, ...]:
    """As :func:`load`, of kernels that are needed together: they are compiled at the same time."""
    compile_all(kernels, arch=arch)
    return tuple(load(kernel, arch=arch, index=index) for kernel in kernels)


def driver_report() -> Mapping[str, str]:
    """Versions of the driver and of NVRTC in words, also where either is missing."""
    reason = missing()
    found = {"NVRTC": reason or compiler_version(), "driver": "none"}
    with contextlib.suppress(Exception):  # no driver library at all shows as one of several foreign errors
        from cuda.bindings import driver

        status, version = driver.cuDriverGetVersion()
        if int(status) == 0:
            found["driver"] = f"for CUDA {version // 1000}.{version % 1000 // 10}"
    return found
