"""YAML of configurations, read with care: no aliases, no key twice, nothing that no option can be."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from genoconv.errors import UsageError
from genoconv.formats import foreign_format
from genoconv.wording import printable

_LARGEST_FILE = 1 << 20
_LONGEST_INTEGER = 1000
"""Characters, underscores and base included: far more than the 64 bits that an option has."""


_of_pipes: dict[tuple[Path, int, int] | None, bytes] = {}


def read_yaml(path: Path) -> dict[str, Any]:
    """Keys and values of a YAML file.

    Raises:
        UsageError: it cannot be read, is not YAML, or holds something else.
    """
    try:
        content = _content(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected a configuration file; see --print-config") from None
    if len(content) > _LARGEST_FILE:
        raise UsageError(f"{path}: larger than {_LARGEST_FILE:,} bytes, so not a configuration; see --print-config")
    foreign = foreign_format(content.partition(b"\n")[0])
    if foreign:
        raise UsageError(f"{path}: not YAML but {foreign}; expected a configuration file; see --help")
    try:
        values = load_yaml(content.decode("utf-8-sig"), name=str(path))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not YAML: byte {error.start} is not UTF-8") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UsageError(f"{path}: expected keys and values, found {type(values).__name__}; see --print-config")
    return values


def _content(path: Path) -> bytes:
    """The bytes of a file, but for what is too large; a command may ask several times for those of a pipe."""
    status = path.stat()
    pipe = (path, status.st_dev, status.st_ino) if path.is_fifo() else None
    if pipe in _of_pipes:
        return _of_pipes[pipe]
    with path.open("rb") as stream:
        content = stream.read(_LARGEST_FILE + 1)
    if pipe is not None:
        _of_pipes[pipe] = content
    return content


class _Loader(yaml.SafeLoader):
    """YAML as configurations need it: no aliases, which can unfold without end, and no key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(None, None, f"the key {key.value} occurs twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    if len(node.value) > _LONGEST_INTEGER:
        raise yaml.MarkedYAMLError(None, None, f"an integer of {len(node.value):,} characters", node.start_mark)
    return int(loader.construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def load_yaml(text: str, *, name: str) -> Any:
    """The value of a YAML text; ``name`` begins the messages.

    Raises:
        UsageError: it is not YAML, or beyond all measure.
    """
    try:
        value = yaml.load(text, _Loader)
        _check_plain(value, name)
        return value
    except RecursionError:
        raise UsageError(f"{name}: nested too deeply for a configuration") from None
    except UsageError:
        raise
    # Invalid numbers and dates, and tags on values that they do not fit.
    except (yaml.YAMLError, ValueError, OverflowError, AttributeError, TypeError) as error:
        raise UsageError(f"{name}: not YAML: {printable(' '.join(str(error).split()))[:300]}") from None


def _check_plain(value: Any, name: str) -> None:
    """Refuse what no option can be: text that files cannot hold, numbers beyond any machine's."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_plain(key, name)
            _check_plain(inner, name)
    elif isinstance(value, list | tuple | set):
        for inner in value:
            _check_plain(inner, name)
    elif isinstance(value, str) and not is_text(value):
        raise UsageError(f"{name}: {ascii(value)[:60]} is not UTF-8 text without NUL")
    elif isinstance(value, int) and value.bit_length() > 64:
        raise UsageError(f"{name}: an integer of more than 64 bits")


def is_text(value: str) -> bool:
    """Whether UTF-8 can hold ``value`` and it is without NUL: half of a surrogate pair stands for another byte."""
    return not any(letter == "\0" or 0xD800 <= ord(letter) < 0xE000 for letter in value)
