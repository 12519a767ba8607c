"""``genoconv kernels list | explain | warm | clear | doctor``."""

from typing import Annotated, Literal

import typer

from genoconv.cli import console
from genoconv.cli.options import Device, Quiet

app = typer.Typer(name="kernels", help="The fused convolution kernels: plans, cache, self-test.", no_args_is_help=True)


@app.command("list")
def list_kernels() -> None:
    """List the compiled kernels in the cache.

    **Examples**

        genoconv kernels list
    """
    from genoconv.gpu import cache

    found = cache.entries()
    for entry in found:
        print(f"{entry.bytes:>9,}  {entry.path.name}")
    console.summary(f"{len(found)} kernels, {sum(entry.bytes for entry in found) / 1e6:.1f} MB")


@app.command()
def explain(
    length: Annotated[int, typer.Option("--length", "-n", metavar="N", help="Positions in a row.")],
    taps: Annotated[
        int | None, typer.Option("--taps", metavar="K", help="Filter taps, if fewer (a partial convolution).")
    ] = None,
    arch: Annotated[str, typer.Option("--arch", metavar="sm_XX", help="The GPU, which need not be here.")] = "sm_90",
    dtype: Annotated[Literal["bf16", "fp16"], typer.Option("--dtype", help="Type of the rows.")] = "bf16",
) -> None:
    """Explain how a convolution of one length is carried out.

    **Examples**

        genoconv kernels explain --length 4096

        genoconv kernels explain --length 8192 --arch sm_86 --dtype fp16

        genoconv kernels explain --length 2400000 --taps 8192
    """
    from genoconv.pipelines import kernels

    names = {"bf16": "bfloat16", "fp16": "float16"}
    print(kernels.explain(length, arch=arch, dtype=names[dtype], taps=taps))


@app.command()
def warm(
    arch: Annotated[
        list[str] | None,
        typer.Option("--arch", metavar="sm_XX", help="For this GPU, which need not be here; may be repeated."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Compile all kernels ahead of time: for this machine's GPUs, or for others by name.

    **Examples**

        genoconv kernels warm

        GENOCONV_HOME=/shared/genoconv genoconv kernels warm --arch sm_90
    """
    console.quieten(quiet)
    from genoconv.pipelines import kernels

    archs = arch or kernels.local_archs()
    count = kernels.warm(archs, quiet=quiet)
    console.summary(f"{count} kernels for {', '.join(archs)} are in the cache")


@app.command()
def clear() -> None:
    """Empty the cache of compiled kernels.

    **Examples**

        genoconv kernels clear
    """
    from genoconv.gpu import cache

    console.summary(f"{cache.clear()} kernels removed")


@app.command()
def doctor(device: Device = "auto") -> None:
    """Run every length on this machine: errors against float64, and times against torch.fft.

    Says which backend will be used, also where there is no GPU. Exits 1 where a result is off.

    **Examples**

        genoconv kernels doctor

        genoconv kernels doctor --device cuda:1
    """
    from genoconv.models.devices import resolve_device
    from genoconv.ops.longconv import doctor as examination

    target = resolve_device(device)
    for subject, value in examination.kernel_status().items():
        print(f"{subject}: {value}")
    print(f"checked on {target}, errors against float64, times of a forward and a backward pass:")
    print("  length backend " + "".join(f"{name:>10}" for name in examination.NAMES) + "       ms  x torch")
    found = []
    for check in examination.check(target):
        found.append(check)
        errors = "".join(f"{error:10.1e}" for error in check.errors)
        ratio = check.torch_milliseconds / check.milliseconds
        print(f"{check.length:>8,} {check.backend:<7} {errors} {check.milliseconds:8.3f} {ratio:8.2f}", flush=True)
    examination.require_ok(found)
    console.summary(f"{len(found)} lengths are right; auto will use: {examination.kernel_status()['backend']}")
