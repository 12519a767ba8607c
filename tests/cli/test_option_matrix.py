"""Every option of every command reaches the place that uses it.

Each option has an effect in ``tests/option_effects``, shown on a small run by what comes out, or by what the code that
uses it was given. An option without an effect fails here, and so does a hand-over that was deleted. ``score-variants``
and ``scan`` have matrices of their own, with the same rule: see ``ELSEWHERE``.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_tree import COMMANDS
from embed_files import model_folder
from option_effects import embed, others, train, windows  # noqa: F401  they register their effects
from option_effects.bench import EFFECTS, Bench, Effect

ELSEWHERE = {
    "score-variants": "score/test_options.py",
    "scan": "scan/test_options.py",
    "finetune": "finetune/test_options.py",
    "models calibrate": "test_calibrate_command.py",
    "predict": "predict/test_options.py",
}
# What takes() adds to a command, tested in test_options.py and at the end of this file.
CONFIGURATION = {"config_file", "settings", "print_config"}
REPORTS = {"json_file", "log_file"}  # tested in test_reporting.py


OPTIONS = [
    (name, parameter.name)
    for name, command in COMMANDS.items()
    if name not in ELSEWHERE
    for parameter in command.params
    if parameter.name not in {*CONFIGURATION, *REPORTS, "help"}
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def bench(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    level = logging.getLogger("genoconv").level
    yield Bench(tmp_path, model, monkeypatch)
    logging.getLogger("genoconv").setLevel(level)


def test_every_option_has_an_effect() -> None:
    assert set(OPTIONS) - set(EFFECTS) == set()
    assert set(EFFECTS) - set(OPTIONS) == set()
    assert set(ELSEWHERE) <= set(COMMANDS)
    for name in ELSEWHERE.values():
        assert "EFFECTS[key]" in Path(__file__).parent.joinpath(name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in COMMANDS if CONFIGURATION & {p.name for p in COMMANDS[name].params}])
def test_a_command_runs_from_the_file_that_it_prints(name: str, bench: Bench) -> None:
    if name in ELSEWHERE or name == "train":
        return
    needed = {
        "embed": (bench.fasta, "-m", bench.model, "-o", bench.out),
        "windows": ("-f", bench.fasta, "-a", bench.genes),
        "models import": ("tiny-1k", "-o", bench.folder / "x"),
        "plan": ("-n", 1000, "--gpu", "h100"),
        "models export": (bench.model, "-o", bench.folder / "back"),
        "genomes fetch": ("hg38",),
        "genomes add": ("mine", "-f", bench.fasta),
        "kernels warm": ("--arch", "sm_90"),
    }[name]
    printed = bench.run(*name.split(), *needed, "--print-config").stdout
    file = bench.folder / "run.yaml"
    file.write_text(printed)
    assert bench.run(*name.split(), "--config", file, "--print-config").stdout == printed
    if "quiet" not in printed:
        return
    other = bench.run(*name.split(), "--config", file, "--set", "quiet=true", "--print-config").stdout
    assert other == printed.replace("quiet: false", "quiet: true")
    assert "quiet: true" in other


GROUPS: dict[str, Effect] = {}
for (command, key), effect in EFFECTS.items():
    GROUPS.setdefault(f"{command} {key}", effect) if effect not in GROUPS.values() else None


@pytest.mark.parametrize("name", GROUPS)
def test_options_have_their_effects(name: str, bench: Bench) -> None:
    GROUPS[name](bench)
