"""Compiled kernels on disk, below ``GENOCONV_HOME/kernels``.

A cubin's name is a digest of everything that decides its content: the source and the headers that it includes, however
deep, the defines, the flags, the compiler's version and the architecture. Other sources do not matter, so a change to
one kernel leaves the others' cubins valid. Each file begins with the digest of its content: a damaged one is a miss.
"""

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue

from genoconv import atomic
from genoconv.errors import KernelError
from genoconv.gpu.compiler import STANDARD, Kernel, compile_source, compiler_version, missing
from genoconv.paths import kernels_dir, shipped

_DIGEST_BYTES = 32
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', flags=re.M)

_running: dict[Path, Future[bytes]] = {}
"""What a thread of this process is compiling: others that need the same kernel wait for it."""
_lock = threading.Lock()


@dataclass(frozen=True)
class CacheEntry:
    """One compiled kernel on disk."""

    path: Path
    bytes: int


def compile_kernel(source: str, defines: Iterable[tuple[str, int]], *, arch: str) -> bytes:
    """The cubin of ``csrc/<source>.cu`` with ``defines`` for one architecture, from the cache or compiled now.

    Raises:
        KernelCompileError: the compiler rejected it.
        KernelError: no compiler is installed.
    """
    reason = missing()
    if reason:
        raise KernelError(reason)
    pairs = tuple(sorted(defines))
    entry = kernels_dir() / f"{source.replace('/', '_')}-{arch}-{key(source, pairs, arch)}.cubin"
    with _lock:
        other = _running.get(entry)
        if other is None:
            own = _running[entry] = Future()
    if other is not None:
        return other.result()
    try:
        cubin = _read(entry)
        if cubin is None:
            cubin = compile_source(source, pairs, arch=arch)
            _write(entry, cubin)
    except BaseException as error:
        del _running[entry]
        own.set_exception(error)
        raise
    del _running[entry]  # before those that wait can ask again: it is on disk now
    own.set_result(cubin)
    return cubin


def compile_all(kernels: Iterable[Kernel], *, arch: str) -> None:
    """Bring ``kernels`` to the cache, one per processor at a time; raises what the first that fails raises."""
    missing()  # imports the compiler here: threads would find it half imported
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for compiled in [pool.submit(compile_kernel, k.source, k.defines, arch=arch) for k in kernels]:
            compiled.result()


def compile_ahead(kernels: Iterable[Kernel], *, arch: str) -> None:
    """Begin to bring ``kernels`` to the cache, in the order given, and return at once.

    Whoever needs one of them compiles it or waits for it, and meets its errors: here they are dropped. A process that
    ends earlier waits only for those in work.
    """
    if missing():
        return
    waiting = SimpleQueue[Kernel]()
    for kernel in kernels:
        waiting.put(kernel)

    def work() -> None:
        with contextlib.suppress(Empty, KernelError):
            while threading.main_thread().is_alive():
                kernel = waiting.get_nowait()
                compile_kernel(kernel.source, kernel.defines, arch=arch)

    for _ in range(min(waiting.qsize(), os.cpu_count() or 1)):
        threading.Thread(target=work).start()  # as a daemon it would crash in the compiler at exit


def key(source: str, defines: Sequence[tuple[str, int]], arch: str) -> str:
    """Digest of all that decides a cubin's content."""
    digest = hashlib.sha256(sources_digest(source))
    flags = (f"{macro}={value}" for macro, value in defines)
    digest.update("\0".join((source, *flags, arch, STANDARD, compiler_version())).encode())
    return digest.hexdigest()[:32]


@cache
def sources_digest(source: str) -> bytes:
    """Digest of a kernel's source and of every header that it includes."""
    digest = hashlib.sha256()
    folder = shipped("csrc")
    for path in sorted(included(folder / f"{source}.cu", folder)):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.digest()


def included(path: Path, folder: Path) -> set[Path]:
    """``path`` and all headers below ``folder`` that it includes, directly or not."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        here = waiting.pop()
        if here not in found:
            found.add(here)
            waiting += _includes(here, folder)
    return found


def _includes(path: Path, folder: Path) -> Iterator[Path]:
    for name in _INCLUDE.findall(path.read_text(encoding="utf-8")):
        yield next(candidate for candidate in (folder / name, path.parent / name) if candidate.is_file())


def _read(entry: Path) -> bytes | None:
    try:
        data = entry.read_bytes()
    except OSError:
        return None
    cubin = data[_DIGEST_BYTES:]
    return cubin if cubin and hashlib.sha256(cubin).digest() == data[:_DIGEST_BYTES] else None


def _write(entry: Path, cubin: bytes) -> None:
    # A cache that cannot be written (read-only home, full disk) costs time at the next start, nothing else.
    with contextlib.suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        with atomic.atomic_file(entry) as temporary:
            temporary.write_bytes(hashlib.sha256(cubin).digest() + cubin)


def entries() -> list[CacheEntry]:
    """What the cache holds, by name."""
    return [CacheEntry(path, path.stat().st_size) for path in sorted(kernels_dir().glob("*.cubin"))]


def clear() -> int:
    """Empty the cache; return how many kernels were in it."""
    found = entries()
    for entry in found:
        entry.path.unlink(missing_ok=True)
    return len(found)
