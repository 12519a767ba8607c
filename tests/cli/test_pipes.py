"""Inputs from pipes: what a run reads several times is copied once, and what is read again later has to be a file."""

import itertools
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from calls import call
from embed_files import model_folder, read_npz
from fasta_files import random_bases, write_fasta

from genoconv.digests import file_digest
from genoconv.errors import UsageError

BED = "".join(f"c\t{start}\t{start + 30}\tpeak{start}\n" for start in range(0, 400, 40))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipes")
    sequence = random_bases(500, seed=3, letters="ACGT")
    write_fasta(folder / "g.fa", {"c": sequence})
    model_folder(folder / "model")
    (folder / "a.bed").write_text(BED)
    (folder / "a.gff3").write_text("c\tx\tgene\t1\t60\t.\t+\t.\tID=g\n")
    (folder / "a.vcf").write_text(
        f"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nc\t30\t.\t{sequence[29]}\t*\t.\t.\t.\n"
    )
    return folder


@pytest.fixture
def piped(tmp_path: Path) -> Callable[[Path], Path]:
    """Makes a named pipe that holds a file once, and nothing for whoever opens it again."""

    def make(file: Path) -> Path:
        pipe = tmp_path / f"{file.name}.pipe"
        os.mkfifo(pipe)

        def fill() -> None:
            for content in itertools.chain([file.read_bytes()], itertools.repeat(b"")):
                pipe.write_bytes(content)
                time.sleep(0.05)  # so that its reader sees the end

        threading.Thread(target=fill, daemon=True).start()
        return pipe

    return make


def test_intervals_from_a_pipe_are_all_read(place: Path, piped: Callable[[Path], Path], tmp_path: Path) -> None:
    common = ("embed", place / "g.fa", "-m", place / "model", "--device", "cpu", "-q", "--bed")
    pipe = piped(place / "a.bed")
    call(*common, pipe, "-o", tmp_path / "pipe.npz")
    call(*common, place / "a.bed", "-o", tmp_path / "file.npz")
    found, expected = (read_npz(tmp_path / name) for name in ("pipe.npz", "file.npz"))
    assert len(expected["names"]) == 10
    assert found["names"].tolist() == expected["names"].tolist()
    np.testing.assert_array_equal(found["embeddings"], expected["embeddings"])
    assert str(pipe) in found["metadata"]["command"]


def test_the_digest_of_an_annotation_from_a_pipe_is_that_of_its_content(
    place: Path, piped: Callable[[Path], Path], tmp_path: Path
) -> None:
    pipe, out = piped(place / "a.gff3"), tmp_path / "o.vcf"
    options = ("--context", "gene", "--annotation", pipe, "-m", place / "model", "--device", "cpu", "-q", "-o", out)
    call("score-variants", place / "a.vcf", "-f", place / "g.fa", *options)
    assert f"sha256={file_digest(place / 'a.gff3')}" in out.read_text()


KEPT = {
    "train": ("train", "-f", "g.fa", "-o", "out", "--annotation"),
    "finetune": ("finetune", "g.fa", "-m", "model", "-o", "out", "--per-base"),
    "genomes add": ("genomes", "add", "mine", "--fasta"),
}


@pytest.mark.parametrize("command", KEPT)
def test_a_pipe_is_refused_where_its_path_is_kept(
    place: Path, piped: Callable[[Path], Path], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    pipe = piped(place / "a.bed")
    with pytest.raises(UsageError, match=f"{KEPT[command][-1]} {pipe}: a pipe, which can be read only once"):
        call(*KEPT[command], pipe)
    assert not (place / "out").exists()


def test_a_configuration_may_be_a_pipe(place: Path, piped: Callable[[Path], Path], tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("max_length: 77\n")
    assert "max_length: 77\n" in call("train", piped(tmp_path / "run.yaml"), "--print-config").stdout
