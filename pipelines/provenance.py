"""How an output says where its numbers come from."""

import shlex
from collections.abc import Mapping
from pathlib import Path


def recorded_command(name: str, options: Mapping[str, object]) -> str:
    """A command line that gives the same numbers again, quoted for a shell, from its name and option name -> value.

    Where the output goes, on which device, in how many pieces: none of that belongs in the file, which must not
    depend on it.
    """
    words = ["genoconv", name]
    for option, value in options.items():
        if value is None or value is False or value == ():
            continue
        if not option.startswith("-"):
            words.append(str(value))
        elif value is True:
            words.append(option)
        elif isinstance(value, tuple):
            words += [word for item in value for word in (option, str(item))]
        else:
            words += [option, str(value)]
    return shlex.join(words)


def file_name(path: Path) -> str:
    """The last part of a path, also of ``.`` or ``dir/..``."""
    return path.resolve().name
