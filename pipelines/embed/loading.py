"""The model of ``genoconv embed``, ready to read, with the options that it must allow."""

import logging

from genoconv.errors import UsageError
from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.pipelines.loading import load
from genoconv.tasks.embed import Embedder, most_bases
from genoconv.tasks.pooling import Pool, Reading

log = logging.getLogger(__name__)


def embedder_of(options: EmbedOptions, device: str) -> Embedder:
    """The model on ``device``.

    Raises:
        ModelError: no such model, or one that cannot be used.
        UsageError: an option that this model does not allow.
    """
    from genoconv.models.published.special_tokens import Framing, SpecialTokens

    model = load(options, device=device)
    framing = Framing(SpecialTokens(options.special_tokens), options.left_padding)
    extra, blocks = framing.policy.extra, model.config.n_layer
    if framing.length is not None and not extra < framing.length <= model.config.max_length:
        raise UsageError(
            f"--hyenadna-left-padding {framing.length}: this model reads up to {model.config.max_length:,} tokens, "
            f"and {extra} of them {'is' if extra == 1 else 'are'} special; give {extra + 1} or more"
        )
    longest = most_bases(model.config, framing)
    unlimited = model.config.input_limit is None and framing.length is None
    for option, value in (("--window", options.window), ("--max-length", options.max_length)):
        if value is not None and not 1 <= value <= (value if unlimited else longest):
            beside = " beside the special tokens" if extra else ""
            raise UsageError(f"{option} {value}: this model reads 1 to {longest:,} bases at once{beside}")
    if options.layer is not None and not -blocks <= options.layer < blocks:
        raise UsageError(
            f"--layer {options.layer}: this model has {blocks} blocks, 0 to {blocks - 1} or -{blocks} to -1"
        )
    asked = max(options.window or 0, options.max_length or 0)
    if asked > longest:
        log.warning("%s", model.config.beyond(asked))
    return Embedder(
        model,
        pool=Pool(options.pool),
        reading=Reading(options.strand),
        layer=options.layer,
        max_length=options.max_length or (options.window if asked > longest else None),
        batch_size=options.batch_size,
        framing=framing,
    )
