"""The model of a run, in the precision that its options ask for."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from typing import Any, Self

    from genoconv.models.hyena import HyenaDNA


class ModelOptions(Protocol):
    """Options of a command that computes with a model."""

    @property
    def model(self) -> Path:
        """Model folder, or the name of one."""

    @property
    def device(self) -> str:
        """Where to compute, by default."""

    @property
    def precision(self) -> str:
        """Arithmetic of the model."""

    def model_copy(self, *, update: "dict[str, Any]") -> "Self":
        """The options with some changes."""


M = TypeVar("M", bound=ModelOptions)


def with_precision(options: M) -> M:
    """The options with the precision that the model has here; a resumed run must have the same.

    Raises:
        UsageError: the device lacks it, or there is no such device.
    """
    from genoconv.models.devices import resolve_precision

    precision = resolve_precision(options.precision, device=options.device)
    return options.model_copy(update={"precision": precision})


def load(options: ModelOptions, *, device: str | None = None) -> "HyenaDNA":
    """The model on ``device``, that of the options if None; their precision is settled, see :func:`with_precision`.

    Raises:
        ModelError: no such model, or one that cannot be used.
    """
    from genoconv.models import load_model
    from genoconv.models.devices import DTYPES

    return load_model(options.model, device=device or options.device, dtype=DTYPES[options.precision])
