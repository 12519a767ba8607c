"""The runs behind ``genoconv kernels``: look at plans, fill and empty the cache of compiled kernels."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from genoconv.errors import KernelError
from genoconv.gpu import cache, compiler
from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import ARCHS, KERNEL_TARGETS, card_of
from genoconv.ops.longconv import plan as plans
from genoconv.ops.longconv.overlap_save.plan import choose_chunks
from genoconv.ops.longconv.plan import DTYPES, Plan
from genoconv.progress import progress_bar

__all__ = ["ARCHS", "every_kernel", "local_archs", "plan_of", "warm"]


def plan_of(length: int, *, arch: str, dtype: str, taps: int | None = None) -> Plan:
    """The plan for one length on a GPU that need not be here.

    Raises:
        UsageError: an unknown architecture, or no kernel fits.
    """
    return plans.choose_plan(length, card=card_of(arch), filter_length=taps, dtype=dtype)


def explain(length: int, *, arch: str, dtype: str, taps: int | None = None) -> str:
    """How rows of ``length`` positions are convolved with filters of ``taps`` (None: as long) on ``arch``, in words.

    Raises:
        UsageError: as :func:`plan_of`; where a filter is short enough, rows longer than the kernels' run in chunks.
    """
    sizes = tuple(size for _, size, _ in plans.transforms(card_of(arch)))
    chunks = choose_chunks(length, taps=taps, sizes=sizes) if sizes and taps and 1 <= taps <= length else None
    if chunks is None:
        return plan_of(length, arch=arch, dtype=dtype, taps=taps).explain()
    return "\n".join((chunks.explain(), plan_of(chunks.points, arch=arch, dtype=dtype, taps=taps).explain()))


def every_kernel(arch: str) -> Iterator[Kernel]:
    """All kernels that models of any length need on ``arch``, for both types of rows."""
    every = (k for dtype in DTYPES for plan in plans.every_plan(card_of(arch), dtype=dtype) for k in plan.kernels())
    yield from dict.fromkeys(every)


def warm(archs: Sequence[str], *, quiet: bool = False) -> int:
    """Compile all kernels for the given architectures into the cache; no GPU is needed.

    Returns:
        How many kernels are ready.

    Raises:
        KernelError: no compiler, or it refused a kernel.
        UsageError: an unknown architecture.
    """
    for arch in archs:
        card_of(arch)
    if reason := compiler.missing():
        raise KernelError(reason)
    wanted = [(arch, kernel) for arch in archs for kernel in every_kernel(arch)]
    # The compiler works without Python's lock, so threads share the cores.
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress_bar("Compiling", total=len(wanted), unit="kernels", quiet=quiet) as advance,
    ):
        running = [pool.submit(cache.compile_kernel, k.source, k.defines, arch=arch) for arch, k in wanted]
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
