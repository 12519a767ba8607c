"""The examples run on small data: scripts in this process, notebooks in a kernel.

The training notebook finds the run of the training script, if that was tested before it in this process.
"""

import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from fasta_files import random_bases, write_fasta
from reports import enter
from train_runs import patterned_genome
from vcf_files import tiny_model

from support import HANG, ROOT, shell_path

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a genome, variants and a model."""
    path = tmp_path_factory.mktemp("examples")
    bases = random_bases(2000, seed=3, letters="ACGT")
    write_fasta(path / "genome.fa", {"c": bases})
    rows = [(at, bases[at], next(base for base in "ACGT" if base != bases[at])) for at in (300, 700, 1100)]
    rows.append((1500, bases[1500:1503], bases[1500]))
    header = "##fileformat=VCFv4.2\n##contig=<ID=c>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    lines = [f"c\t{at + 1}\t.\t{ref}\t{alt}\t.\t.\t.\n" for at, ref, alt in rows]
    (path / "calls.vcf").write_text(header + "".join(lines))
    tiny_model(path / "model", max_length=512)
    patterned_genome(path / "pattern.fa")
    return path


@pytest.fixture
def run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[object]:
    """Run a script with arguments; ``genoconv`` runs in this process. Returns what it printed."""
    monkeypatch.chdir(tmp_path)
    process = subprocess.run

    def call(words: list[str], **options: Any) -> Any:
        if words[0] != "genoconv":  # matplotlib asks for fonts
            return process(words, **options)
        assert options == {"check": True}
        assert enter(*words[1:]) == 0
        return None

    def script(name: str, *words: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        monkeypatch.setattr(subprocess, "run", call)
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return script


def test_the_operator_learns_to_look_back(run) -> None:
    printed = run("fftconv_in_your_model.py", "--length", 32, "--gap", 25, "--steps", 100)
    assert float(printed.splitlines()[-1].partition("%")[0]) > 90


def test_a_curve_is_read(run, folder: Path) -> None:
    printed = run("train_on_yeast.py", "--fasta", folder / "pattern.fa", "--max-steps", 2, "-o", folder / "run")
    assert "2 steps" in printed
    assert "than k-mer counts" in printed or "beats k-mer counts" in printed


def test_alleles_are_ranked(run, folder: Path) -> None:
    words = (folder / "calls.vcf", "--fasta", folder / "genome.fa", "--model", folder / "model", "--window", 64)
    lines = run("score_and_rank.py", *words).splitlines()
    assert lines[-1].startswith("4 alleles with a score")
    scores = [float(line.split()[-2]) for line in lines[1:-1]]
    assert scores == sorted(scores)
    assert sum("deletion" in line for line in lines) == 1


NOTEBOOKS = {
    "train_on_yeast": 'GENOME = ["--fasta", "{folder}/pattern.fa"]\nBUDGET = ["--max-steps", "2"]\n'
    'FOLDER = "{folder}/run"\n',
    "score_and_rank": 'VCF, FASTA, MODEL = "{folder}/calls.vcf", "{folder}/genome.fa", "{folder}/model"\n'
    'OPTIONS = ["--window", "64"]\n',
}


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.ipynb")))
@pytest.mark.filterwarnings("ignore")  # of the notebook's machinery
def test_a_notebook_runs(name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{shell_path()}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    assert all(cell.get("outputs", []) == [] for cell in notebook.cells), "commit notebooks without output"
    parameters = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    parameters.source = NOTEBOOKS[name].format(folder=folder)
    patience = {"timeout": HANG, "startup_timeout": HANG, "iopub_timeout": HANG}  # a late picture is not to be missed
    nbclient.NotebookClient(notebook, **patience, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
