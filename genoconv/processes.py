"""Which process left a file: a tag for names of temporary files, and whether the process behind a tag still runs.

And which permissions the files of this process get.
"""

import functools
import hashlib
import os
import re
import socket
import threading
from pathlib import Path

_asking = threading.Lock()


def tag() -> str:
    """``HOST-PID-START`` of this process, for the name of a file that only this process may need.

    HOST is a digest of the host's name and of the process-id namespace (two containers can share a folder and a host
    name), START is when the process began, because ids are reused.
    """
    return f"{_host()}-{os.getpid()}-{_start(os.getpid()) or 0}"


def ended(tag: str) -> bool:
    """Whether the process that :func:`tag` described has certainly ended.

    False for a process of another host, of which nothing is known here, and for text that is not a tag.
    """
    host, _, process = tag.partition("-")
    pid, _, start = process.partition("-")
    if host != _host() or not (pid.isascii() and pid.isdigit() and start.isascii() and start.isdigit()):
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    now = _start(int(pid))
    return now is not None and now != int(start)


def umask() -> int:
    """The permissions that new files of this process do not get.

    Asking the system means changing them for a moment, in which a file of another thread would be open to all. Linux
    also says it in a file.
    """
    try:
        status = Path("/proc/self/status").read_bytes()
    except OSError:
        status = b""
    if found := re.search(rb"^Umask:\s*([0-7]+)$", status, flags=re.M):
        return int(found[1], 8)
    with _asking:
        mask = os.umask(0)
        os.umask(mask)
    return mask


@functools.cache
def _host() -> str:
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{socket.gethostname()} {namespace}".encode()).hexdigest()[:8]


def _start(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine did; None where the system does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field is the command in parentheses, and may hold anything; the start is field 22.
    return int(text.rpartition(b")")[2].split()[19])
