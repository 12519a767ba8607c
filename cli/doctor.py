"""``genoconv doctor`` and the line behind ``genoconv --version``."""

import typer

from genoconv.cli import console


def version_line() -> str:
    """Name the versions that decide a result, without importing torch."""
    from importlib.metadata import PackageNotFoundError, version

    from genoconv import __version__
    from genoconv.gpu.targets import KERNEL_TARGETS

    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "not installed"
    return f"genoconv {__version__} (torch {torch}, kernels: {' '.join(KERNEL_TARGETS)})"


def doctor() -> None:
    """Report Python, torch, CUDA, driver, NVRTC, kernels, cache, disk and genomes, and what will be used.

    Exits 1 if something that genoconv needs is missing or broken.

    **Examples**

        genoconv doctor

        GENOCONV_HOME=/scratch/genoconv genoconv doctor
    """
    from genoconv.pipelines.doctor import examine, verdict

    broken = 0
    for finding in examine():
        mark = "ok " if finding.ok else "BAD"
        console.line(f"{mark} {finding.subject:<18} {finding.value}{'; ' + finding.advice if finding.advice else ''}")
        broken += not finding.ok
    console.line(verdict())
    if broken:
        raise typer.Exit(1)
