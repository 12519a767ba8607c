"""The options of ``genoconv workflow init``, ``gather`` and ``report``."""

from pathlib import Path
from typing import Annotated

from genoconv.pipelines.options import Options, argument, option
from genoconv.pipelines.shared_options import Force, Quiet


class InitOptions(Options):
    """One call of ``genoconv workflow init``."""

    folder: Annotated[Path, argument("DIR", written=True, help="Project folder to create.")]
    force: Force = False
    quiet: Quiet = False


class GatherOptions(Options):
    """One call of ``genoconv workflow gather``."""

    shards: Annotated[tuple[Path, ...], argument("SHARD...", help="Shards 1 to N, in that order.")]
    output: Annotated[
        Path, option("--output", "-o", metavar="FILE", written=True, help="Joined output: .vcf, .vcf.gz or .bcf.")
    ]
    force: Force = False
    quiet: Quiet = False


class ReportOptions(Options):
    """One call of ``genoconv workflow report``."""

    samples: Annotated[
        tuple[str, ...],
        argument("[NAME=]VCF...", help="Scored files; a sample without a name is named after its file."),
    ]
    table: Annotated[
        Path, option("--table", metavar="TSV", written=True, help="Table with one row per sample and score field.")
    ]
    plot: Annotated[Path, option("--plot", metavar="PNG", written=True, help="Plot of the score histograms.")]
    force: Force = False
    quiet: Quiet = False
