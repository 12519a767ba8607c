"""Join the shards of a scored VCF into the file that one run without shards writes, byte for byte."""

import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from genoconv.atomic import atomic_file, refuse_existing, refuse_inputs
from genoconv.errors import DataError
from genoconv.variants.reader import open_variants
from genoconv.variants.records import Record, VariantFile
from genoconv.variants.survey import survey
from genoconv.variants.writer import RecordText, install_index, open_writer, output_kind, write_index

log = logging.getLogger(__name__)


def gather(shards: Sequence[Path], output: Path, *, force: bool) -> int:
    """Write the records of ``shards``, in the order given, to ``output`` and index it where its format has an index.

    Args:
        shards: outputs of ``genoconv score-variants --shard``, first to last.
        output: ``.vcf``, ``.vcf.gz`` or ``.bcf``.
        force: replace ``output``.

    Returns:
        Number of records.

    Raises:
        DataError: the headers differ, or the shards overlap or are in another order than the records of one file.
        OutputError: ``output`` exists or cannot be written.
        UsageError: ``output`` is one of the shards.
    """
    refuse_inputs([output], inputs={f"shard {number}": path for number, path in enumerate(shards, 1)})
    refuse_existing(output, force=force)
    kind = output_kind(output, None)
    parts = [open_variants(shard) for shard in shards]
    _check_headers(parts)
    found = survey(_records(parts), sites=0, keys=False)
    _check_order(parts, is_sorted=found.is_sorted)
    with atomic_file(output) as temporary:
        with open_writer(temporary, kind=kind, header=parts[0].header) as put:
            text = RecordText(parts[0].header, kind=kind)
            for record in _records(parts):
                put(text(record))
        index = write_index(temporary, kind=kind) if found.is_sorted else None
    if index is not None:
        install_index(index, output)
    elif kind in "zb":
        log.warning("%s: the records are not sorted, so no index was written", output)
    return found.records


def _records(parts: Sequence[VariantFile]) -> Iterator[Record]:
    return itertools.chain.from_iterable(part.records() for part in parts)


def _check_headers(parts: Sequence[VariantFile]) -> None:
    for part in parts[1:]:
        pairs = itertools.zip_longest(parts[0].header, part.header, fillvalue="nothing")
        for number, (first, other) in enumerate(pairs, 1):
            if first != other:
                raise DataError(
                    f"{part.name}: header line {number} is {other[:200]!r}, but {first[:200]!r} in {parts[0].name}; "
                    "shards of one run have the same header"
                )


def _check_order(parts: Sequence[VariantFile], *, is_sorted: bool) -> None:
    """Refuse shards in another order than 1 to N: each is sorted, all together are not."""
    if is_sorted or not all(survey(part.records(), sites=0, keys=False).is_sorted for part in parts):
        return
    names = ", ".join(part.name for part in parts)
    raise DataError(f"these files are not in order: {names}; list shards 1 to N in that order")
