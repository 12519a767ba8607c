"""Records of options: where values come from, which come first, and what is said about wrong ones."""

import os
import threading
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from genoconv.errors import UsageError
from genoconv.pipelines.finetune.options import FinetuneOptions
from genoconv.pipelines.options import Options, argument, option, parameters, recorded_command, to_yaml
from genoconv.pipelines.resolve import Call
from genoconv.pipelines.scan.options import ScanOptions
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.pipelines.shared_options import Names, Shard
from genoconv.pipelines.train.options import TrainConfig, TrainOptions


def _shard(value: object) -> object:
    if not isinstance(value, str):
        return value
    which, _, count = value.partition("/")
    if not (which.isdigit() and count.isdigit()):
        raise ValueError(f"{value!r} is not which part of how many, such as 1/4")
    return int(which), int(count)


class Inner(Options):
    flank: Annotated[int, Field(ge=0), option("--flank", help="Bases on both sides.")] = 0
    rate: float = 0.5


class Example(Options):
    fasta: Annotated[Path, argument("FASTA", help="DNA.")]
    model: Annotated[Path, option("--model", "-m", help="Model.")]
    output: Annotated[Path | None, option("--output", "-o", recorded=False, help="Output.")] = None
    kind: Annotated[Literal["a", "b"], option("--kind", help="Kind.")] = "a"
    regions: Annotated[tuple[str, ...], option("--region", "-r", help="Regions.")] = ()
    beds: tuple[Path, ...] = ()
    index: Annotated[bool, option("--index/--no-index", help="Index.")] = True
    explain: Annotated[bool, option("--explain", help="Explain.")] = False
    shard: Annotated[tuple[int, int] | None, BeforeValidator(_shard), option("--shard", help="Part.")] = None
    inner: Inner = Inner()


NEEDED = {"fasta": "in.fa", "model": "m"}


def test_what_is_said_later_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "runs" / "run.yaml"
    file.parent.mkdir()
    file.write_text("model: here\nkind: b\nregions: [x]\nbeds: [a.bed, /b.bed]\ninner: {flank: 3, rate: 1e-1}\n")
    call = Call(
        Example, file, {"fasta": Path("in.fa"), "inner.flank": 5}, ["inner.rate=2", "explain=true", "shard=2/4"]
    )
    found = call.resolve()
    assert (found.fasta, found.model, found.kind) == (Path("in.fa"), file.parent / "here", "b")
    assert found.beds == (file.parent / "a.bed", Path("/b.bed"))
    assert (found.inner.flank, found.inner.rate, found.explain, found.shard) == (5, 2.0, True, (2, 4))
    assert call.values({"kind": "a", "index": False})["kind"] == "b"
    assert call.values({"index": False})["index"] is False
    assert call.values(absolute=True)["fasta"] == str(tmp_path / "in.fa")
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(found))
    assert Call(Example, again, {"fasta": Path("in.fa")}).resolve() == found


def test_relative_paths_in_a_pipe_start_at_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    pipe = tmp_path / "run.yaml"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_text, args=("fasta: in.fa\nmodel: ../m\n",), daemon=True).start()
    found = Call(Example, pipe).resolve()
    assert (found.fasta, found.model) == (tmp_path / "here" / "in.fa", tmp_path / "m")


def test_a_dash_in_a_file_is_standard_input_and_not_a_path(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("fasta: '-'\nmodel: here\nbeds: ['-', b.bed]\n")
    found = Call(Example, file).resolve()
    assert found.fasta == Path("-")
    assert found.beds == (Path("-"), tmp_path / "b.bed")


def test_the_recorded_command_gives_the_same_record(tmp_path):
    values = {"kind": "b", "regions": ("x y", "z"), "index": False, "explain": True, "inner": {"flank": 2}}
    command = recorded_command("example", Example(**NEEDED, **values, output=tmp_path))
    assert command == (
        "genoconv example in.fa --model m --kind b --region 'x y' --region z --no-index --explain --flank 2"
    )


def test_keys_of_nested_records_are_options_where_they_say_so():
    assert [parameter.key for parameter in parameters(Example)][-2:] == ["shard", "inner.flank"]


@pytest.mark.parametrize(
    ("given", "assignments", "message"),
    [
        ({"model": "m"}, [], "missing FASTA; see --help"),
        ({}, [], "missing FASTA, --model; see --help"),
        ({**NEEDED, "kind": "c"}, [], "--kind: must be 'a' or 'b', got 'c'"),
        ({**NEEDED, "inner.flank": -1}, [], "--flank: must be at least 0, got '-1'"),
        ({**NEEDED, "shard": "x"}, [], "--shard: 'x' is not which part of how many, such as 1/4"),
        (NEEDED, ["inner.flnk=1"], "--set unknown key inner.flnk; did you mean inner.flank?"),
        (NEEDED, ["kind"], "--set kind: write it as KEY=VALUE"),
        (NEEDED, ["kind=[a"], "--set kind=[a: not YAML"),
        (NEEDED, ["kind.x=1"], "--set kind: must be 'a' or 'b'"),
        ({**NEEDED, "regions": [1]}, [], "--region: must be text, got '1'"),
    ],
)
def test_one_line_names_the_option_and_the_value(given, assignments, message):
    with pytest.raises(UsageError) as refused:
        Call(Example, None, given, assignments).resolve()
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("data.packing=maybe", "--set data.packing: must be 'auto', true or false, got 'maybe'"),
        ("run.activation_checkpointing=[1]", "--set run.activation_checkpointing: must be 'auto', true or false, got "),
        ("lr=1", "--set unknown key lr; did you mean optim.lr?"),
        ("data.packed=true", "--set unknown key data.packed; did you mean data.packing?"),
        ("windows.regions=[{bed: 3}]", "--set windows.regions.0.bed: must be a path, got '3'"),
        ("optim.betas=3", "--set optim.betas: must be a list, got '3'"),
        ("optim.lr=1e400", "--set optim.lr: must be a finite number, got 'inf'"),
        ("data.accumulate=", "--set data.accumulate: must be a whole number, got nothing"),
        ("data.stages=[1]", "--set data.stages.0: must be keys with values, got '1'"),
        ("run.device=mps", "--set run.device: must be auto, cpu, cuda or cuda:N, got 'mps'"),
        ("=3", "--set =3: write it as KEY=VALUE"),
        ("model=3", "--set model: must be keys with values, got '3'"),
    ],
)
def test_a_value_of_no_kind_that_may_be_is_one_problem(assignment, message):
    with pytest.raises(UsageError) as refused:
        Call(TrainConfig, None, {}, [assignment]).resolve()
    assert str(refused.value).startswith(message)
    assert ";" not in str(refused.value).removeprefix(message)


DIGITS = "9" * 4400
# A file that cannot be a configuration, and what is said of it.
FILES = {
    "kind: c": "run.yaml: kind: must be 'a' or 'b', got 'c'",
    "kin: a": "run.yaml: unknown key kin; did you mean kind?",
    "[a, b]": "run.yaml: expected keys and values, found list",
    "1: a": "run.yaml: expected keys and values",
    ">chr1\nACGT": "run.yaml: not YAML but FASTA; expected a configuration file; see --help",
    "kind: {a": "run.yaml: not YAML: ",
    "kind: a\nkind: b": "run.yaml: not YAML: the key kind occurs twice",
    "kind: &x [a]\nregions: *x": "run.yaml: not YAML: aliases",
    "? [a]\n: b": "run.yaml: not YAML: ",
    "kind: 2001-99-99": "run.yaml: not YAML: ",
    f"kind: {DIGITS}": "run.yaml: not YAML: an integer of 4,400 characters",
    f"kind: {2**64}": "run.yaml: an integer of more than 64 bits",
    "kind: " + "[" * 3000: "run.yaml: nested too deeply",
    "kind: !!python/object:os.system x": "run.yaml: not YAML: ",
    "\xff": "run.yaml: not YAML: byte 0 is not UTF-8",
    "#" * (1 << 20) + "\n": "run.yaml: larger than 1,048,576 bytes",
}


@pytest.mark.parametrize("text", FILES, ids=range(len(FILES)))
def test_a_file_that_is_no_configuration_is_one_line(tmp_path, text):
    file = tmp_path / "run.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError) as refused:
        Call(Example, file, NEEDED).resolve()
    assert FILES[text] in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600
    with pytest.raises(UsageError, match=r"gone\.yaml: No such file"):
        Call(Example, tmp_path / "gone.yaml", NEEDED).resolve()


def test_one_name_in_a_file_need_not_be_a_list(tmp_path):
    class Named(Options):
        names: Annotated[Names, option("--name", help="Names.")] = ()

        @model_validator(mode="after")
        def _few(self) -> "Named":
            if len(self.names) > 1:
                raise ValueError("give one name")
            return self

    assert Call(Named, assignments=["names=chr1"]).resolve().names == ("chr1",)
    assert Call(Named, assignments=["names=null"]).resolve().names == ()
    file = tmp_path / "run.yaml"
    file.write_text("names: [a, b]")
    with pytest.raises(UsageError, match=r"^give one name$"):  # the record as a whole has no name
        Call(Named, given={"names": ["a", "b"]}).resolve()
    with pytest.raises(UsageError, match=r"run\.yaml: give one name$"):
        Call(Named, file).resolve()


@pytest.mark.parametrize("record", [FinetuneOptions, ScanOptions, ScoreOptions, TrainOptions])
def test_every_option_of_names_takes_one(record):
    for parameter in parameters(record):
        if parameter.kind == tuple[str, ...]:
            field = parameter.field
            checked = TypeAdapter(Annotated[field.annotation, *field.metadata])
            assert checked.validate_python("chr1") == ("chr1",), parameter.key


def test_the_printed_file_explains_its_keys():
    text = to_yaml(Example(**NEEDED))
    assert "# Bases on both sides." not in text  # inside of a block of its own
    assert "# Kind.\nkind: a\n" in text
    assert yaml.safe_load(text)["fasta"] == "in.fa"


@pytest.mark.parametrize("value", ["2/1", "0/4", "x", ["a", "b"], [[1], [2]], [1, 2, 3], [1.5, 2], {"a": 1}])
def test_a_shard_is_two_numbers(value: object) -> None:
    with pytest.raises(ValidationError, match="expected I/N"):
        TypeAdapter(Shard).validate_python(value)
    assert TypeAdapter(Shard).validate_python("2/4") == TypeAdapter(Shard).validate_python([2, 4]) == (2, 4)
