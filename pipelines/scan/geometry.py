"""How a model's windows are laid for ``genoconv scan``: window, context and step from what was asked for."""

import logging
from typing import TYPE_CHECKING, NamedTuple

from genoconv.errors import UsageError
from genoconv.pipelines.lengths import DEFAULT_WINDOW

if TYPE_CHECKING:
    from genoconv.models.config import ModelConfig
    from genoconv.models.hyena import HyenaDNA
    from genoconv.tasks.scan import Scanner
    from genoconv.variants.reference import Reference

log = logging.getLogger(__name__)


class Geometry(NamedTuple):
    """Bases that are read at once, that each position has before it at least, and that each window predicts."""

    window: int
    context: int
    step: int

    def scanner(self, model: "HyenaDNA", reference: "Reference", *, batch_size: int | None) -> "Scanner":
        """What reads tiles of ``reference`` with ``model``, where it is."""
        from genoconv.tasks.scan import Scanner

        device = next(model.parameters()).device
        return Scanner(
            model, reference=reference, context=self.context, step=self.step, device=device, batch_size=batch_size
        )


def geometry(sizes: "ModelConfig", *, window: int | None = None, context: int | None = None) -> Geometry:
    """The windows of a model; by default as long as those in training, up to 32,768, and half of it as context.

    Raises:
        UsageError: longer than the model reads, or a context that leaves no positions.
    """
    limit, trained = sizes.input_limit, sizes.max_bases
    window = window or min(DEFAULT_WINDOW, trained)
    if limit is not None and window > trained:
        raise UsageError(f"--window {window:,}: this model reads up to {trained:,} bases")
    context = window // 2 if context is None else context
    step = (window - context) // 2 * 2
    if step < 2:
        raise UsageError(f"--context {context:,}: must be at least 2 less than the window of {window:,} bases")
    if window > trained:
        log.warning("%s", sizes.beyond(window))
    return Geometry(context + step, context, step)
