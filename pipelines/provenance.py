"""How an output says where its numbers come from."""

from pathlib import Path


def file_name(path: Path) -> str:
    """The last part of a path, also of ``.`` or ``dir/..``."""
    return path.resolve().name
