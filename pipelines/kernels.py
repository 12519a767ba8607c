"""The runs behind ``genoconv kernels``: look at plans, fill and empty the cache of compiled kernels."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from genoconv.errors import KernelError, UsageError
from genoconv.gpu import jit
from genoconv.gpu.targets import KERNEL_TARGETS
from genoconv.ops.longconv.one_sm.blocks import DTYPES, SIZES
from genoconv.ops.longconv.one_sm.plan import FITS, KERNELS, Kernel, Plan, choose_plan, longest
from genoconv.ops.longconv.overlap_save.plan import choose_chunks
from genoconv.progress import progress_bar

SHARED_MEMORY = {"sm_80": 163, "sm_86": 99, "sm_87": 163, "sm_89": 99, "sm_90": 227, "sm_100": 227, "sm_120": 99}
"""Shared memory that a block may use on each architecture, KB (CUDA C++ programming guide, compute capabilities)."""

SM_COUNT = {"sm_80": 108, "sm_86": 84, "sm_87": 16, "sm_89": 128, "sm_90": 132, "sm_100": 148, "sm_120": 170}
"""Multiprocessors of a common card of each: A100, RTX 3090's class, Orin, RTX 4090, H100, B200, RTX 5090."""


def plan_of(length: int, *, arch: str, dtype: str, taps: int | None = None) -> Plan:
    """The plan for one length on a GPU that need not be here.

    Raises:
        UsageError: an unknown architecture, or no kernel fits.
    """
    if arch not in SHARED_MEMORY:
        raise UsageError(f"--arch {arch}: known are {', '.join(SHARED_MEMORY)}")
    smem = SHARED_MEMORY[arch] * 1024
    return choose_plan(length, filter_length=taps, dtype=dtype, arch=arch, smem_per_block=smem, sm_count=SM_COUNT[arch])


def explain(length: int, *, arch: str, dtype: str, taps: int | None = None) -> str:
    """How rows of ``length`` positions are convolved with filters of ``taps`` (None: as long) on ``arch``, in words.

    Raises:
        UsageError: as :func:`plan_of`; where a filter is short enough, rows longer than the kernels' run in chunks.
    """
    smem = SHARED_MEMORY.get(arch, 0) * 1024
    sizes = tuple(size for size in SIZES if size <= longest(smem))
    chunks = choose_chunks(length, taps=taps, sizes=sizes) if sizes and taps and 1 <= taps <= length else None
    if chunks is None:
        return plan_of(length, arch=arch, dtype=dtype, taps=taps).explain()
    return "\n".join((chunks.explain(), plan_of(chunks.points, arch=arch, dtype=dtype, taps=taps).explain()))


def every_kernel(arch: str) -> Iterator[Kernel]:
    """All kernels that models of any length need on ``arch``: both row types, gated, rows of every fit."""
    seen = set()
    for size in SIZES:
        if size > longest(SHARED_MEMORY[arch] * 1024):
            continue
        for dtype in DTYPES:
            plan = plan_of(size, arch=arch, dtype=dtype)
            for name in KERNELS:
                for fit in FITS:
                    kernel = plan.kernel(name, fit=fit)
                    if kernel not in seen:
                        seen.add(kernel)
                        yield kernel


def warm(archs: Sequence[str], *, quiet: bool = False) -> int:
    """Compile all kernels for the given architectures into the cache; no GPU is needed.

    Returns:
        How many kernels are ready.

    Raises:
        KernelError: no compiler, or it refused a kernel.
        UsageError: an unknown architecture.
    """
    for arch in archs:
        plan_of(1, arch=arch, dtype=DTYPES[0])
    if reason := jit.missing():
        raise KernelError(reason)
    wanted = [(arch, kernel) for arch in archs for kernel in every_kernel(arch)]
    # The compiler works without Python's lock, so threads share the cores.
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress_bar("Compiling", total=len(wanted), unit="kernels", quiet=quiet) as advance,
    ):
        running = [pool.submit(jit.compile_kernel, k.name, k.defines, arch=arch) for arch, k in wanted]
        try:
            for done in as_completed(running):
                done.result()
                advance(1)
        finally:
            pool.shutdown(cancel_futures=True)
    return len(wanted)


def local_archs() -> list[str]:
    """The architectures of this machine's GPUs; every target of the project where it has none."""
    import torch

    found = {"sm_{}{}".format(*torch.cuda.get_device_capability(i)) for i in range(torch.cuda.device_count())}
    return sorted(found) or list(KERNEL_TARGETS)
