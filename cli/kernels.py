"""``genoconv kernels list | explain | warm | clear | doctor``."""

import typer

from genoconv.cli import console
from genoconv.cli.options import takes
from genoconv.pipelines.kernels.options import DoctorOptions, ExplainOptions, WarmOptions

app = typer.Typer(name="kernels", help="The fused convolution kernels: plans, cache, self-test.", no_args_is_help=True)


@app.command("list")
def list_kernels() -> None:
    """List the compiled kernels in the cache.

    **Examples**

        genoconv kernels list
    """
    from genoconv.pipelines.kernels.run import cached

    found = cached()
    for entry in found:
        console.line(f"{entry.bytes:>9,}  {entry.path.name}")
    console.summary(f"{len(found)} kernels, {sum(entry.bytes for entry in found) / 1e6:.1f} MB")


@app.command()
@takes(ExplainOptions, configurable=False)
def explain(options: ExplainOptions) -> None:
    """Explain how a convolution of one length is carried out.

    **Examples**

        genoconv kernels explain --length 4096

        genoconv kernels explain --length 8192 --arch sm_86 --dtype fp16

        genoconv kernels explain --length 2400000 --taps 8192
    """
    from genoconv.pipelines.kernels.run import explain as describe

    console.data(describe(options) + "\n")


@app.command()
@takes(WarmOptions)
def warm(options: WarmOptions) -> None:
    """Compile all kernels ahead of time: for this machine's GPUs, or for others by name.

    **Examples**

        genoconv kernels warm

        GENOCONV_HOME=/shared/genoconv genoconv kernels warm --arch sm_90
    """
    from genoconv.pipelines.kernels.run import local_archs
    from genoconv.pipelines.kernels.run import warm as compile_all

    archs = options.arch or local_archs()
    count = compile_all(archs, quiet=options.quiet)
    console.summary(f"{count} kernels for {', '.join(archs)} are in the cache")


@app.command()
def clear() -> None:
    """Empty the cache of compiled kernels.

    **Examples**

        genoconv kernels clear
    """
    from genoconv.pipelines.kernels.run import clear as empty

    console.summary(f"{empty()} kernels removed")


@app.command()
@takes(DoctorOptions, configurable=False)
def doctor(options: DoctorOptions) -> None:
    """Run every length on this machine: errors against float64, and times against torch.fft.

    Says which backend will be used, also where there is no GPU. Exits 1 where a result is wrong.

    **Examples**

        genoconv kernels doctor

        genoconv kernels doctor --device cuda:1
    """
    from genoconv.pipelines.kernels.run import self_test

    for line in self_test(options.device):
        console.line(line)
