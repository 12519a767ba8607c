"""The commands that README and docs show with their output, run as they stand."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from fasta_files import random_bases, write_fasta
from vcf_files import tiny_model

from genoconv.models.checkpoint import save_model
from genoconv.models.config import ModelConfig
from genoconv.models.heads import HeadConfig, Predictor
from support import HANG, ROOT, cli_environment, run_cli, shell_path

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


# The pages use these files of the reader's. What is slow or needs the network is in a block marked ``sh``, and not run.
CALLS = """##fileformat=VCFv4.2
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
demo1\t1000\t.\tC\tG\t.\t.\t.
demo1\t1500\t.\tC\tG\t.\t.\t.
demo1\t2000\t.\tG\tT\t.\t.\t.
demo1\t2500\t.\tTGT\tT\t.\t.\t.
"""
SEQUENCES = {"short": 30, "middle": 48, "long": 3000}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and input files; below it the cache of the commands."""
    path = tmp_path_factory.mktemp("pages")
    tiny_model(path / "model", max_length=2048)
    (path / "calls.vcf").write_text(CALLS)
    tiny_model(path / "mine", max_length=2048)
    predictor(path / "runs" / "promoters")
    write_fasta(path / "new.fa", {f"s{n}": random_bases(251, seed=n) for n in (1, 2, 3)})
    write_fasta(path / "sequences.fa", {name: random_bases(n, seed=n) for name, n in SEQUENCES.items()})
    return path


def predictor(folder: Path) -> None:
    """A model folder with a head for two classes, 0 and 1."""
    folder.parent.mkdir()
    sizes = ModelConfig(d_model=8, n_layer=1, max_length=256, filter_order=8)
    save_model(Predictor(sizes, HeadConfig(kind="binary", labels=("0", "1"))), folder, provenance={"source": "a test"})


def blocks(page: Path) -> list[tuple[str, list[str]]]:
    """(command, lines of output) of every ``console`` block of a page, in order."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def plain(line: str) -> str:
    """A line without what differs between machines: numbers, digests, folders."""
    line = re.sub(r"\S*/genomes/", "HOME/genomes/", line)
    line = re.sub(r"\b[0-9a-f]{12,64}\b", "DIGEST", line)
    return re.sub(r"\s+", " ", re.sub(r"-?\d[\d,.]*(?:e[-+]\d+)?", "#", line)).strip()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_what_a_page_shows_is_what_happens(page: Path, folder: Path) -> None:
    environment = cli_environment(folder / "home", {"PATH": shell_path(), "COLUMNS": "200"})
    shown = blocks(page)
    if "genomes path demo" in shown[0][0]:  # of a reader who has it: no other page's test need have fetched it
        assert run_cli("genomes", "fetch", "demo", "-q", home=folder / "home").returncode == 0
    for line, expected in shown:
        text = re.sub(r"--max-minutes \S+", "--max-steps 2", line)
        text = text.replace("--sample 20k --variants 300", "--sample 2k --variants 120")
        assert shlex.split(text), line
        result = subprocess.run(
            ["bash", "-c", text],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=HANG,
            check=False,
        )
        output = result.stdout.decode()
        assert result.returncode == 0, f"{line}\n{output}"
        printed = [plain(row) for row in output.splitlines()]
        for row in filter(None, map(plain, expected)):
            assert row == "..." or row in printed, f"{page.name}: $ {line}\nlacks: {row}\nprinted:\n{output}"
