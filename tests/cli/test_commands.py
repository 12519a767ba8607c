"""Every command explains itself, fits a terminal, and is where the README says."""

import re
import shlex
from pathlib import Path

import pytest
from command_tree import COMMANDS
from typer.testing import CliRunner

from genoconv.cli.app import app
from support import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def calls(page: Path) -> list[str]:
    """Every line in a shell block of a page that calls genoconv, with continued lines joined."""
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)
    joined = "\n".join(blocks).replace("\\\n", " ")
    lines = (line.strip().removeprefix("$ ") for line in joined.splitlines())
    return [line for line in lines if re.match(r"(\w+=\S+ )*(genoconv|\./bootstrap) ", line)]


@pytest.mark.parametrize("words", COMMANDS)
def test_help_explains_with_examples_in_80_columns(words: str) -> None:
    result = CliRunner().invoke(app, [*words.split(), "--help"], env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"})
    text = result.stdout
    assert result.exit_code == 0, result.output
    assert "Examples" in text
    assert f"genoconv {words}" in text.split("Examples", 1)[1]
    assert max(map(len, text.splitlines())) <= 80
    examples = (COMMANDS[words].help or "").partition("**Examples**")[2]
    assert [line for line in map(str.strip, examples.splitlines()) if line not in text] == [], "wrapped: shorten it"
    assert not re.search(r"[^\\]\n *-", examples), "a line that continues on the next one ends in a backslash"
    for parameter in COMMANDS[words].params:
        assert getattr(parameter, "help", None) or parameter.name in ("help",), f"{parameter.name} has no help"


@pytest.mark.parametrize("words", COMMANDS)
def test_the_readme_has_a_place_for_it(words: str) -> None:
    assert f"genoconv {words}" in README


@pytest.mark.parametrize("line", sorted({line for page in PAGES for line in calls(page)}))
def test_calls_in_readme_and_docs_exist(line: str) -> None:
    words = [w for w in shlex.split(line.split("|")[0].split(" > ")[0], comments=True) if not re.match(r"^\w+=", w)][1:]
    if words == ["test"] or words[0].startswith("-"):
        return
    path = next((p for p in COMMANDS if p.split() == words[: len(p.split())]), None)
    assert path, f"no such command: {line}"
    known = {option for parameter in COMMANDS[path].params for option in parameter.opts + parameter.secondary_opts}
    used = {word.split("=")[0] for word in words if re.match(r"--?[A-Za-z]", word)}
    assert used <= known | {"--help", "-h"}, f"unknown options in: {line}"


def test_the_readme_starts_with_the_two_commands() -> None:
    first = re.search(r"```sh\n(.*?)```", README, flags=re.S)
    assert first
    commands = [line.split("#")[0].strip() for line in first.group(1).splitlines() if line.split("#")[0].strip()]
    assert [c.split()[:2] for c in commands] == [["./bootstrap", "train"], ["./bootstrap", "test"]]


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_of_the_docs_is_in_the_navigation_of_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = set(re.findall(r": (\S+\.md)$", navigation, flags=re.M))
    assert listed == {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
