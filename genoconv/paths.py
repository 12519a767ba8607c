"""Where genoconv keeps and finds files: the only path logic in the project."""

import os
from pathlib import Path

from genoconv.errors import UsageError


def shipped(name: str) -> Path:
    """Folder of data that ships with genoconv: ``csrc``, ``data_manifests`` or ``pipelines``.

    In an installed wheel the folder lies inside the package; in a checkout (also an editable install) beside it.

    Raises:
        FileNotFoundError: the installation lacks that folder.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"genoconv's installation lacks the folder {name!r}; reinstall genoconv")


def home_dir() -> Path:
    """Root of everything that genoconv stores by itself: ``GENOCONV_HOME``, else the user's cache directory.

    The folder is not created here: whoever writes below it creates what it needs.

    Raises:
        UsageError: ``GENOCONV_HOME`` begins with a user that does not exist.
    """
    override = os.environ.get("GENOCONV_HOME")
    if override:
        try:
            return Path(override).expanduser()
        except RuntimeError as error:
            raise UsageError(f"GENOCONV_HOME={override}: {error}") from None
    import platformdirs  # only here, so that a checkout runs without it where GENOCONV_HOME is set

    return platformdirs.user_cache_path("genoconv", appauthor=False)


def genomes_dir() -> Path:
    """Fetched and registered genomes, one folder each."""
    return home_dir() / "genomes"


def models_dir() -> Path:
    """Imported models, one folder each."""
    return home_dir() / "models"


def kernels_dir() -> Path:
    """Compiled kernels (cubins)."""
    return home_dir() / "kernels"


def scratch_dir() -> Path:
    """Derived files that can be made again, such as indexes of FASTA files in read-only folders."""
    return home_dir() / "scratch"
