"""Models by name: what ``-m`` takes."""

import logging
import re
import shutil
from pathlib import Path

import pytest
from calls import call
from published_checkpoints import random_tensors, write_hf
from vcf_files import tiny_model

from genoconv.errors import ModelError, OutputError, UsageError
from genoconv.models import load_model, model_digest, registry
from genoconv.models.published.hub import PUBLISHED
from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.pipelines.finetune.options import FinetuneConfig, FinetuneOptions
from genoconv.pipelines.finetune.run import understand
from genoconv.pipelines.models.run import import_model, list_models, remove_model
from genoconv.pipelines.options import Options
from genoconv.pipelines.predict.options import PredictOptions
from genoconv.pipelines.resolve import Call
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.pipelines.train.config import configure
from genoconv.pipelines.train.options import TrainConfig


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENOCONV_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def stored(home: Path, tmp_path: Path) -> Path:
    """A model called ``mine`` in the store."""
    return import_model(str(write_hf(tmp_path / "mine", random_tensors()))).folder


def test_an_import_without_a_folder_is_found_by_its_name(home: Path, stored: Path, tmp_path: Path) -> None:
    assert stored == home / "models" / "mine"
    shutil.rmtree(tmp_path / "mine")
    assert registry.model_folder("mine") == stored
    assert model_digest("mine") == model_digest(stored)
    assert load_model("mine").config == load_model(stored).config
    row = {row["name"]: row for row in list_models()}["mine"]
    assert (row["kind"], row["folder"], row["max_length"], row["repository"]) == ("stored", str(stored), 50, None)


def test_a_stored_model_is_replaced_only_by_force(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        import_model(str(tmp_path / "mine"))
    before = model_digest(stored)
    import_model(str(write_hf(tmp_path / "elsewhere" / "mine", random_tensors(seed=2))), force=True)
    assert model_digest(stored) != before


def test_a_folder_comes_before_a_name(stored: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "mine")
    here = tiny_model(tmp_path / "mine")
    assert registry.model_folder("mine") == Path("mine")
    assert model_digest("mine") == model_digest(here) != model_digest(stored)


def test_a_link_to_nowhere_is_a_path_and_not_a_name(stored: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "mine")
    (tmp_path / "mine").symlink_to(tmp_path / "gone")
    assert registry.model_folder("mine") == Path("mine")
    with pytest.raises(ModelError, match="mine"):
        load_model("mine")


def test_a_shipped_model_is_found_and_listed(
    home: Path, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "SHIPPED", tmp_path / "shipped")
    shutil.rmtree(tmp_path / "mine")
    assert {model.kind for model in registry.known_models().values()} == {"stored", "hub"}
    folder = tiny_model(tmp_path / "shipped" / "mine")
    (tmp_path / "shipped" / "notes").mkdir()
    assert registry.model_folder("mine") == folder, "what ships comes before what was stored"
    assert [model.name for model in registry.known_models().values() if model.kind == "shipped"] == ["mine"]
    listed = call("models", "list").stdout.splitlines()
    assert listed[-1].startswith("mine ")
    assert listed[-1].endswith(f"shipped: {folder}")


def test_an_imported_published_model_is_no_longer_on_the_hub(home: Path, tmp_path: Path) -> None:
    assert registry.known_models()["tiny-1k"].kind == "hub"
    folder = import_model(str(write_hf(tmp_path / "source", random_tensors())), home / "models" / "tiny-1k").folder
    known = registry.known_models()
    assert (known["tiny-1k"].kind, known["tiny-1k"].folder) == ("stored", folder)
    assert list(known) == [*PUBLISHED, "mammal-1k"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "tiny-1k",
            "tiny-1k: a published model that is not on this machine; `genoconv models import tiny-1k` fetches it from",
        ),
        ("tiny-1", "tiny-1: does not exist, and no model has that name; did you mean tiny-1k?"),
        ("mine2", "did you mean mine?"),
        ("runs/yeast", r"runs/yeast: does not exist, and no model has that name \(`genoconv models list`\)"),
        ("LongSafari/hyenadna-tiny-1k-seqlen-hf", "tiny-1k: a published model that is not on this machine"),
        ("OWNER/NAME", "OWNER/NAME: does not exist, and no model has that name"),
    ],
)
def test_an_unknown_name_is_answered_with_what_to_do(stored: Path, name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words) as error:
        load_model(name)
    assert "\n" not in str(error.value)


def test_names_of_imports(home: Path, tmp_path: Path) -> None:
    assert registry.stored_folder("LongSafari/hyenadna-tiny-1k-seqlen-hf") == home / "models" / "tiny-1k"
    assert registry.stored_folder("OWNER/some.model") == home / "models" / "some.model"
    for source in ("-x", "a b", "x/.."):
        with pytest.raises(UsageError, match="name the folder with -o DIR"):
            registry.stored_folder(source)


def test_a_damaged_stored_model_does_not_hide_the_others(stored: Path, caplog: pytest.LogCaptureFixture) -> None:
    (stored / "config.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        names = [row["name"] for row in list_models()]
    assert names == [*PUBLISHED, "mammal-1k"]
    assert f"{stored / 'config.json'}: not written by genoconv" in caplog.text


@pytest.mark.parametrize("damaged", [False, True])
def test_a_stored_model_can_be_removed(stored: Path, tmp_path: Path, damaged: bool) -> None:
    if damaged:
        (stored / "config.json").write_text("{")
    assert re.fullmatch(r"mine: removed, [\d.,]+ MB", remove_model("mine"))
    assert not stored.exists()
    assert (tmp_path / "mine" / "config.json").is_file(), "what it was imported from stays"
    assert "mine" not in registry.known_models()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine2", "mine2: no stored model has that name; did you mean mine?"),
        (
            "tiny-1k",
            "tiny-1k: the model is not on this machine; only models that were imported without -o can be removed",
        ),
        ("runs/yeast", "no stored model has that name.*delete any other model folder yourself"),
        ("../models/mine", "no stored model has that name"),
        (".", "no stored model has that name"),
        ("..", "no stored model has that name"),
        ("", "no stored model has that name"),
    ],
)
def test_only_stored_models_are_removed(stored: Path, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        remove_model(name)
    assert "\n" not in str(error.value)
    assert (stored / "config.json").is_file()


def test_a_linked_model_is_not_removed(stored: Path, home: Path, tmp_path: Path) -> None:
    own = tiny_model(tmp_path / "own")
    (home / "models" / "linked").symlink_to(own)
    with pytest.raises(UsageError, match="a link that was not created by genoconv"):
        remove_model("linked")
    assert (own / "config.json").is_file()


def test_training_starts_from_a_model_by_its_name(stored: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "mine")
    assert configure(Call(TrainConfig, given={"init": Path("mine"), "demo": "long"})).init == stored
    assert configure(Call(TrainConfig, given={"demo": "long"}, assignments=["init=mine"])).init == stored
    with pytest.raises(ModelError, match=r"mine2: does not exist, and no model has that name; did you mean mine\?"):
        configure(Call(TrainConfig, given={"init": Path("mine2"), "demo": "long"}))


@pytest.mark.parametrize(
    ("record", "key", "others"),
    [
        (TrainConfig, "init", "demo: long"),
        (FinetuneConfig, "model", ""),
        (ScoreOptions, "model", "vcf: v.vcf\nfasta: g.fa"),
        (EmbedOptions, "model", "fasta: g.fa\nwindow: 10\noutput: o.npz"),
        (PredictOptions, "model", "source: t.csv\noutput: o.tsv"),
    ],
)
def test_a_file_gives_a_model_by_its_name(
    stored: Path, tmp_path: Path, record: type[Options], key: str, others: str
) -> None:
    (tmp_path / "folder").mkdir()
    file = tmp_path / "folder" / "o.yaml"

    def model(value: str) -> object:
        file.write_text(f"{key}: {value}\n{others}\n")
        return getattr(Call(record, file).resolve(), key)

    assert model("mine") == stored
    assert model("../mine") == tmp_path / "mine", "a path starts at the file"
    assert model("missing") == tmp_path / "folder" / "missing"
    (tmp_path / "folder" / "mine").mkdir()
    assert model("mine") == tmp_path / "folder" / "mine", "a folder comes before a name"
    with pytest.raises(ModelError, match="tiny-1k: a published model that is not on this machine"):
        model("tiny-1k")


def test_fine_tuning_starts_from_a_model_by_its_name(stored: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "mine")
    given = {"table": Path("t.csv"), "output": Path("o")}
    assert understand(Call(FinetuneOptions, None, given, ["model=mine"])).config.model == stored
    with pytest.raises(ModelError, match=r"mine2: does not exist, and no model has that name; did you mean mine\?"):
        understand(Call(FinetuneOptions, None, given, ["model=mine2"]))
