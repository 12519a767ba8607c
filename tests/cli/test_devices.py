"""``--devices`` and ``--dry-run`` of the three commands that read a model over a long input."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from calls import call
from toy_scoring import write_fasta
from vcf_files import tiny_model

from genoconv.errors import Interrupted
from genoconv.pipelines.scan import run as scan_run
from genoconv.pipelines.score import run as score_run
from genoconv.tasks.journal import Journal

RNG = np.random.default_rng(3)
CONTIG = "".join(RNG.choice(list("ACGT"), 2000))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("devices")
    tiny_model(folder / "model", max_length=130)
    write_fasta(folder / "g.fa", {"c": CONTIG, "d": CONTIG[:300]})
    rows = (
        f"c\t{p}\t.\t{CONTIG[p - 1]}\t{'ACGT'.replace(CONTIG[p - 1], '')[0]}\t.\t.\t.\n" for p in range(100, 1900, 9)
    )
    (folder / "in.vcf").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "".join(rows)
    )
    return folder


def run(folder: Path, command: str, out: Path, *words: object) -> None:
    inputs = {
        "score-variants": ["in.vcf", "-f", folder / "g.fa", "-w", 64],
        "scan": ["g.fa", "-w", 64],
        "embed": ["g.fa", "-w", 64, "--set", "chunk=500"],
    }[command]
    first, *rest = inputs
    base = [command, folder / str(first), *rest, "-m", folder / "model", "-o", out, "--device", "cpu"]
    call(*base, *words)


@pytest.mark.parametrize(("command", "name"), [("scan", "o.vcf.gz"), ("embed", "o.npz")])
def test_two_processes_write_the_bytes_of_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    monkeypatch.setattr(scan_run, "_PIECE_POSITIONS", (256, 256))
    run(folder, command, tmp_path / "one" / name)
    before = (tmp_path / "one" / name).read_bytes()
    # One process does two pieces and is interrupted, two do the rest.
    left = [2]
    append: Callable[..., None] = Journal.append

    def stop(self: Journal, *values: object) -> None:
        for value in values:  # pieces that waited for the disk come together
            append(self, value)
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

    out = tmp_path / name
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", stop)
        with pytest.raises(Interrupted, match="repeat the command with --resume"):
            run(folder, command, out)
    assert not out.exists()
    assert not multiprocessing.active_children()
    run(folder, command, out, "--devices", 2, "--resume")
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("command", "name", "said"),
    [
        ("score-variants", "o.vcf", "200 records, about "),
        ("scan", "o.tsv.gz", "2,300 positions, about "),
        ("embed", "o.npz", "2,300 bases, about "),
    ],
)
def test_a_dry_run_says_what_there_is_to_do_and_writes_nothing(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, command: str, name: str, said: str
) -> None:
    caplog.set_level("INFO", logger="genoconv")
    run(folder, command, tmp_path / name, "--dry-run")
    assert any(line.startswith(said) and line.endswith(" on cpu") for line in caplog.messages), caplog.messages
    assert not list(tmp_path.iterdir())


def test_a_long_run_says_it_before_it_starts(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_run, "_SHORT", 100)
    caplog.set_level("INFO", logger="genoconv")
    run(folder, "score-variants", tmp_path / "o.vcf")
    assert any(line.startswith("200 records, about ") for line in caplog.messages)
    caplog.clear()
    run(folder, "score-variants", tmp_path / "q.vcf", "--quiet")
    assert not any("about" in line for line in caplog.messages)
