"""Write a workflow project: the shipped template, ready to be edited and run."""

import shutil
from pathlib import Path

from genoconv.atomic import atomic_dir, refuse_existing
from genoconv.paths import shipped


def init_project(folder: Path, *, force: bool) -> list[Path]:
    """Make ``folder`` a workflow project.

    Args:
        folder: must not exist, or be empty, unless ``force``.
        force: replace a project that is there, with everything in it.

    Returns:
        Its files, relative to ``folder``.

    Raises:
        OutputError: the folder exists, or cannot be written.
    """
    template = shipped("pipelines") / "workflow" / "template"
    empty = folder.is_dir() and not any(folder.iterdir())
    refuse_existing(folder, force=force or empty)
    with atomic_dir(folder) as temporary:
        shutil.copytree(template, temporary, dirs_exist_ok=True)
    return sorted(path.relative_to(template) for path in template.rglob("*") if path.is_file())
