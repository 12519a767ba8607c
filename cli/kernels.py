"""``genoconv kernels list | explain | warm | clear | doctor``."""

import typer

from genoconv.cli import console
from genoconv.cli.options import takes
from genoconv.pipelines.kernels.options import DoctorOptions, ExplainOptions, WarmOptions
from genoconv.pipelines.options import NoOptions
from genoconv.pipelines.outcome import Outcome

app = typer.Typer(name="kernels", help="Inspect, compile and test the fused convolution kernels.", no_args_is_help=True)


@app.command("list")
@takes(NoOptions, configurable=False)
def list_kernels(options: NoOptions) -> Outcome:
    """List the compiled kernels in the cache.

    **Examples**

        genoconv kernels list
    """
    from genoconv.pipelines.kernels.run import cached

    found = cached()
    for entry in found:
        console.line(f"{entry.bytes:>9,}  {entry.path.name}")
    size = sum(entry.bytes for entry in found)
    return Outcome(
        line=f"{len(found)} kernels, {size / 1e6:.1f} MB",
        counts={"kernels": len(found), "bytes": size},
        result=[{"path": entry.path, "bytes": entry.bytes} for entry in found],
    )


@app.command()
@takes(ExplainOptions, configurable=False)
def explain(options: ExplainOptions) -> Outcome:
    """Explain how a convolution of a given length is computed.

    **Examples**

        genoconv kernels explain --length 4096

        genoconv kernels explain --length 8192 --arch sm_86 --dtype fp16

        genoconv kernels explain --length 2400000 --taps 8192
    """
    from genoconv.pipelines.kernels.run import explain as describe

    text = describe(options)
    console.data(f"{text}\n")
    return Outcome(result={"explanation": text.splitlines()})


@app.command()
@takes(WarmOptions)
def warm(options: WarmOptions) -> Outcome:
    """Compile all kernels ahead of time, for this machine's GPUs or for other architectures.

    **Examples**

        genoconv kernels warm

        GENOCONV_HOME=/shared/genoconv genoconv kernels warm --arch sm_90
    """
    from genoconv.pipelines.kernels.run import local_archs
    from genoconv.pipelines.kernels.run import warm as compile_all

    archs = options.arch or local_archs()
    count = compile_all(archs, quiet=options.quiet)
    return Outcome(line=f"{count} kernels for {', '.join(archs)} are in the cache", counts={"kernels": count})


@app.command()
@takes(NoOptions, configurable=False)
def clear(options: NoOptions) -> Outcome:
    """Delete all compiled kernels from the cache.

    **Examples**

        genoconv kernels clear
    """
    from genoconv.pipelines.kernels.run import clear as empty

    removed = empty()
    return Outcome(line=f"{removed} kernels removed", counts={"kernels": removed})


@app.command()
@takes(DoctorOptions, configurable=False)
def doctor(options: DoctorOptions) -> Outcome:
    """Test the kernels on this machine: errors against float64, and times against torch.fft.

    Also reports which backend will be used, even without a GPU. Exits with 1 if a result is wrong.

    **Examples**

        genoconv kernels doctor

        genoconv kernels doctor --device cuda:1
    """
    from genoconv.pipelines.kernels.run import self_test

    lines = []
    for line in self_test(options.device):
        console.line(line)
        lines.append(line)
    return Outcome(result={"report": lines})
