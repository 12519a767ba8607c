"""The runs behind ``genoconv kernels``: look at plans, fill and empty the cache of compiled kernels."""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from genoconv.errors import KernelError
from genoconv.gpu import cache, compiler
from genoconv.gpu.compiler import Kernel
from genoconv.gpu.targets import ARCHS, KERNEL_TARGETS, card_of
from genoconv.ops.longconv import regimes
from genoconv.ops.longconv.overlap_save.plan import choose_chunks
from genoconv.ops.longconv.plan import DTYPES, Plan
from genoconv.pipelines.kernels.options import ExplainOptions
from genoconv.progress import progress_bar

log = logging.getLogger(__name__)

__all__ = ["ARCHS", "every_kernel", "local_archs", "plan_of", "warm"]


def plan_of(length: int, *, arch: str, dtype: str, taps: int | None = None) -> Plan:
    """The plan for one length on a GPU that need not be here.

    Raises:
        UsageError: an unknown architecture, or no kernel fits.
    """
    return regimes.choose_plan(length, card=card_of(arch), filter_length=taps, dtype=dtype)


def explain(options: ExplainOptions) -> str:
    """How rows of some length are convolved with filters of as many taps, or fewer, on a GPU, in lines of text.

    Raises:
        UsageError: as :func:`plan_of`; where a filter is short enough, rows longer than the kernels' run in chunks.
    """
    length, taps, arch = options.length, options.taps, options.arch
    dtype = {"bf16": "bfloat16", "fp16": "float16"}[options.dtype]
    sizes = tuple(size for _, size, _ in regimes.transforms(card_of(arch), dtype=dtype, gradients=True))
    pairs = regimes.pair_sizes(card_of(arch), dtype=dtype)
    chunks = None
    if sizes and taps and 1 <= taps <= length:
        chunks = choose_chunks(length, taps=taps, sizes=sizes, pairs=pairs)
    if chunks is None:
        return plan_of(length, arch=arch, dtype=dtype, taps=taps).explain()
    return "\n".join((chunks.explain(), plan_of(chunks.points, arch=arch, dtype=dtype, taps=taps).explain()))


def cached() -> list[cache.CacheEntry]:
    """The compiled kernels in the cache."""
    return cache.entries()


def clear() -> int:
    """Empty the cache; how many kernels were removed."""
    return cache.clear()


def self_test(device: str) -> Iterator[str]:
    """Run every length on a device: lines of a table, errors against float64 and times against torch.fft.

    Raises:
        UsageError: no such device.
        KernelError: a result is wrong; after the table.
    """
    from genoconv.models.devices import resolve_device
    from genoconv.ops.longconv import doctor as examination

    target = resolve_device(device)
    for subject, value in examination.kernel_status().items():
        yield f"{subject}: {value}"
    yield f"checked on {target}, errors against float64, times of a forward and a backward pass:"
    yield "  length backend " + "".join(f"{name:>10}" for name in examination.NAMES) + "       ms  x torch"
    found = []
    for check in examination.check(target):
        found.append(check)
        errors = "".join(f"{error:10.1e}" for error in check.errors)
        ratio = check.torch_milliseconds / check.milliseconds
        yield f"{check.length:>8,} {check.backend:<7} {errors} {check.milliseconds:8.3f} {ratio:8.2f}"
    examination.require_ok(found)
    log.info("%d lengths are correct; auto will use: %s", len(found), examination.kernel_status()["backend"])


def every_kernel(arch: str) -> Iterator[Kernel]:
    """All kernels that models of any length need on ``arch``, for both types of rows."""
    plans = [plan for dtype in DTYPES for plan in regimes.every_plan(card_of(arch), dtype=dtype)]
    yield from dict.fromkeys(k for plan in plans for k in (*plan.kernels(), *plan.chunk_kernels()))


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
