"""From CUDA source to a running kernel: NVRTC at first use, cubins on disk, launches on torch's stream.

The only module that touches ``cuda.*``. Nothing happens at import, and compiling needs neither a GPU nor a driver, so
a login node can fill the cache and the tests compile every kernel for every target. A cubin's name in the cache is a
digest of all sources, the flags, the compiler's version, the target and the defines; each file begins with the digest
of its content, so that a damaged one is a miss.
"""

import contextlib
import ctypes
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from genoconv import atomic
from genoconv.errors import KernelCompileError, KernelError
from genoconv.paths import kernels_dir, shipped

if TYPE_CHECKING:
    import torch

_STANDARD = "c++17"
_DIGEST_BYTES = 32


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
    """Version of NVRTC, such as ``13.0``."""
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


@dataclass(frozen=True)
class _Loaded:
    kernel: Any
    config: dict[int, Any]
    # cuLibrary handles die with the object code that holds them.
    code: Any


_loaded: dict[tuple[KernelSource, str, int], _Loaded] = {}


def launch(kernel: KernelSource, args: Sequence[Any], *, grid: int, device: "torch.device", arch: str) -> None:
    """Queue one launch on torch's current stream of ``device``.

    Args:
        kernel: what to run.
        args: tensors (their addresses), None (a null pointer), 32-bit ints, floats, or ints whose class is not
            exactly int (64-bit).
        grid: blocks.
        device: where; its context need not be current.
        arch: the device's, for the compiler.

    Raises:
        KernelCompileError: the kernel does not compile.
        KernelError: the driver refused to load or launch it.
    """
    import torch
    from cuda.core import LaunchConfig, Stream
    from cuda.core import launch as cuda_launch

    index = torch.cuda.current_device() if device.index is None else device.index
    with torch.cuda.device(index):
        loaded = _loaded.get((kernel, arch, index)) or _load(kernel, arch, index)
        if grid not in loaded.config:
            loaded.config[grid] = LaunchConfig(grid=grid, block=kernel.threads, shmem_size=kernel.smem_bytes)
        stream = Stream.from_handle(torch.cuda.current_stream(index).cuda_stream)
        try:
            cuda_launch(stream, loaded.config[grid], loaded.kernel, *map(_argument, args))
        except Exception as error:
            raise KernelError(f"{kernel.name}: the driver refused the launch on cuda:{index}: {error}") from error


def _argument(value: Any) -> Any:
    if value is None:
        return ctypes.c_void_p(0)
    if type(value) is int:
        return ctypes.c_int32(value)
    if isinstance(value, int):
        return ctypes.c_int64(value)
    if isinstance(value, float):
        return ctypes.c_float(value)
    return ctypes.c_void_p(value.data_ptr())


def _load(kernel: KernelSource, arch: str, index: int) -> _Loaded:
    from cuda.bindings import driver
    from cuda.core import Device, ObjectCode

    Device(index).set_current()  # the primary context, which is torch's as well
    code = ObjectCode.from_cubin(compile_kernel(kernel.name, kernel.defines, arch=arch))
    entry = code.get_kernel(kernel.name)
    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    (status,) = driver.cuKernelSetAttribute(attribute, kernel.smem_bytes, entry.handle, driver.CUdevice(index))
    if int(status) != 0:
        raise KernelError(
            f"{kernel.name} needs {kernel.smem_bytes:,} bytes of shared memory a block, more than cuda:{index} gives"
        )
    loaded = _loaded[kernel, arch, index] = _Loaded(entry, {}, code)
    return loaded


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
