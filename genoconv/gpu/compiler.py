"""NVRTC: one CUDA source to a cubin. Needs neither a GPU nor a driver."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from genoconv.errors import KernelCompileError
from genoconv.paths import shipped

STANDARD = "c++17"


@dataclass(frozen=True)
class Kernel:
    """One kernel to compile and launch.

    Attributes:
        source: the file below ``csrc``, without ``.cu``; its last part is the entry point.
        defines: sorted (macro, value) pairs.
        smem_bytes: dynamic shared memory of a block.
        threads: of a block.
    """

    source: str
    defines: tuple[tuple[str, int], ...]
    smem_bytes: int
    threads: int

    @property
    def name(self) -> str:
        """The entry point."""
        return self.source.rpartition("/")[2]


@cache
def missing() -> str | None:
    """Why nothing can be compiled on this machine, with the remedy; None if NVRTC is installed."""
    try:
        compiler_version()
    except (ImportError, RuntimeError, OSError) as error:
        reason = next(iter(str(error).splitlines()), "")[:80]
        return f"the CUDA run-time compiler is not installed ({reason}); run: pip install 'genoconv[cuda]'"
    return None


@cache
def compiler_version() -> str:
    """Version of NVRTC, such as ``13.0``; an ImportError if NVRTC or cuda-core is not installed."""
    import_module("cuda.core")  # completely, and here: compiling threads would find it half imported
    from cuda.bindings import nvrtc

    status, major, minor = nvrtc.nvrtcVersion()
    if int(status) != 0:
        raise RuntimeError(f"nvrtcVersion failed with {status}")
    return f"{major}.{minor}"


def compile_source(source: str, defines: Sequence[tuple[str, int]], *, arch: str) -> bytes:
    """The cubin of ``csrc/<source>.cu``, compiled now.

    Raises:
        KernelCompileError: the compiler rejected it; carries its first error.
    """
    from cuda.core import Program, ProgramOptions

    folder = shipped("csrc")
    options = ProgramOptions(
        name=f"{source}.cu",
        arch=arch,
        std=STANDARD,
        include_path=str(folder),
        define_macro=[(macro, str(value)) for macro, value in defines],
    )
    text = (folder / f"{source}.cu").read_text(encoding="utf-8")
    try:
        code = Program(text, "c++", options=options).compile("cubin").code
    except Exception as error:
        # NVRTC's log comes as the text of the binding's own exception type.
        first = re.search(r"^.*\berror\b.*$", str(error), flags=re.M)
        shown = first.group(0).strip() if first else " ".join(str(error).split())[:300]
        flags = " ".join(f"{macro}={value}" for macro, value in defines)
        raise KernelCompileError(f"csrc/{source}.cu does not compile for {arch} with {flags}: {shown}") from error
    return bytes(code)
