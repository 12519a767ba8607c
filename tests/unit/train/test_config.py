"""The configuration of a run: what wins, what is refused, and that it says how to write it right."""

from pathlib import Path

import pytest
from train_runs import configuration

from genoconv.errors import UsageError
from genoconv.pipelines.resolve import Call
from genoconv.pipelines.train.config import changes, default_folder, resolve
from genoconv.pipelines.train.options import TrainConfig
from support import ROOT


def config(*assignments: str, **options: object) -> TrainConfig:
    return configuration(*assignments, options={key.replace("__", "."): v for key, v in options.items()})


def test_nothing_given_is_the_demo() -> None:
    demo = config()
    assert demo.genome == ("demo",)
    assert demo.preset == "tiny-1k"
    assert demo.run.max_steps is not None
    assert demo.run.max_minutes == 2.4
    assert default_folder(demo) == Path("runs/demo")


def test_a_run_on_anything_else_ends_after_ten_minutes_unless_reported() -> None:
    assert config(fasta="x.fa").run.max_minutes == 10
    assert config(fasta="x.fa", run__max_steps=5).run.max_minutes is None
    assert config("run.max_minutes=3", genome="hg38").run.max_minutes == 3
    assert default_folder(config(fasta="data/yeast.fa.gz")) == Path("runs/yeast")


def test_options_win_over_the_file_and_assignments_over_both(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("genome: hg38\nrun: {seed: 1, max_steps: 10}\noptim: {lr: 1e-3}\ndata: {accumulate: 4}\n")
    found = configuration("run.seed=3", "optim.clip=2e0", file=file, options={"run.seed": 2, "run.max_steps": 20})
    assert (found.run.seed, found.run.max_steps, found.data.accumulate) == (3, 20, 4)
    assert (found.optim.lr, found.optim.clip) == (0.001, 2.0)


def test_what_is_printed_is_read_back_as_the_same(tmp_path: Path) -> None:
    first = config("windows.valid=chr22", "data.stages=[{length: 64, steps: 3}, {length: 128}]", genome="hg38")
    assert first.windows.valid == ("chr22",)
    file = tmp_path / "run.yaml"
    file.write_text(first.to_yaml())
    assert configuration(file=file) == first


def test_paths_in_a_file_start_at_its_folder_and_others_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "here").mkdir()
    file = tmp_path / "configs" / "run.yaml"
    file.write_text("fasta: ../genomes/a.fa\nannotation: a.gtf\n")
    monkeypatch.chdir(tmp_path / "here")
    found = configuration(file=file)
    assert found.fasta == (tmp_path / "genomes" / "a.fa",)
    assert found.annotation == (tmp_path / "configs" / "a.gtf",)
    given = configuration("annotation=sub/b.gtf", file=file, options={"fasta": "b.fa"})
    assert (*given.fasta, *given.annotation) == (tmp_path / "here" / "b.fa", tmp_path / "here" / "sub" / "b.gtf")


def test_numbers_of_a_file_are_texts_where_texts_are_wanted(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("windows: {valid: 20, test: [21, X]}\nrun: {precision: 32}\n")
    found = configuration(file=file)
    assert (found.windows.valid, found.windows.test, found.run.precision) == (("20",), ("21", "X"), "32")


REFUSED = {
    "unknown key": (["optim.learning_rate=1"], "unknown key optim.learning_rate; did you mean optim."),
    "misspelt group": (["windws.flank=1"], "did you mean windows"),
    "wrong kind": (["run.max_steps=many"], "run.max_steps: must be a whole number, got 'many'"),
    "out of range": (["optim.lr=-1"], "optim.lr: must be above 0.0, got '-1'"),
    "one of several": (["run.precision=fp8"], "run.precision: must be 'auto', '32' or 'bf16', got 'fp8'"),
    "no equals sign": (["optim.lr"], "--set optim.lr: write it as KEY=VALUE"),
    "not YAML": (["optim.lr=[1"], "--set optim.lr=[1: not YAML"),
    "value as group": (["preset.x=1"], "preset"),
    "open stages": (["data.stages=[{length: 64, steps: 3}]"], "the last takes the rest: leave its steps out"),
    "unknown size": (["model.d_modle=64"], "model.d_modle: not a setting of a model; did you mean d_model?"),
    "impossible size": (["model.emb_dim=4"], "model.emb_dim: 4 is even"),
    "unknown preset": (["preset=tiny-2k"], "no preset 'tiny-2k'; did you mean tiny-1k"),
    "too short": (["max_length=8"], "max_length: must be at least 16, got '8'"),
    "too long": (["max_length=20m"], "model.max_length: 20,000,000 is outside 2 to 16,777,216"),
    "negative": (["model.max_length=-1"], "model.max_length: -1 is outside 2 to 16,777,216"),
    "a flag as a number": (["optim.lr=true"], "optim.lr: must be a number, got 'true'"),
    "a flag as a whole number": (["run.devices=yes"], "run.devices: must be a whole number, got 'true'"),
    "a flag as a length": (["windows.flank=no"], "windows.flank: 'false' is not a number such as 32768"),
    "a flag in a list": (
        ["data.stages=[{length: true}]"],
        "data.stages.0.length: must be a whole number, got 'true'",
    ),
    "both in a source": (
        ["sources=[{genome: hg38, fasta: x.fa}]"],
        "pass exactly one of --genome NAME and --fasta FILE",
    ),
    "genes of nothing": (["fasta=x.fa", "genes=true"], "add --annotation"),
    "genes and tiles": (["fasta=x.fa", "annotation=x.gtf", "genes=false"], "drop one of them"),
    "annotation alone": (["annotation=x.gtf"], "--annotation needs the FASTA that it describes"),
    "init and preset": (["init=m", "preset=tiny-1k"], "--init determines the size of the model"),
    "device": (["run.device=tpu"], "run.device"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_setting_says_what_is_right(name: str) -> None:
    assignments, message = REFUSED[name]
    with pytest.raises(UsageError) as caught:
        config(*assignments)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [("[1, 2]", "found list"), ("a: [", "not YAML"), (None, "No such file"), ("1: 2", "found dict")],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "run.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        configuration(file=file)
    assert str(file) in str(caught.value)


HOSTILE = {
    "nested 1,000 deep": "[" * 1000 + "]" * 1000,
    "nested 100,000 deep": "[" * 100_000 + "]" * 100_000,
    "a long integer": "run: {seed: " + "9" * 4400 + "}",
    "a long hexadecimal integer": "run: {seed: 0x" + "f" * 20_000 + "}",
    "a lone surrogate": 'fasta: "\\ud800.fa"',
    "a lone surrogate as a key": '"\\udfff": 1',
    "a NUL": 'fasta: "a\\0b"',
    "an impossible date": "genome: 2020-13-45",
    "a date": "genome: 2020-11-28",
    "aliases that unfold": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "an alias of itself": "model: &m {d_model: *m}",
    "a list as a key": "? [1, 2]\n: 3",
    "a foreign tag": "fasta: !!python/object/apply:os.system [ls]",
    "control characters in a key": '"\\e]0;title\\a": 1',
    "binary": "fasta: !!binary aGVsbG8=",
    "a bad float": "optim: {lr: !!float x}",
    "a bad timestamp": "optim: {lr: !!timestamp x}",
    "a set": "windows: !!set {a, b}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_gets_one_clear_line(tmp_path: Path, name: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(HOSTILE[name])
    with pytest.raises(UsageError) as caught:
        configuration(file=file)
    message = str(caught.value)
    assert str(file) in message
    assert message.isprintable()
    assert len(message) < 500 + len(str(file))
    if ": " in HOSTILE[name] and "\n" not in HOSTILE[name]:  # the same value by --set
        key, _, value = HOSTILE[name].partition(": ")
        with pytest.raises(UsageError):
            configuration(f"{key}={value}")


def test_a_file_name_that_is_not_utf8_is_refused_before_anything_is_written() -> None:
    with pytest.raises(UsageError, match="its name is not valid UTF-8"):
        config(fasta="genome\udcff.fa")


def test_a_model_to_go_on_from_keeps_its_sizes_on_the_demo_too(tmp_path: Path) -> None:
    found = config(init=str(tmp_path))
    assert found.genome == ("demo",)
    assert (found.preset, found.max_length, found.model) == (None, None, {})


def test_tiny_models_learn_faster_unless_reported_otherwise() -> None:
    assert config(fasta="x.fa").optim.lr == config(fasta="x.fa", preset="tiny-16k").optim.lr == 0.004
    assert config("optim.lr=1e-5", fasta="x.fa").optim.lr == 1e-5
    assert config(fasta="x.fa", preset="medium-160k").optim.lr == 6e-4
    assert config().optim.lr == 0.006


def test_changes_are_reported_by_key() -> None:
    one, other = config(), config("optim.lr=1", "model.d_model=4")
    assert changes(one, other) == ["model.d_model", "optim.lr"]
    assert changes(one, one) == []


def test_every_recipe_is_a_configuration() -> None:
    from genoconv.paths import shipped

    names = [path.stem for path in (shipped("pipelines") / "recipes").glob("*.yaml")]
    assert names
    for name in names:
        resolve(Call(TrainConfig, shipped("pipelines") / "recipes" / f"{name}.yaml"))


def test_every_configuration_of_the_benchmarks_can_be_run(tmp_path: Path) -> None:
    files = sorted((ROOT / "benchmarks" / "configs").rglob("*.yaml"))
    assert len(files) >= 5
    for path in files:
        found = configuration(file=path)
        assert found.all_sources()
        assert (found.run.max_minutes or found.run.max_steps) is not None
