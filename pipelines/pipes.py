"""Inputs that are pipes, as ``<(zcat genes.gtf.gz)`` of a shell: they can be read only once, runs read files again."""

import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from genoconv.errors import OutputError, UsageError
from genoconv.pipelines.options import Options, Parameter, parameters, value_of

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Options)

# Read as streams by the commands, or refused by them because bases are read in any order.
_OWN = ("fasta", "vcf")


@contextmanager
def copied(options: R) -> Iterator[R]:
    """The options with a copy in place of each pipe that they read, which is there within the block.

    Raises:
        OutputError: a pipe cannot be copied.
    """
    read = (parameter.key for parameter in _read(type(options)) if parameter.key not in _OWN)
    values = {key: value_of(options, key) for key in read}
    pipes = dict.fromkeys(path for value in values.values() for path in _items(value) if _is_pipe(path))
    if not pipes or options.keeps_paths:
        yield options
        return
    with tempfile.TemporaryDirectory(prefix="genoconv-") as folder:
        copies = {pipe: _copy(pipe, Path(folder)) for pipe in pipes}
        changed = {
            key: tuple(copies.get(path, path) for path in value) if isinstance(value, tuple) else copies[value]
            for key, value in values.items()
            if not copies.keys().isdisjoint(_items(value))
        }
        yield options.with_copies(changed, pipes={copy: pipe for pipe, copy in copies.items()})


def refuse(record: type[Options], given: Mapping[str, Any]) -> None:
    """Refuse pipes where the paths are kept, to resume a run or for later ones.

    Args:
        record: of the command.
        given: dotted key -> value of the options on the command line.

    Raises:
        UsageError: an option names a pipe.
    """
    for parameter in _read(record) if record.keeps_paths else ():
        if parameter.key == "file":  # the configuration itself, of which the run keeps a copy
            continue
        for path in filter(_is_pipe, _items(given.get(parameter.key))):
            raise UsageError(
                f"{parameter.option.label} {path}: a pipe, which can be read only once, but this command keeps the path"
                " to read it again; write it to a file first"
            )


def _read(record: type[Options]) -> Iterator[Parameter]:
    return (one for one in parameters(record) if not one.option.written and not one.option.model)


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _is_pipe(path: Any) -> bool:
    return isinstance(path, Path) and (path.is_fifo() or path.is_socket())


def _copy(pipe: Path, folder: Path) -> Path:
    copy = Path(tempfile.mkdtemp(dir=folder)) / pipe.name
    try:
        with pipe.open("rb") as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except OSError as error:
        raise OutputError(
            f"{pipe}: cannot be copied to {folder.parent}: {error.strerror}; set TMPDIR to another folder, or use a"
            " file, which is not copied"
        ) from error
    log.info("%s: a pipe can be read only once, so it is copied to %s for this run", pipe, copy)
    return copy
