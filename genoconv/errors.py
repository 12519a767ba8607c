"""The errors that genoconv raises on purpose.

Every message is one line that says what was wrong (file, record, value), which limit it met and what to do next.
The command line prints it after ``genoconv: error:`` and exits with ``exit_code``: 2 for a mistake in how the
command was called, 1 for a fault in the data, the network, the disk or the machine.
"""


class GenoconvError(Exception):
    """Base of all of them; never raised itself."""

    exit_code = 1


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a run that can be resumed; the message says how."""


class UsageError(GenoconvError, ValueError):
    """The call itself is wrong: an invalid option or configuration key, or options that exclude each other."""

    exit_code = 2


class DataError(GenoconvError, ValueError):
    """An input file does not hold what it should. The message names the file and the record or line."""


class DownloadError(GenoconvError, OSError):
    """A file could not be fetched, or what arrived is not what was promised."""


class OutputError(GenoconvError, OSError):
    """An output could not be written: it exists already, the disk is full, the folder is read-only."""


class ModelError(GenoconvError, ValueError):
    """A model folder or checkpoint is incomplete, misshapen or unsafe to load."""


class TrainingError(GenoconvError, RuntimeError):
    """Training cannot continue: the loss is NaN or exploding, or there is nothing to learn from."""


class DivergedError(TrainingError):
    """The loss is NaN or exploding; a lower learning rate may help."""


class KernelError(GenoconvError, RuntimeError):
    """A CUDA kernel was asked for and cannot serve this call on this machine."""


class KernelCompileError(KernelError):
    """NVRTC refused a kernel. The message carries the plan, the target and the compiler's first error line."""
