"""``genoconv windows`` writes it, ``genoconv train`` reads it: the same windows, or one line about what is wrong."""

from pathlib import Path

import pandas as pd
import pytest
from calls import call
from fasta_files import write_fasta
from train_runs import patterned_bases, resume, same_weights, train_tiny

from genoconv.errors import DataError, UsageError
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.chosen import read_windows


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return write_fasta(tmp_path / "g.fa", {"chr1": patterned_bases(9_000, seed=1), "2": patterned_bases(900, seed=2)})


@pytest.fixture
def genes(tmp_path: Path) -> Path:
    path = tmp_path / "g.gff3"
    rows = [f"chr1\tx\tgene\t{s + 1}\t{s + 150}\t.\t{'+-'[s % 400 // 200]}\t.\tID=g{s}" for s in range(0, 8_800, 200)]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("name", ["w.bed", "w.tsv", "w.bed.gz", "w.tsv.gz"])
@pytest.mark.parametrize("kind", ["genes", "tiles"])
def test_the_file_of_genoconv_windows_trains_the_same_model(
    fasta: Path, genes: Path, tmp_path: Path, name: str, kind: str
) -> None:
    file = tmp_path / name
    source = ["-a", str(genes)] if kind == "genes" else ["--tiles"]
    words = ["windows", "-f", str(fasta), *source, "-l", "64", "--min-length", "32", "--test-fraction", "0.2", "-q"]
    call(*words, "-o", file)
    made = [f"annotation={genes}"] if kind == "genes" else []
    if name == "w.bed":  # once is enough for the whole of it
        direct = train_tiny(tmp_path / "direct", fasta, *made, "windows.test_fraction=0.2", max_steps=2)
        read = train_tiny(tmp_path / "read", fasta, f"window_file={file}", max_steps=2)
        assert same_weights(direct, read)
        assert "the windows of w.bed" in (read / "README.md").read_text()
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(lines[1:]))
        with pytest.raises(DataError, match=r"w\.bed has changed: \d+ windows where there were \d+"):
            resume(read, "run.max_steps=3")
    found = read_windows(file, Fasta(fasta), max_length=64, aliases={}).frame
    assert set(found["split"]) == {"train", "valid", "test"}
    assert set(found["strand"]) == ({"+", "-"} if kind == "genes" else {"+"})


def test_contigs_may_have_another_name(fasta: Path, tmp_path: Path) -> None:
    file = tmp_path / "w.bed"
    file.write_text("1\t0\t60\ta\t0\t+\ttrain\nchr2\t5\t50\tb\t0\t-\tvalid\n")
    found = read_windows(file, Fasta(fasta), max_length=64, aliases={}).frame
    expected = pd.DataFrame(
        {"contig": ["chr1", "2"], "start": [0, 5], "end": [60, 50], "strand": ["+", "-"], "name": ["a", "b"]}
    )
    pd.testing.assert_frame_equal(found.drop(columns="split"), expected)


HEADER = "contig\tstart\tend\tstrand\tname\tsplit\n"
WRONG = {
    "no split": ("w.bed", "chr1\t0\t60\ta\t0\t+\ttrain\nchr1\t60\t90\n", "line 2: no split; column 7 of BED"),
    "another split": ("w.bed", "chr1\t0\t60\ta\t0\t+\tdev\n", "line 1: no split"),
    "unknown contig": ("w.bed", "chr9\t0\t60\ta\t0\t+\ttrain\n", "line 1: no contig 'chr9' in "),
    "beyond the end": (
        "w.bed",
        "2\t800\t901\ta\t0\t+\ttrain\n",
        "line 1: the window ends at 901, but '2' has only 900 bases",
    ),
    "too long": (
        "w.bed",
        "2\t0\t65\ta\t0\t+\ttrain\n",
        "line 1: a window of 65 bases, but the model reads at most 64: choose",
    ),
    "no row": ("w.tsv", HEADER, "no windows in this file"),
    "no header": ("w.tsv", "chr1\t0\t60\t+\ta\ttrain\n", "line 1: expected the header contig start end"),
    "a column less": ("w.tsv", HEADER + "chr1\t0\t60\t+\ta\n", "line 2: 5 columns, expected 6"),
    "no number": ("w.tsv", HEADER + "chr1\tx\t60\t+\ta\ttrain\n", "line 2: start 'x' and end '60' should be whole"),
    "a leak": (
        "w.bed",
        "chr1\t0\t60\ta\t0\t+\ttrain\nchr1\t70\t99\tb\t0\t+\ttest\nchr1\t59\t71\tc\t0\t-\tvalid\n",
        "valid window 'c' (chr1:60-71) shares bases with train window 'a'",
    ),
    "an inner leak": (
        "w.bed",
        "chr1\t0\t60\ta\t0\t+\ttrain\nchr1\t10\t20\tb\t0\t+\ttrain\nchr1\t30\t40\tc\t0\t-\ttest\n",
        "test window 'c' (chr1:31-40) shares bases with train window 'a'",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_gets_one_clear_line(fasta: Path, tmp_path: Path, name: str) -> None:
    file, text, message = tmp_path / WRONG[name][0], *WRONG[name][1:]
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        read_windows(file, Fasta(fasta), max_length=64, aliases={})
    assert message in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_does_not_go_with_a_file_of_windows(fasta: Path, genes: Path, tmp_path: Path) -> None:
    file = tmp_path / "w.bed"
    file.write_text("chr1\t0\t60\ta\t0\t+\ttrain\n")
    with pytest.raises(UsageError, match="--windows FILE already defines the windows: drop --annotation"):
        train_tiny(tmp_path / "run", fasta, f"window_file={file}", f"annotation={genes}")
    with pytest.raises(UsageError, match="--windows needs the FASTA that it describes"):
        call("train", "--windows", file)
    with pytest.raises(DataError, match=r"w\.bed: no windows for validation: no row has the split valid"):
        train_tiny(tmp_path / "run", fasta, f"window_file={file}")
