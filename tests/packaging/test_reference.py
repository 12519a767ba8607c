"""``docs/cli.md`` is what the commands say of themselves."""

from types import ModuleType

import pytest

from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.pipelines.options import parameters
from support import ROOT, ci_script


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return ci_script("reference")


def test_the_reference_is_up_to_date(reference: ModuleType) -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run .ci/reference"


def test_every_command_and_option_is_in_it(reference: ModuleType) -> None:
    page = reference.page()
    for path, command in reference.commands(reference.typer.main.get_command(reference.app)):
        assert f"\n## {path}\n" in page
        for parameter in command.params:
            assert all(f"`{flag}" in page or f"/{flag}`" in page for flag in parameter.opts if flag[0] == "-")


def test_the_readme_has_a_row_for_every_command(reference: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = reference.typer.main.get_command(reference.app).commands
    assert [name for name in names if f"\n| `genoconv {name}` | " not in readme] == []


def test_a_row_has_flags_value_default_and_limits(reference: ModuleType) -> None:
    rows = reference.table(parameters(EmbedOptions)).splitlines()
    assert "| `--pool` | `mean`, `max`, `last`, `none` | " in "\n".join(rows)
    assert any(row.startswith("| `--window`, `-w` | `N >= 1` | ") for row in rows)
    assert any("or `GENOCONV_DEVICE` |" in row and row.endswith("Default: auto. |") for row in rows)
    assert any(r"auto\|cpu\|cuda[:N]" in row for row in rows)
