"""Tables, BED files and labels that ``genoconv finetune`` cannot use: one line each, which names the place."""

import pandas as pd
import pytest
from calls import call
from fasta_files import write_fasta
from finetune_runs import GOOD, QUICK, SEQUENCES, Bench, write_table

from genoconv import formats
from genoconv.errors import DataError, GenoconvError, UsageError


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", '{"sequence": "ACGT", "label": 1}\n', r"x.json: JSON; convert it to CSV, TSV or Parquet"),
        ("x.xlsx", "PK", r"x.xlsx: a spreadsheet; save it as CSV"),
        (
            "x.txt",
            "sequence|label\nACGT|1\n",
            r"line 1: only one column, 'sequence\|label'; expected several, with tabs or commas",
        ),
        ("x.csv", 'sequence,label,note\nACGT,1,"two\nlines"\n', r"line 2: a quote that is not closed on its line"),
        ("x.tsv", "sequence\tlabel\n1\tACGT\t1\n", r"line 2: 3 cells, .*; are the first cells row names from R\?"),
        ("x.tsv", "sequence\tlabel\nACGTAC CGTACG\t1\n", r"line 2: the sequence contains spaces; .* not as k-mers"),
        ("x.tsv", "## made\n# by\nsequence\tlabel\nACGT\t\nACGT\t\n", r"line 4: no label in column label \(2 records"),
    ],
)
def test_files_of_other_kinds_are_named(bench: Bench, name: str, text: str, message: str) -> None:
    (bench.folder / name).write_text(text)
    with pytest.raises(DataError, match=message):
        bench.gathered(table=bench.folder / name)


@pytest.mark.parametrize("dictionary", [False, True])
def test_parquet_that_unpacks_beyond_measure(bench: Bench, dictionary: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_TABLE_ALLOWED", 1 << 16)
    frame = pd.DataFrame({"sequence": ["ACGT" * 2500] * 100, "label": [0, 1] * 50})
    frame.to_parquet(bench.folder / "x.parquet", use_dictionary=dictionary, compression="zstd")
    with pytest.raises(DataError, match=r"x\.parquet: unpacks to more than 100 times its size.*convert it to TSV"):
        bench.gathered(table=bench.folder / "x.parquet")


FAULTS: dict[str, tuple[list[str], list[list[object]], tuple[str, ...], str]] = {
    "no label column": (["sequence", "kind"], GOOD, (), r"x.csv: line 1: no column for the label; .*--label NAME"),
    "no sequence column": (["letters", "label"], GOOD, (), r"line 1: no column for the sequence"),
    "no header": ([*map(str, GOOD[0])], GOOD[1:], (), r"line 1: a record instead of a header"),
    "two candidates": (
        ["sequence", "target", "class"],
        [[*row, 1] for row in GOOD],
        (),
        r"columns target, class could each be",
    ),
    "the same name twice": (
        ["sequence", "label", "label"],
        [[*row, 1] for row in GOOD],
        (),
        r"two columns are named 'label'",
    ),
    "wrong --label": (
        ["sequence", "label"],
        GOOD,
        ("--label", "labelx"),
        r"--label labelx: .* no such column; did you mean label",
    ),
    "label missing": (["sequence", "label"], [*GOOD, [SEQUENCES[0], ""]], (), r"line 62: no label in column label"),
    "one class": (["sequence", "label"], [[s, 1] for s in SEQUENCES], (), r"column label contains one class only, '1'"),
    "no number": (
        ["sequence", "label"],
        [[s, n / 7] for n, s in enumerate(SEQUENCES)] + [["ACGT", "high"]],
        (),
        r"line 62: label 'high' in column label is not a number",
    ),
    "NaN": (
        ["sequence", "label"],
        [*GOOD, ["ACGT", "nan"]],
        (),
        r"line 62: label 'nan' in column label is not a class",
    ),
    "NaN among numbers": (
        ["sequence", "label"],
        [[s, n / 7] for n, s in enumerate(SEQUENCES)] + [["ACGT", "NaN"]],
        (),
        r"line 62: label 'NaN' .* not a finite 32-bit number",
    ),
    "beyond float32": (
        ["sequence", "label"],
        [[s, n / 7] for n, s in enumerate(SEQUENCES)] + [["ACGT", "1e60"]],
        (),
        r"line 62: label '1e60' .* 32-bit number",
    ),
    "constant": (["sequence", "label"], [[s, 0.5] for s in SEQUENCES], (), r"column label is 0.5 in every record"),
    "no sequence": (["sequence", "label"], [*GOOD, ["", 1]], (), r"line 62: no sequence"),
    "a digit": (["sequence", "label"], [*GOOD, ["ACG1T", 1]], (), r"line 62: the sequence contains '1'"),
    "protein": (["sequence", "label"], [*GOOD, ["MKLVEPQIFFE", 1]], (), r"record 'line 62' is not DNA"),
    "RNA": (["sequence", "label"], [*GOOD, ["ACGUUU", 1]], (), r"record 'line 62' is RNA"),
    "a cell more": (["sequence", "label"], [*GOOD, ["ACGT", 1, 2]], (), r"line 62: 3 cells, but the header has 2"),
    "the same id": (
        ["id", "sequence", "label"],
        [[f"r{n % 59}", *row] for n, row in enumerate(GOOD)],
        (),
        r"line 61: the id 'r0' is also on line 2",
    ),
    "split": (
        ["sequence", "label", "split"],
        [[*row, "train"] for row in GOOD] + [["ACGT", 1, "both"]],
        (),
        r"line 62: split 'both'; expected train, valid or test",
    ),
    "no training": (["sequence", "label", "split"], [[*row, "test"] for row in GOOD], (), r"no record for training"),
    "a class in test only": (
        ["sequence", "label", "split"],
        [[s, n % 2, "test" if n % 2 else ("train", "valid")[n % 4 // 2]] for n, s in enumerate(SEQUENCES)],
        (),
        r"every training record is of class '0'; nothing can be learned: change the splits",
    ),
    "numbers alike in training": (
        ["sequence", "label", "split"],
        [[s, 0.5 if n % 3 else n, ("valid", "train", "train")[n % 3]] for n, s in enumerate(SEQUENCES)],
        (),
        r"label is the same in every training record; nothing can be learned",
    ),
    "an empty list": (
        ["sequence", "label"],
        [[s, ("a;b", "a", "")[n % 3]] for n, s in enumerate(SEQUENCES)],
        (),
        r"line 4: no label in column label \(20 records have none\); add --task multilabel if that means none",
    ),
    "three classes": (
        ["sequence", "label"],
        [[s, n % 3] for n, s in enumerate(SEQUENCES)],
        ("--task", "binary"),
        r"--task binary: column label contains 3 classes",
    ),
    "contigs of a table": (["sequence", "label"], GOOD, ("--valid", "chr1"), r"--valid and --test name contigs"),
    "nothing": (["sequence", "label"], [], (), r"no record below the header"),
    "decimal comma": (
        ["sequence", "label"],
        [[s, f"0,{n % 4}"] for n, s in enumerate(SEQUENCES)],
        (),
        r"line 2: label '0,0' in column label has a decimal comma; use a decimal point",
    ),
    "many texts": (
        ["sequence", "label"],
        [[s, f"x{n}"] for n, s in enumerate(SEQUENCES)],
        (),
        r"line 2: label 'x0' in column label is not a number, and 60 different",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_names_its_place(bench: Bench, fault: str) -> None:
    header, rows, words, message = FAULTS[fault]
    table = write_table(bench.table, header, rows)
    with pytest.raises((DataError, UsageError), match=message) as caught:
        call("finetune", table, "-m", bench.base, "-o", bench.out, *QUICK, *words)
    assert "\n" not in str(caught.value)
    assert not bench.out.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.bed: no intervals in this BED file"),
        ("#\n", "x.bed: no intervals in this BED file"),
        ("c1\t0\n", "2 columns, but BED has at least 3"),
        ("c9\t0\t9\tx\n", "line 1: no contig 'c9'"),
        ("c1\t0\t999\tx\n", "line 1: the interval ends at 999, but 'c1' has only 60 bases"),
        ("c1\t0\t9\tn\t0\tx\t1\n", "line 1: strand 'x'"),
        ("c1\t0\t9\tn\t0\n", "5 columns without a header; name the label column with --label N"),
        ("c1\t0\t9\t1\nc1\t9\t19\n", "line 2: 3 columns, but the first row or header has 4"),
    ],
)
def test_a_faulty_bed_file(bench: Bench, text: str, message: str) -> None:
    fasta = write_fasta(bench.folder / "g.fa", {"c1": SEQUENCES[0]})
    bed = bench.folder / "x.bed"
    bed.write_text(text)
    with pytest.raises(GenoconvError, match=message):
        bench.gathered("-f", fasta, table=bed)


def test_labels_of_a_fasta_that_do_not_fit(bench: Bench) -> None:
    fasta = write_fasta(bench.folder / "r.fa", {"a": "ACGT", "b": "ACGT"})
    labels = write_table(bench.folder / "l.csv", ["id", "label"], [["a", 1]])
    with pytest.raises(UsageError, match="add --labels FILE"):
        bench.gathered(table=fasta)
    with pytest.raises(DataError, match=r"r.fa: line 3: record 'b' has no label in .*l.csv"):
        bench.gathered("--labels", labels, table=fasta)
    write_table(labels, ["name of it", "label"], [["a", 1]])
    with pytest.raises(DataError, match=r"l.csv: line 1: no column id"):
        bench.gathered("--labels", labels, table=fasta)


def test_a_class_without_training_records_is_named(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        [s, "abc"[n % 3], ("train", "valid", "test")[n % 3 if n % 3 == 2 else n // 3 % 2]]
        for n, s in enumerate(SEQUENCES)
    ]
    table = write_table(bench.folder / "few.csv", ["sequence", "label", "split"], rows)
    assert len(bench.gathered(table=table).members("train")) == 20
    assert "no training record of c, which cannot be learned" in caplog.text
