"""The line of ``genoconv --version``."""

from importlib.metadata import PackageNotFoundError, version

from genoconv import __version__
from genoconv.gpu.targets import ARCHS


def version_line() -> str:
    """Name the versions that decide a result, and the GPUs that kernels are known for, without importing torch."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "not installed"
    return f"genoconv {__version__} (torch {torch}, kernels: {' '.join(ARCHS)})"
