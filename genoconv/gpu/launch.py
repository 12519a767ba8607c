"""Kernels on a GPU: loaded once, launched on torch's current stream."""

import contextlib
import ctypes
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from genoconv.errors import KernelError
from genoconv.gpu.cache import compile_all, compile_kernel
from genoconv.gpu.compiler import Kernel, compiler_version, missing

_CONFIGS = 256  # launch configurations that are kept


class Loaded:
    """A kernel on one GPU, ready to be launched. Make it with :func:`load`, which keeps it."""

    def __init__(self, kernel: Kernel, arch: str, index: int) -> None:
        import torch
        from cuda.bindings import driver
        from cuda.core import Device, ObjectCode

        cubin = compile_kernel(kernel.source, kernel.defines, arch=arch)
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
                f"{kernel.name} needs {kernel.smem_bytes:,} bytes of shared memory per block, "
                f"more than cuda:{index} has"
            )
        self._name, self._index, self._cuda = kernel.name, index, torch.cuda
        # The driver's launch takes the arguments in one piece: of a small problem the host's part is most of the time.
        self._function = driver.CUfunction(int(self._entry.handle))
        self._driver = driver
        self._block = (kernel.threads, 1, 1, kernel.smem_bytes)
        self._configs: dict[tuple[int, int, bool, int], Any] = {}
        self._clusters: dict[int, int] = {}

    def launch(
        self, args: Sequence[Any], *, grid: int, cooperative: bool = False, pdl: bool = False, cluster: int = 1
    ) -> None:
        """Queue one launch of ``grid`` blocks on torch's current stream of this GPU, which need not be the current one.

        Args:
            args: tensors (their addresses), None (a null pointer) or ints, whatever their width in the kernel.
            grid: blocks.
            cooperative: they wait for one another, so all of them must be on the GPU at a time.
            pdl: programmatic dependent launch: they may begin while the kernel before them still runs, which is one of
                this package's, launched without ``pdl``; they wait for its results themselves. Not with
                ``cooperative``.
            cluster: blocks that run at the same time and reach one another's shared memory; ``grid`` is a multiple.
                Not with either of the others.

        Raises:
            KernelError: the driver refused.
        """
        if self._cuda.current_device() == self._index:
            self._launch(args, grid, cooperative, pdl, cluster)
        else:
            with self._cuda.device(self._index):
                self._launch(args, grid, cooperative, pdl, cluster)

    def clusters(self, size: int) -> int:
        """How many clusters of ``size`` blocks the GPU holds at a time.

        Raises:
            KernelError: there is room for none, as on a small part of a GPU.
        """
        if size not in self._clusters:
            with self._cuda.device(self._index):
                config = self._config(size, 0, False, size)
                status, count = self._driver.cuOccupancyMaxActiveClusters(self._function, config)
            self.check(status)
            if not int(count):
                raise KernelError(
                    f"{self._name}: cuda:{self._index} is too small a part of a GPU to run a cluster of {size} blocks; "
                    "use a larger part or backend='torch'"
                )
            self._clusters[size] = int(count)
        return self._clusters[size]

    def _launch(self, args: Sequence[Any], grid: int, cooperative: bool, pdl: bool, cluster: int) -> None:
        stream = self._cuda.current_stream(self._index).cuda_stream
        address = parameters(args)
        status = self.queue(grid, stream, address, cooperative=cooperative, pdl=pdl, cluster=cluster)
        if status.name == "CUDA_ERROR_INVALID_CONTEXT":  # a thread that has not met the GPU yet
            self._cuda.set_device(self._index)
            status = self.queue(grid, stream, address, cooperative=cooperative, pdl=pdl, cluster=cluster)
        self.check(status)

    def check(self, status: Any) -> None:
        """Raise a KernelError unless the driver took the launch."""
        if int(status) != 0:
            raise KernelError(
                f"{self._name}: the driver rejected the launch on cuda:{self._index}: {status.name}; "
                "set GENOCONV_KERNELS=torch and report this with the output of `genoconv kernels doctor`"
            )

    def queue(self, grid: int, stream: int, address: int, *, cooperative: bool, pdl: bool, cluster: int = 1) -> Any:
        """One launch with arguments at ``address``; the driver's status."""
        if cooperative or pdl or cluster > 1:
            config = self._config(grid, stream, cooperative, cluster)
            (status,) = self._driver.cuLaunchKernelEx(config, self._function, address, 0)
        else:
            (status,) = self._driver.cuLaunchKernel(self._function, grid, 1, 1, *self._block, stream, address, 0)
        return status

    def _config(self, grid: int, stream: int, cooperative: bool, cluster: int) -> Any:
        key = grid, stream, cooperative, cluster
        if key not in self._configs:
            driver = self._driver
            attribute, config = driver.CUlaunchAttribute(), driver.CUlaunchConfig()
            if cluster > 1:
                attribute.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
                size = attribute.value.clusterDim
                size.x, size.y, size.z = cluster, 1, 1
            elif cooperative:
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


class Prepared:
    """Launches of one kernel whose last arguments stay the same: less work on the host for each. For one thread only.

    Args:
        kernel: on its GPU, which is the current one whenever this is called.
        leading: how many arguments every call gives.
        args: the rest; tensors must outlive the launches.
        pdl: as in :meth:`Loaded.launch`.
    """

    def __init__(self, kernel: Loaded, leading: int, args: Sequence[Any], *, pdl: bool = False) -> None:
        self._kernel, self._leading, self._pdl = kernel, leading, pdl
        values = [0] * leading + [x if type(x) is int else 0 if x is None else x.data_ptr() for x in args]
        self._values = (ctypes.c_int64 * len(values))(*values)
        first = ctypes.addressof(self._values)
        self._pointers = (ctypes.c_void_p * len(values))(*range(first, first + 8 * len(values), 8))
        self._address = ctypes.addressof(self._pointers)

    def __call__(self, *leading: int, grid: int, stream: int) -> None:
        """Queue one launch of ``grid`` blocks on a stream, given by its handle."""
        self._values[: self._leading] = list(leading)
        self._kernel.check(self._kernel.queue(grid, stream, self._address, cooperative=False, pdl=self._pdl))


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
def load(kernel: Kernel, *, arch: str, index: int) -> Loaded:
    """``kernel`` on GPU ``index`` (architecture ``arch``): compiled, or found in the cache, and loaded once.

    Raises:
        KernelCompileError: it does not compile.
        KernelError: no compiler is installed, or the driver refused the kernel.
    """
    return Loaded(kernel, arch, index)


def load_all(kernels: Sequence[Kernel], *, arch: str, index: int) -> tuple[Loaded, ...]:
    """As :func:`load`, of several kernels: they are compiled at the same time."""
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
