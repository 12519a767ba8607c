"""``genoconv models`` as a user runs it."""

from pathlib import Path

from calls import call
from published_checkpoints import random_tensors, write_hf, write_original
from reports import reported

from genoconv.pipelines.models.run import import_model
from support import one_clear_line, run_cli


def models(*arguments: str | Path) -> str:
    """Standard output of the command, run in this process."""
    return call("models", *arguments).stdout


def test_show_and_list_print_data(home: Path, tmp_path: Path) -> None:
    source = write_original(tmp_path / "source", random_tensors())
    assert run_cli("models", "import", "-q", source, "-o", tmp_path / "model", home=home).stderr == b""
    shown = reported("models", "show", tmp_path / "model")["result"]
    assert shown["max_length"] == 50
    assert shown["calibration"] is None
    assert shown["provenance"]["source"]["path"] == str(source)
    assert shown["provenance"]["published"]["checkpoint"] == {"epoch": 3}
    text = models("show", tmp_path / "model")
    for word in (shown["model_digest"], shown["weights_sha256"], "50 tokens", "[CLS]", "hyenadna-original"):
        assert word in text
    listed = models("list")
    assert len(listed.splitlines()) == 9  # a heading, the published models and the one that ships
    assert "1,000,002" in listed
    assert "mammal-1k" in listed


def test_faults_are_reported_a_line_each(home: Path, tmp_path: Path) -> None:
    tensors = random_tensors()
    del tensors["backbone.ln_f.bias"], tensors["backbone.layers.0.norm1.weight"]
    source = write_hf(tmp_path / "source", tensors)
    result = run_cli("models", "import", source, "-o", tmp_path / "model", home=home)
    assert "backbone.layers.0.norm1.weight is missing" in one_clear_line(result, code=1)
    assert result.stderr.decode().splitlines()[1].endswith("hyena.backbone.ln_f.bias is missing")
    assert sorted(path.name for path in tmp_path.iterdir() if path != home) == ["source"]


def test_export_writes_what_its_format_says(tmp_path: Path) -> None:
    import_model(str(write_hf(tmp_path / "source", random_tensors())), tmp_path / "model")
    out = tmp_path / "out"
    assert models("export", tmp_path / "model", "--format", "hyenadna-original", "-o", out) == ""
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "weights.ckpt"]
