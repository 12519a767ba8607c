"""``genoconv doctor``."""

import typer

from genoconv.cli import console


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
