"""What the processes in ``unit/test_workers.py`` do; in a module of its own because they import it by name."""

import os
import signal
import time

from genoconv.errors import ModelError
from genoconv.tasks import shares


def doubling(device):
    """Doubles numbers; the first of them takes longest."""

    def work(piece, advance):
        time.sleep(0.3 if piece == 0 else 0)
        advance(1)
        return 2 * piece, os.getpid()

    return work


def refusing(device):
    def work(piece, advance):
        if piece == 3:
            raise ModelError(f"piece 3 is beyond {device}")
        return piece

    return work


def failing(device):
    return lambda piece, advance: 1 // (3 - piece)


def dying(device):
    def work(piece, advance):
        if piece == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return piece

    return work


class Unready:
    """A maker that ends its process while the process reads what it is to do; pieces wait for it already."""

    def __call__(self, device):
        return lambda piece, advance: piece

    def __reduce__(self):
        return os._exit, (3,)


def echoing(device):
    """Gives a piece back, whatever its size."""
    return lambda piece, advance: piece


def memory_share(device):
    """How many processes share the memory of the GPU."""
    return lambda piece, advance: shares.processes


def threads(device):
    """How many threads torch has in each process; beside a GPU there are many at first."""
    import torch

    if device.startswith("cuda"):
        torch.set_num_threads(4)
    return lambda piece, advance: torch.get_num_threads()


def waiting(device):
    """Pieces (number, folder): the first is done only after the eleventh has been computed by somebody else."""

    def work(piece, advance):
        number, folder = piece
        if number == 10:
            (folder / "done").touch()
        deadline = time.monotonic() + 400
        while number == 0 and not (folder / "done").exists():
            if time.monotonic() > deadline:
                raise ModelError("piece 10 waits behind piece 0")
            time.sleep(0.01)
        return number

    return work


class Loading:
    """A maker; Ctrl-C comes while a process reads what it is to do."""

    def __call__(self, device):
        return lambda piece, advance: piece

    def __reduce__(self):
        return _struck, ()


def _struck():
    os.kill(os.getpid(), signal.SIGINT)
    return Loading()


def interrupted(device):
    """Ctrl-C in a terminal reaches the workers too."""

    def work(piece, advance):
        os.kill(os.getpid(), signal.SIGINT)
        return piece

    return work
