"""YAML from people and programs, read as plain values of a bounded size, or refused in one line."""

from pathlib import Path
from typing import Any

import yaml

from genoconv.errors import UsageError

# Far above any honest configuration; aliases count every time they are used, so a small file cannot unfold without end.
_MOST_BYTES = 10_000_000
_MOST_VALUES = 100_000
_DEEPEST = 32
_LARGEST = 2**63


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file; an empty file has none.

    Raises:
        UsageError: the file cannot be read, is not YAML, or is not a mapping with text keys at the top.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; the argument is a configuration, see --print-config") from None
    if len(raw) > _MOST_BYTES:
        raise UsageError(f"{path}: over {_MOST_BYTES:,} bytes, too large for a configuration; see --print-config")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not YAML: byte {error.start} is not UTF-8") from None
    values = parse_yaml(text, where=str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected keys and values, found {type(values).__name__}; see --print-config")
    return values


def parse_yaml(text: str, *, where: str) -> Any:
    """The value of a YAML text: None, a bool, a number, text, or lists and dictionaries of these with text keys.

    Args:
        text: the YAML.
        where: the file or option that it comes from; messages begin with it.

    Raises:
        UsageError: not YAML, nested or repeated beyond reason, a key that is not text, an integer of more than 64 bits,
            or text that UTF-8 cannot hold.
    """
    try:
        return plain(yaml.safe_load(text), where=where)
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply; a configuration has at most {_DEEPEST} levels") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: not YAML: {' '.join(str(error).split())[:300]}") from None
    except (ValueError, OverflowError, AttributeError, TypeError) as error:  # of PyYAML's own constructors
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{where}: not YAML: {' '.join(str(error).split())[:200]}") from None


def plain(value: Any, *, where: str) -> Any:
    """A copy of ``value`` after the checks of :func:`parse_yaml`, in which nothing is shared.

    Raises:
        UsageError: as :func:`parse_yaml`.
    """
    return _plain(value, where, depth=0, seen=[0])


def _plain(value: Any, where: str, *, depth: int, seen: list[int]) -> Any:
    seen[0] += 1
    if depth > _DEEPEST:
        raise UsageError(f"{where}: nested too deeply; a configuration has at most {_DEEPEST} levels")
    if seen[0] > _MOST_VALUES:
        raise UsageError(f"{where}: more than {_MOST_VALUES:,} values, too many for a configuration")
    if isinstance(value, dict):
        bad = next((key for key in value if not isinstance(key, str)), None)
        if bad is not None:
            raise UsageError(f"{where}: key {_shown(bad)} is not text; see --print-config for the keys")
        return {
            _plain(key, where, depth=depth + 1, seen=seen): _plain(inner, where, depth=depth + 1, seen=seen)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_plain(inner, where, depth=depth + 1, seen=seen) for inner in value]
    if isinstance(value, str):
        if any(letter == "\0" or 0xD800 <= ord(letter) < 0xE000 for letter in value):
            raise UsageError(f"{where}: {_shown(value)} is not UTF-8 text without NUL; rename the file or retype it")
        return value
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        raise UsageError(f"{where}: an integer of more than 64 bits")
    if value is None or isinstance(value, bool | int | float):
        return value
    raise UsageError(f"{where}: {_shown(value)} is a {type(value).__name__}; put it in quotes if text is meant")


def _shown(value: Any) -> str:
    try:
        return ascii(value)[:60]
    except ValueError:  # an integer too long to print
        return f"of type {type(value).__name__}"
