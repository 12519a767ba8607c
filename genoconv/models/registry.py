"""Models by name: what ``-m`` and :func:`genoconv.load_model` take, and where it is.

A name is looked up in this order: a folder of that path, a model that ships with genoconv, one that ``genoconv models
import`` stored below ``GENOCONV_HOME``. Published models that are not here are on the hub and must be imported.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from genoconv import paths
from genoconv.errors import ModelError, UsageError
from genoconv.models.published.hub import PUBLISHED, PublishedModel
from genoconv.wording import did_you_mean, printable

SHIPPED = Path(__file__).parent / "shipped"
"""One folder per model that installs with genoconv."""

CONFIG_NAME = "config.json"


@dataclass(frozen=True)
class Known:
    """A model that has a name.

    Attributes:
        name: what ``-m`` takes.
        kind: ``shipped`` and ``stored`` models are here, those on the ``hub`` are not.
        folder: the model folder; None on the hub.
        published: what HyenaDNA's authors published under this name, if they did.
    """

    name: str
    kind: Literal["shipped", "stored", "hub"]
    folder: Path | None
    published: PublishedModel | None


def known_models() -> dict[str, Known]:
    """Every model that has a name, published ones first, smallest first; nothing is read or fetched.

    Raises:
        UsageError: ``GENOCONV_HOME`` cannot be resolved.
    """
    here: dict[str, Known] = {}
    for kind, root in (("stored", paths.models_dir()), ("shipped", SHIPPED)):
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if (folder / CONFIG_NAME).is_file():
                here[folder.name] = Known(folder.name, kind, folder, PUBLISHED.get(folder.name))  # type: ignore[arg-type]
    published = {name: here.pop(name, Known(name, "hub", None, model)) for name, model in PUBLISHED.items()}
    return published | here


def is_name(model: str) -> bool:
    """Whether ``model`` is the name of a model, here or on the hub, or the repository of a published one."""
    return (_published_name(model) or model) in known_models()


def model_folder(model: Path | str) -> Path:
    """The folder of a model, from its path or its name.

    Args:
        model: a path, which is returned as it is where something exists there; otherwise a name of
            :func:`known_models`, or the repository of a published one.

    Raises:
        ModelError: nothing of that path and no model of that name is here; says how to get it.
    """
    path = Path(model)
    if path.exists() or path.is_symlink():
        return path
    return named_folder(str(model))


def named_folder(model: str) -> Path:
    """The folder of a model, from its name alone; otherwise as :func:`model_folder`.

    Raises:
        ModelError: no model of that name is here; says how to get it.
    """
    known = known_models()
    name = _published_name(model) or model
    found = known.get(name)
    if found is None:
        near = did_you_mean(Path(name).name, known)
        raise ModelError(
            f"{printable(name)}: does not exist, and no model has that name{near or ' (`genoconv models list`);'} "
            "create a model folder with `genoconv train -o DIR` or `genoconv models import`"
        )
    if found.folder is None:
        assert found.published is not None
        raise ModelError(
            f"{name}: a published model that is not on this machine; `genoconv models import {name}` fetches it from "
            f"{found.published.repository}"
        )
    return found.folder


def stored_folder(source: str) -> Path:
    """Where an import without ``-o`` goes: under the published name, or the last part of a repository or path.

    Raises:
        UsageError: that part cannot be a name.
    """
    name = _published_name(source) or Path(source).absolute().name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"{printable(source)}: its last part is not a valid model name; name the folder with -o DIR")
    return paths.models_dir() / name


def _published_name(repository: str) -> str | None:
    return next((name for name, model in PUBLISHED.items() if model.repository == repository), None)
