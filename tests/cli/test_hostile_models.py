"""Model folders and checkpoints that nobody made in good faith: one line, and nothing written."""

import io
import json
import os
import pickle
import resource
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from embed_files import model_folder, small_model
from fasta_files import random_bases, write_fasta

from genoconv.errors import GenoconvError, ModelError
from genoconv.models import save_model
from genoconv.models.checkpoint import load_model, read_config
from genoconv.models.published.unpickle import load_checkpoint
from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.pipelines.embed.run import embed
from genoconv.pipelines.models.run import describe_model, export_model, import_model, layout_named
from support import file_limit, one_clear_line, run_cli

HF = layout_named("hyenadna-hf")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return model_folder(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def edited(model, tmp_path) -> Callable[[Callable[[dict[str, Any]], object]], Path]:
    """A copy of the model whose config.json has been edited."""

    def edit(change: Callable[[dict[str, Any]], object]) -> Path:
        folder = tmp_path / "edited"
        shutil.copytree(model, folder)
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return edit


PUBLISHED = {"layout": "hyenadna-hf", "config": {}, "weights_file": "model.safetensors"}
# An edit of config.json, and what is said of it; by reading it, or only by giving the checkpoint back.
EDITS = {
    "no digest": (lambda c: c["weights"].pop("sha256"), "weights.sha256 is missing or not a SHA-256"),
    "digest of another type": (lambda c: c["weights"].update(sha256=[1]), "weights.sha256 is missing"),
    "no unit": (lambda c: c["tokenizer"].pop("unit"), "its vocabulary is not genoconv's"),
    "NaN": (lambda c: c["provenance"].update(x=float("nan")), "not JSON: NaN"),
    "huge number": (
        lambda c: c["model"].update(max_length=10**4000),
        r"10,000,000.*\.\.\. \(5,334 characters\) is outside",
    ),
    "huge text": (lambda c: c["model"].update(d_model="x" * 10**6), "is not a whole number"),
    "published as a list": (lambda c: c["provenance"].update(published=[1]), "provenance.published: "),
    "published elsewhere": (
        lambda c: c["provenance"].update(published={**PUBLISHED, "weights_file": "../../x"}),
        "provenance.published.weights_file: ",
    ),
    "published of a type": (
        lambda c: c["provenance"].update(published={**PUBLISHED, "dtypes": {"a": "Tensor"}}),
        "provenance.published.dtypes.a: ",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_config_that_was_edited_is_one_line(name: str, edited, tmp_path: Path) -> None:
    change, words = EDITS[name]
    folder = edited(change)
    with pytest.raises(ModelError, match=words) as refused:
        export_model(folder, tmp_path / "out" / "back", layout=HF)
    if not name.startswith("published"):
        with pytest.raises(ModelError, match=words):
            describe_model(folder)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400
    assert not (tmp_path / "out").exists()


BEYOND = {"nested": "[" * 100_000, "number": '{"format": ' + "9" * 4400 + "}", "size": "{}" + " " * (1 << 25)}


@pytest.mark.parametrize("content", BEYOND.values(), ids=BEYOND.keys())
def test_a_config_beyond_measure_is_one_line(content: str, edited, tmp_path: Path) -> None:
    folder = edited(lambda c: None)
    (folder / "config.json").write_text(content)
    with pytest.raises(
        ModelError, match=r"config.json: (not JSON: (nested|Exceeds)|more than 16,777,216 bytes)"
    ) as found:
        describe_model(folder)
    assert "\n" not in str(found.value)
    assert "sys." not in str(found.value)


def test_weights_that_do_not_fit_are_one_line(edited) -> None:
    folder = edited(lambda c: c["model"].update(d_model=2 * c["model"]["d_model"]))
    with pytest.raises(
        ModelError, match=r"model.safetensors: tensor \S+ is \[.*; \d+ more tensors like that$"
    ) as found:
        load_model(folder)
    assert "\n" not in str(found.value)


def test_what_a_config_says_is_shown_and_not_obeyed(edited, home: Path) -> None:
    folder = edited(lambda c: c["provenance"].update({"a\ud800": "\udfff\x1b]0;owned\x07", "genome": "\u202e"}))
    for words in ((), ("--json", "-")):
        result = run_cli("models", "show", folder, *words, home=home)
        assert result.returncode == 0, result.stderr.decode()
        text = result.stdout.decode()
        assert all(line.isprintable() for line in text.splitlines())
        assert "]0;owned" in text


def test_weights_beyond_measure(tmp_path: Path) -> None:
    wild = small_model()
    with torch.no_grad():
        for parameter in wild.parameters():
            parameter.fill_(1e38)
    save_model(wild, tmp_path / "wild", provenance={})
    fasta = write_fasta(tmp_path / "in.fa", {"r": random_bases(50, seed=1)})
    for dtype in ("float32", "float16"):
        options = EmbedOptions(fasta=fasta, model=tmp_path / "wild", output=tmp_path / "o.npz", dtype=dtype)
        with pytest.raises(ModelError, match=r"wild: its states are not finite \(first in r at 0\)"):
            embed(options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.fa", "wild"]


def test_scores_of_weights_beyond_measure(tmp_path: Path, home: Path) -> None:
    wild = small_model()
    with torch.no_grad():
        for parameter in wild.parameters():
            parameter.fill_(1e38)
    save_model(wild, tmp_path / "wild", provenance={})
    fasta = write_fasta(tmp_path / "in.fa", {"r": "ACGT" * 100})
    vcf = tmp_path / "in.vcf"
    vcf.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nr\t201\t.\tA\tC\t.\t.\t.\n")
    score = ("score-variants", vcf, "-f", fasta, "-o", tmp_path / "o.vcf", "--window", "16")
    scan = ("scan", fasta, "-r", "r:100-140", "-o", tmp_path / "o.tsv.gz", "--window", "16")
    calibrate = ("models", "calibrate", tmp_path / "wild", "-f", fasta, "--window", "16")
    for words, said in (
        ((*score, "-m", tmp_path / "wild"), "its scores are not finite (first at r:201)"),
        ((*scan, "-m", tmp_path / "wild"), "wild: its predictions are not finite (first in r:"),
        (calibrate, "wild: its predictions are not finite (first in r:"),
    ):
        assert said in one_clear_line(run_cli(*words, home=home), code=1)
    assert not list(tmp_path.glob("o.*"))


def test_a_hostile_genome_name_in_a_caution(edited, tmp_path: Path, home: Path) -> None:
    folder = edited(lambda c: c["provenance"].update(genome="\udfff\x1b]0;owned\x07"))
    (folder / "genome.json").write_text(json.dumps({"contigs": {"x": {"md5": "0" * 32}}}))
    fasta = write_fasta(tmp_path / "in.fa", {"r": "ACGT" * 100})
    vcf = tmp_path / "in.vcf"
    vcf.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nr\t201\t.\tA\tC\t.\t.\t.\n")
    result = run_cli("score-variants", vcf, "-f", fasta, "-m", folder, "-o", tmp_path / "o.vcf", home=home)
    assert result.returncode == 0, result.stderr.decode()
    header = (tmp_path / "o.vcf").read_text()
    assert r"trained on \udfff\x1b]0;owned\x07, which" in header
    assert "\x1b" not in header


def test_names_that_are_not_utf8(model, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"odd\xff")
    shutil.copytree(model, odd)
    fasta = write_fasta(tmp_path / os.fsdecode(b"in\xff.fa"), {"r": random_bases(50, seed=1)})
    for suffix in ("npz", "npy", "parquet", "h5ad"):
        output = tmp_path / os.fsdecode(f"out\udcff.{suffix}")
        embed(EmbedOptions(fasta=fasta, model=odd, output=output))
        assert output.exists()
    for name in ("hyenadna-hf", "hyenadna-original"):
        back, again = tmp_path / f"{name}\udcff", tmp_path / f"{name}\udcff-again"
        export_model(odd, back, layout=layout_named(name))
        assert import_model(str(back), again).parameters == sum(p.numel() for p in load_model(odd).parameters())
        assert describe_model(again)["folder"] == str(again)


def test_an_output_is_never_its_input(model, tmp_path: Path) -> None:
    export_model(model, tmp_path / "source", layout=HF)
    for output in (tmp_path / "source", tmp_path):
        with pytest.raises(GenoconvError, match="SRC"):
            import_model(str(tmp_path / "source"), output, force=True)
    with pytest.raises(GenoconvError, match="is the input MODEL"):
        export_model(model, model, layout=HF, force=True)
    fasta = write_fasta(tmp_path / "in.npz", {"r": random_bases(50, seed=1)})
    for output, name in ((fasta, "FASTA"), (model / "config.npy", "--model")):
        with pytest.raises(GenoconvError, match=name):
            embed(EmbedOptions(fasta=fasta, model=model, output=output, force=True))
    assert read_config(model)
    assert fasta.read_text().startswith(">r")


@pytest.mark.parametrize(
    "words", [("import", "SOURCE"), ("export", "MODEL"), ("export", "MODEL", "--format", "hyenadna-original")]
)
def test_a_limit_on_file_size_is_one_line(words: tuple[str, ...], model, tmp_path: Path, home: Path) -> None:
    source = tmp_path / "source"
    export_model(model, source, layout=HF)
    output = tmp_path / "new" / "out"
    places = {"SOURCE": source, "MODEL": model}
    words = tuple(str(places.get(word, word)) for word in words)
    result = run_cli("models", *words, "-o", output, home=home, before=file_limit(4096))
    line = one_clear_line(result, code=1)
    assert "File too large" in line
    assert str(output) in line
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize("suffix", ["npz", "npy", "parquet", "h5ad"])
def test_a_limit_on_file_size_of_vectors_is_one_line(suffix: str, model, tmp_path: Path, home: Path) -> None:
    fasta = write_fasta(tmp_path / "in.fa", {f"r{n}": random_bases(20, seed=n) for n in range(300)})
    sizes = {"npz": 10_000, "npy": 9_700, "parquet": 9_650, "h5ad": 15_000}
    words = ("embed", fasta, "-m", model, "-o", tmp_path / f"o.{suffix}", "-q")
    result = run_cli(*words, home=home, before=file_limit(sizes[suffix]))
    line = one_clear_line(result, code=1)
    assert "File too large" in line
    assert len(result.stderr.splitlines()) <= 2, result.stderr.decode()
    assert not (tmp_path / f"o.{suffix}").exists()


def zipped(pickled: bytes, *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A file of torch's kind with this pickle in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def calls(name: str, number: int) -> bytes:
    """A pickle of {"x": NAME(NUMBER)}."""
    module, _, attribute = name.rpartition(".")
    called = f"c{module}\n{attribute}\n".encode() + b"\x8a\x08" + struct.pack("<q", number) + b"\x85R"
    return b"\x80\x02}X\x01\x00\x00\x00x" + called + b"s."


@pytest.mark.parametrize(
    "name",
    [
        "builtins.bytearray",
        "__builtin__.bytearray",
        "torch.Tensor",
        "torch.FloatTensor",
        "torch.storage.UntypedStorage",
        "os.system",
    ],
)
def test_a_pickle_that_takes_memory_is_refused_before_it_does(name: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.ckpt"
    path.write_bytes(zipped(calls(name, 9_900_000_000)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match=r"weights.ckpt: refused, it asks for \S+; only tensors") as refused:
        load_checkpoint(path)
    assert "add_safe_globals" not in str(refused.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


def test_a_compressed_part_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.ckpt"
    torch.save({"x": torch.zeros(10)}, path)
    assert torch.equal(load_checkpoint(path)["x"], torch.zeros(10))
    path.write_bytes(zipped(pickle.dumps({}, 2), compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(ModelError, match=r"refused, its part archive/data.pkl is compressed"):
        load_checkpoint(path)
