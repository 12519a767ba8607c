"""Pictures that commands draw with matplotlib, which is not always installed."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genoconv import atomic
from genoconv.errors import UsageError
from genoconv.paths import scratch_dir

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float, **attributes: Any) -> "Figure | None":
    """An empty figure of so many inches; None where matplotlib is not installed."""
    os.environ.setdefault("MPLCONFIGDIR", str(scratch_dir() / "matplotlib"))  # its font list stays in our cache
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    return Figure(figsize=(width, height), **attributes)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write it in the format that the name of ``path`` ends with."""
    with atomic.atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix[1:].lower())


def require_matplotlib(name: str) -> None:
    """Raise UsageError where it is not installed; ``name`` is what needs it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageError(f"{name} needs matplotlib: pip install 'genoconv[plot]'") from None
