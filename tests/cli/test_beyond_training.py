"""``embed`` and ``score-variants`` with windows longer than those that the model was trained on."""

import logging
from pathlib import Path

import numpy as np
import pytest
from embed_files import model_folder, read_npz, small_model, states
from fasta_files import random_bases, write_fasta
from vcf_files import info, lines

from genoconv.errors import UsageError
from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.pipelines.embed.run import embed
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.pipelines.score.run import score_variants

SEQUENCE = random_bases(700, seed=1)


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return write_fasta(tmp_path / "in.fa", {"chr1": SEQUENCE})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "model", max_length=100, filter_length=100)


@pytest.mark.parametrize("option", [{"max_length": 700}, {"window": 700}])
def test_embed_reads_longer_than_in_training_when_asked_and_says_so(
    option: dict[str, int], fasta: Path, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "genoconv")
    embed(EmbedOptions(fasta=fasta, model=model, output=tmp_path / "out.npz", quiet=True, **option))  # type: ignore[arg-type]
    truth = states(small_model(max_length=100, filter_length=100), SEQUENCE).mean(0)
    found = read_npz(tmp_path / "out.npz")
    np.testing.assert_allclose(found["embeddings"][0], truth, atol=1e-5)
    assert found["metadata"]["max_length"] == 700
    assert "windows of 700 bases are longer than the 100 that the model was trained on" in caplog.text
    assert "a base sees the 99 before it" in caplog.text


def test_embed_keeps_to_the_windows_of_training_unless_asked(fasta: Path, model: Path, tmp_path: Path) -> None:
    embed(EmbedOptions(fasta=fasta, model=model, output=tmp_path / "out.npz", quiet=True))
    assert read_npz(tmp_path / "out.npz")["metadata"]["max_length"] == 100


def test_score_variants_reads_longer_than_in_training_and_says_so(
    fasta: Path, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "genoconv")
    ref = SEQUENCE[349]
    vcf = tmp_path / "in.vcf"
    vcf.write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        f"chr1\t350\t.\t{ref}\t{'A' if ref != 'A' else 'C'}\t.\t.\t.\n"
    )
    scores = []
    for windows in ((100,), (600,)):
        out = tmp_path / f"{windows[0]}.vcf"
        score_variants(ScoreOptions(vcf=vcf, fasta=fasta, model=model, output=out, window=windows, quiet=True))
        (record,) = [line for line in lines(out) if not line.startswith("#")]
        scores.append(float(info(record)["GCONV_LLR"]))
    assert scores[0] != scores[1]
    assert "windows of 600 bases are longer than the 100" in caplog.text
    assert "windows of 100 bases" not in caplog.text


def test_a_model_without_shorter_filters_still_refuses(fasta: Path, tmp_path: Path) -> None:
    plain = model_folder(tmp_path / "plain", max_length=100)
    with pytest.raises(UsageError, match="--max-length 101: this model reads 1 to 100 bases at once"):
        embed(EmbedOptions(fasta=fasta, model=plain, output=tmp_path / "out.npz", max_length=101))
