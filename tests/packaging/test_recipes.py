"""What packagers copy agrees with pyproject.toml: the conda recipe, the citation, the containers."""

import re
import tomllib
from typing import Any

import yaml

from support import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {"torch": "pytorch"}


def recipe() -> dict[str, Any]:
    """The recipe as conda reads it, its few expressions filled in."""
    text = (ROOT / "packaging" / "bioconda" / "meta.yaml").read_text(encoding="utf-8")
    values = dict(re.findall(r'{% set (\w+) = "([^"]+)" %}', text))
    text = re.sub(r"{% set .*%}\n", "", text)
    text = re.sub(r"{{ (\w+)(\[0\])? }}", lambda m: (values.get(m[1], m[1]))[: 1 if m[2] else None], text)
    found: dict[str, Any] = yaml.safe_load(re.sub(r"{{.*?}}", "expression", text))
    return found


def plain(requirement: str) -> str:
    name, limits = re.fullmatch(r"([\w.-]+)\s*(.*)", requirement.partition(";")[0]).groups()  # type: ignore[union-attr]
    return f"{CONDA_NAMES.get(name.lower(), name.lower())} {limits.replace(' ', '')}".strip()


def test_the_conda_recipe_has_the_dependencies_of_the_package() -> None:
    found = recipe()
    assert found["package"] == {"name": PROJECT["name"], "version": PROJECT["version"]}
    expected = {f"python {PROJECT['requires-python']}", *map(plain, PROJECT["dependencies"])}
    assert {plain(text) for text in found["requirements"]["run"]} == expected
    entries = {f"{name} = {target}" for name, target in PROJECT["scripts"].items()}
    assert set(found["build"]["entry_points"]) == entries
    assert found["about"]["license"] == PROJECT["license"]


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])


def test_containers_install_extras_that_exist() -> None:
    for name in ("Dockerfile", "apptainer.def"):
        text = (ROOT / "packaging" / name).read_text(encoding="utf-8")
        extras = set(",".join(re.findall(r"(?:genoconv|source)\[([\w,]+)\]", text)).split(","))
        assert extras
        assert extras <= set(PROJECT["optional-dependencies"])
        python = re.search(r"python:3\.(\d+)", text)
        assert python is not None
        assert 11 <= int(python[1]) <= 13


def test_issue_forms_and_workflows_are_yaml() -> None:
    forms = sorted((ROOT / ".github").rglob("*.yml"))
    assert len(forms) >= 5
    for form in forms:
        assert isinstance(yaml.safe_load(form.read_text(encoding="utf-8")), dict), form
