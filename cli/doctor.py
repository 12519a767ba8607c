"""``genoconv doctor``."""

from genoconv.cli import console
from genoconv.cli.options import takes
from genoconv.pipelines.options import NoOptions
from genoconv.pipelines.outcome import Outcome


@takes(NoOptions, configurable=False)
def doctor(options: NoOptions) -> Outcome:
    """Check the installation: Python, torch, CUDA, driver, NVRTC, kernels, cache, disk and genomes.

    Also reports which backend will be used. Exits with 1 if something that genoconv needs is missing or broken.

    **Examples**

        genoconv doctor

        GENOCONV_HOME=/scratch/genoconv genoconv doctor
    """
    from genoconv.pipelines.doctor import examine, verdict

    found = []
    for finding in examine():
        mark = "ok " if finding.ok else "BAD"
        console.line(f"{mark} {finding.subject:<18} {finding.value}{'; ' + finding.advice if finding.advice else ''}")
        found.append(finding)
    console.line(verdict())
    broken = sum(not finding.ok for finding in found)
    return Outcome(
        counts={"findings": len(found), "broken": broken},
        result={"findings": [vars(finding) for finding in found], "verdict": verdict()},
        exit_code=1 if broken else 0,
    )
