"""The errors that genoconv raises on purpose.

Every message is one line that names what failed (file, record, value), the limit, and the remedy. The command line
prints it after ``genoconv: error:`` and exits with ``exit_code``: 2 for a usage error, 1 for a fault in the data, the
network, the disk or the machine.
"""


class GenoconvError(Exception):
    """Base class of all errors; never raised itself."""

    exit_code = 1


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a run that can be resumed; the message says how to resume it."""


class UsageError(GenoconvError, ValueError):
    """A usage error: an invalid option or configuration key, or options that exclude each other."""

    exit_code = 2


class DataError(GenoconvError, ValueError):
    """An input file has invalid content. The message names the file and the record or line."""


class DownloadError(GenoconvError, OSError):
    """A file could not be downloaded, or the download failed verification."""


class OutputError(GenoconvError, OSError):
    """An output could not be written: it already exists, the disk is full, or the folder is read-only."""


class ModelError(GenoconvError, ValueError):
    """A model folder or checkpoint is incomplete, misshapen or unsafe to load."""


class TrainingError(GenoconvError, RuntimeError):
    """Training cannot continue: the loss has diverged, or there are no training data."""


class DivergedError(TrainingError):
    """The loss has diverged or become NaN; a lower learning rate may help."""


class KernelError(GenoconvError, RuntimeError):
    """A CUDA kernel was requested that cannot be used for this call on this machine."""


class KernelCompileError(KernelError):
    """NVRTC could not compile a kernel. The message contains the plan, the target and the first error line."""
