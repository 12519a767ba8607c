"""The options of ``genoconv genomes``."""

from pathlib import Path
from typing import Annotated, ClassVar

from genoconv.pipelines.options import Options, argument, option
from genoconv.pipelines.shared_options import Quiet

Name = Annotated[str, argument("NAME", help="Name of a genome; see genoconv genomes list.")]


class NameOptions(Options):
    """One call of ``genoconv genomes show``."""

    name: Name


class FetchOptions(Options):
    """One call of ``genoconv genomes fetch``."""

    name: Name
    mirror: Annotated[
        str | None,
        option("--mirror", metavar="URL|DIR", help="URL or folder of downloaded files to try first."),
    ] = None
    offline: Annotated[bool, option("--offline", help="Never use the network.")] = False
    record: Annotated[
        bool,
        option(
            "--record",
            help="Accept a file that the provider has changed, if the manifest pins no checksum for it.",
        ),
    ] = False
    quiet: Quiet = False


class VerifyOptions(Options):
    """One call of ``genoconv genomes verify``."""

    name: Name
    quiet: Quiet = False


class PathOptions(Options):
    """One call of ``genoconv genomes path``."""

    name: Name
    annotation: Annotated[bool, option("--annotation", "-a", help="Print the path of the annotation instead.")] = False


class AddOptions(Options):
    """One call of ``genoconv genomes add``."""

    keeps_paths: ClassVar[bool] = True

    name: Name
    fasta: Annotated[Path, option("--fasta", "-f", metavar="FILE", help="FASTA: plain, bgzip or gzip.")]
    annotation: Annotated[
        Path | None, option("--annotation", "-a", metavar="FILE", help="Gene annotation: GTF or GFF3.")
    ] = None
    force: Annotated[bool, option("--force", help="Replace an existing entry with that name.")] = False
    quiet: Quiet = False


class RemoveOptions(Options):
    """One call of ``genoconv genomes remove``."""

    name: Name
    quiet: Quiet = False
