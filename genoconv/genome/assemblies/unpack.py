"""Undoing gzip with a limit."""

import gzip
import os
import zlib
from pathlib import Path

from genoconv.errors import DataError, OutputError
from genoconv.genome.assemblies.transfer.part import Advance
from genoconv.workfiles import open_private

_CHUNK = 1 << 20


def inflate(packed: Path, target: Path | None, *, limit: int, advance: Advance) -> None:
    """Undo gzip where there is any, into ``target`` or, for None, only to see that it can be done.

    Raises:
        DataError: damaged or cut data, or more than ``limit`` bytes of it.
        OSError: the disk refused.
    """
    with packed.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    written = 0
    try:
        with (
            gzip.open(packed) if zipped else packed.open("rb") as source,
            open_private(target, fresh=True) if target else Path(os.devnull).open("wb") as sink,
        ):
            while block := source.read(_CHUNK):
                written += len(block)
                if written > limit:
                    raise DataError(f"unpacks to more than {limit:,} bytes, far more than such a file should contain")
                sink.write(block)
                advance(len(block))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"the gzip data is damaged or truncated ({error})") from error
    except OutputError:  # what has the target's name is not ours
        raise
    except OSError:
        if target is not None:
            target.unlink(missing_ok=True)
        raise
