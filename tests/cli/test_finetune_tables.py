"""What ``genoconv finetune`` understands of tables, BED files, FASTA files and folders, and what it refuses."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fasta_files import write_fasta
from finetune_runs import QUICK, Bench, base_model, call, sequences, write_table

from genoconv import formats
from genoconv.errors import DataError, GenoconvError, UsageError
from genoconv.tokens import encode

SEQUENCES, CLASSES = sequences(60)
GOOD = [[s, c] for s, c in zip(SEQUENCES, CLASSES, strict=True)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def bench(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, base, monkeypatch)


def test_what_a_table_can_hold(bench: Bench) -> None:
    gc = [f"{(s.count('G') + s.count('C')) / len(s):.3f}" for s in SEQUENCES]
    names = ["cow", "hen", "pig"]
    cases: dict[str, tuple[list[str], list[list[object]], str, tuple[str, ...]]] = {
        "classes": (
            ["seq", "class"],
            [[s, names[n % 3]] for n, s in enumerate(SEQUENCES)],
            "multiclass",
            ("cow", "hen", "pig"),
        ),
        "values": (
            ["sequence", "target"],
            [[s, g] for s, g in zip(SEQUENCES, gc, strict=True)],
            "regression",
            ("target",),
        ),
        "lists": (
            ["sequence", "label"],
            [[s, ["a;b", "", "b"][n % 3]] for n, s in enumerate(SEQUENCES)],
            "multilabel",
            ("a", "b"),
        ),
        "floats": (
            ["DNA", "y"],
            [[s, f"{c}.0"] for s, c in zip(SEQUENCES, CLASSES, strict=True)],
            "binary",
            ("0", "1"),
        ),
        "huge": (
            ["text", "label"],
            [[s, 10**30 + c] for s, c in zip(SEQUENCES, CLASSES, strict=True)],
            "binary",
            (str(10**30), str(10**30 + 1)),
        ),
        "flags": (["sequence", "label"], [[s, c == 1] for s, c in GOOD], "binary", ("False", "True")),
        "none": (["sequence", "label"], [[s, ["none", "donor"][c]] for s, c in GOOD], "multiclass", ("donor", "none")),
        "bars": (
            ["sequence", "label"],
            [[s, ["a|b", "", "b"][n % 3]] for n, s in enumerate(SEQUENCES)],
            "multilabel",
            ("a", "b"),
        ),
        "words": (
            ["sequence", "label"],
            [[s, ["yes", "no"][c]] for s, c in zip(SEQUENCES, CLASSES, strict=True)],
            "binary",
            ("no", "yes"),
        ),
    }
    for name, (header, rows, kind, labels) in cases.items():
        task = ("--task", kind) if name in ("lists", "bars", "none") else ()
        found = bench.gathered(*task, table=write_table(bench.folder / f"{name}.tsv", header, rows, delimiter="\t"))
        assert (found.labels.kind, found.labels.names) == (kind, labels), name
        assert len(found.names) == 60
    two = write_table(
        bench.folder / "two.csv",
        ["sequence", "one", "two"],
        [[s, g, c] for s, g, c in zip(SEQUENCES, gc, CLASSES, strict=True)],
    )
    assert bench.gathered("--label", "one", "--label", "two", table=two).labels.targets.shape == (60, 2)
    assert bench.gathered("--label", "two", table=two).labels.kind == "binary"
    flags = [[s, c == 1, f"{n % 2}.0"] for n, (s, c) in enumerate(GOOD)]
    found = bench.gathered("--label", "a", "--label", "b", table=write_table(two, ["sequence", "a", "b"], flags))
    assert found.labels.kind == "multilabel"
    assert found.labels.targets[:, 0].tolist() == CLASSES
    lists = [["a", "b"] if c else ["b"] * (n % 4 == 0) for n, c in enumerate(CLASSES)]
    pd.DataFrame({"sequence": SEQUENCES, "label": lists}).to_parquet(bench.folder / "lists.parquet")
    found = bench.gathered("--task", "multilabel", table=bench.folder / "lists.parquet")
    assert found.labels.targets.tolist() == [[float("a" in some), float("b" in some)] for some in lists]
    frame = pd.DataFrame({"sequence": SEQUENCES, "label": np.array(CLASSES, bool)})
    frame.to_parquet(bench.folder / "x.parquet")
    assert bench.gathered(table=bench.folder / "x.parquet").labels.names == ("0", "1")


def test_folds_of_a_column(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "genoconv")
    rows = [[*row, f"fold{n % 11}"] for n, row in enumerate(GOOD)]
    table = write_table(bench.folder / "folds.csv", ["sequence", "label", "fold"], rows)
    folds = [n % 11 for n in range(60)]
    assert bench.gathered(table=table).splits.tolist() == [{9: "valid", 10: "test"}.get(n, "train") for n in folds]
    assert "by the split column (valid: fold9; test: fold10)" in caplog.text
    found = bench.gathered("--valid", "fold2", "--test", "fold0", "--test", "fold1", table=table)
    assert found.splits.tolist() == [{2: "valid", 0: "test", 1: "test"}.get(n, "train") for n in folds]
    found = bench.gathered("--test", "fold3", table=table)
    assert (found.splits[3], len(found.members("valid"))) == ("test", 5)
    with pytest.raises(UsageError, match=r"--test fold11: no record in the split column; did you mean fold1"):
        bench.gathered("--test", "fold11", table=table)
    write_table(table, ["sequence", "label", "fold"], [[*row, n // 2 % 2] for n, row in enumerate(GOOD)])
    with pytest.raises(DataError, match=r"line 2: split '0'; expected train, valid or test: --valid and --test name"):
        bench.gathered(table=table)
    assert len(bench.gathered("--valid", "1", table=table).members("valid")) == 30


def test_small_classes_are_divided_too(bench: Bench) -> None:
    rows = [[s, f"class {n % 19}"] for n, s in enumerate(SEQUENCES)]
    found = bench.gathered(table=write_table(bench.folder / "few.csv", ["sequence", "label"], rows))
    assert [len(found.members(split)) for split in ("train", "valid", "test")] == [48, 6, 6]
    assert len(set(found.labels.targets[found.members("train"), 0])) == 19
    one = [[s, "rare" if n == 7 else c] for n, (s, c) in enumerate(GOOD)]
    for seed in range(3):
        table = write_table(bench.folder / "one.csv", ["sequence", "label"], one)
        assert bench.gathered("--seed", seed, table=table).splits[7] == "train"
    few = bench.gathered(table=write_table(bench.folder / "six.csv", ["sequence", "label"], GOOD[:6]))
    assert [len(few.members(split)) for split in ("train", "valid", "test")] == [4, 1, 1]


def test_a_folder_of_classes(bench: Bench) -> None:
    folder = bench.folder / "promoters"
    names = ["negative", "positive"]
    for n, (s, c) in enumerate(GOOD):
        file = folder / ("train" if n < 40 else "test") / names[c] / f"{n}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{s[:30].lower()}\r\n{s[30:]}\n")
    found = bench.gathered(table=folder)
    assert (found.labels.kind, found.labels.names) == ("binary", ("negative", "positive"))
    assert [len(found.members(split)) for split in ("train", "valid", "test")] == [36, 4, 20]
    number = found.names.index("train/positive/3.txt")
    assert found.sequences[number].tobytes() == encode(SEQUENCES[3]).tobytes()
    assert found.labels.targets[number].tolist() == [1]
    files = bench.folder / "files"
    files.mkdir()
    for c in (0, 1):
        write_fasta(files / f"{names[c]}.fa", {f"r{n}": s for n, (s, k) in enumerate(GOOD) if k == c})
    found = bench.gathered(table=files)
    assert sorted(found.names) == sorted(f"r{n}" for n in range(60))
    assert found.labels.targets[found.names.index("r3")].tolist() == [1]
    (files / "notes.txt").write_text("made by hand\n")
    with pytest.raises(DataError, match=r"notes.txt: not a FASTA; a folder or a FASTA file per class is expected"):
        bench.gathered(table=files)
    with pytest.raises(UsageError, match=r"promoters is a folder of classes; drop --fasta and --labels"):
        bench.gathered("-f", files / "positive.fa", table=folder)
    (folder / "train" / "positive" / "3.txt").write_text("ACGT1\n")
    with pytest.raises(DataError, match=r"positive/3.txt: line 1: the sequence holds '1'"):
        bench.gathered(table=folder)
    (bench.folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no record in this folder"):
        bench.gathered(table=bench.folder / "empty")


def test_some_of_several_labels_may_be_missing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "genoconv")
    words = ("--label", "a", "--label", "b")
    table = write_table(
        bench.folder / "two.csv",
        ["sequence", "a", "b"],
        [[s, n / 7, "NA" if n % 2 else n] for n, (s, _) in enumerate(GOOD)],
    )
    targets = bench.gathered(*words, table=table).labels.targets
    assert np.isnan(targets[:, 1]).tolist() == [n % 2 == 1 for n in range(60)]
    assert not np.isnan(targets[:, 0]).any()
    assert "30 labels missing among 120; nothing is learned from those" in caplog.text
    flags = [[s, c, "" if n % 2 else n // 2 % 2] for n, (s, c) in enumerate(GOOD)]
    labels = bench.gathered(*words, table=write_table(table, ["sequence", "a", "b"], flags)).labels
    assert (labels.kind, np.isnan(labels.targets).sum(0).tolist()) == ("multilabel", [0, 30])
    write_table(table, ["sequence", "a", "b"], [*flags, ["ACGT", "", "nan"]])
    with pytest.raises(DataError, match=r"line 62: no label in the columns a, b; fill one in, or remove the record"):
        bench.gathered(*words, table=table)


def test_values_and_labels_that_look_wrong_are_named(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "genoconv")
    rows = [[s, 1e9 if n == 5 else n / 7] for n, s in enumerate(SEQUENCES)]
    for seed in range(3):
        table = write_table(bench.folder / "far.csv", ["sequence", "label"], rows)
        if bench.gathered("--seed", seed, table=table).splits[5] == "train":
            break
    assert "regression, because column label holds numbers with decimals: label (0 to 1e+09)" in caplog.text
    assert "label has the value 1e+09, and half of its values lie between" in caplog.text
    write_table(bench.table, ["name", "sequence", "label"], [["g", *row] for row in (*GOOD, [SEQUENCES[0], 1])])
    assert set(bench.gathered().names) == {"g"}  # a name of a gene may come again, an id may not
    assert "2 records with a sequence that comes again with another label" in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", '{"sequence": "ACGT", "label": 1}\n', r"x.json: JSON; convert it to CSV, TSV or Parquet"),
        ("x.xlsx", "PK", r"x.xlsx: a spreadsheet; save it as CSV"),
        (
            "x.txt",
            "sequence|label\nACGT|1\n",
            r"line 1: one column, 'sequence\|label'; separate columns by tabs or commas",
        ),
        ("x.csv", 'sequence,label,note\nACGT,1,"two\nlines"\n', r"line 2: a quote that does not end on its line"),
        ("x.tsv", "sequence\tlabel\n1\tACGT\t1\n", r"line 2: 3 cells, .*; are the first ones row names of R\?"),
        ("x.tsv", "sequence\tlabel\nACGTAC CGTACG\t1\n", r"line 2: the sequence holds spaces; .* not as k-mers"),
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


def test_line_ends_blank_lines_and_quotes(bench: Bench) -> None:
    path = bench.folder / "odd.csv"
    rows = [f'"{s.lower()}",{c}' for s, c in zip(SEQUENCES, CLASSES, strict=True)]
    path.write_bytes(
        b"\xef\xbb\xbfsequence , label\r\n" + "\n\n".join(rows[:30]).encode() + b"\n" + "\r\n".join(rows[30:]).encode()
    )
    plain, odd = bench.gathered(), bench.gathered(table=path)
    assert [s.tobytes() for s in odd.sequences] == [s.tobytes() for s in plain.sequences]
    assert (odd.labels.targets == plain.labels.targets).all()
    assert (odd.splits == plain.splits).all()


FAULTS: dict[str, tuple[list[str], list[list[object]], tuple[str, ...], str]] = {
    "no label column": (["sequence", "kind"], GOOD, (), r"x.csv: line 1: no column for the label; .*--label NAME"),
    "no sequence column": (["letters", "label"], GOOD, (), r"line 1: no column for the sequence"),
    "no header": ([*map(str, GOOD[0])], GOOD[1:], (), r"line 1: a record where the header should be"),
    "two candidates": (
        ["sequence", "target", "class"],
        [[*row, 1] for row in GOOD],
        (),
        r"columns target, class may all hold",
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
    "one class": (["sequence", "label"], [[s, 1] for s in SEQUENCES], (), r"column label holds one class only, '1'"),
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
        r"line 62: label 'NaN' .* not a finite number",
    ),
    "beyond float32": (
        ["sequence", "label"],
        [[s, n / 7] for n, s in enumerate(SEQUENCES)] + [["ACGT", "1e60"]],
        (),
        r"line 62: label '1e60' .* 32 bits",
    ),
    "constant": (["sequence", "label"], [[s, 0.5] for s in SEQUENCES], (), r"column label is 0.5 in every record"),
    "no sequence": (["sequence", "label"], [*GOOD, ["", 1]], (), r"line 62: no sequence"),
    "a digit": (["sequence", "label"], [*GOOD, ["ACG1T", 1]], (), r"line 62: the sequence holds '1'"),
    "protein": (["sequence", "label"], [*GOOD, ["MKLVEPQIFFE", 1]], (), r"record 'line 62' is not DNA"),
    "RNA": (["sequence", "label"], [*GOOD, ["ACGUUU", 1]], (), r"record 'line 62' is RNA"),
    "a cell more": (["sequence", "label"], [*GOOD, ["ACGT", 1, 2]], (), r"line 62: 3 cells, the header has 2"),
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
        r"--task binary: column label holds 3 classes",
    ),
    "contigs of a table": (["sequence", "label"], GOOD, ("--valid", "chr1"), r"--valid and --test name contigs"),
    "nothing": (["sequence", "label"], [], (), r"no record below the header"),
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
        ("", "empty; a table with the header"),
        ("c1\t0\n", "2 columns, where BED has at least 3"),
        ("c9\t0\t9\tx\n", "line 1: no contig 'c9'"),
        ("c1\t0\t999\tx\n", "line 1: the interval ends at 999, and 'c1' has 60 bases"),
        ("c1\t0\t9\tn\t0\tx\t1\n", "line 1: strand 'x'"),
        ("c1\t0\t9\tn\t0\n", "5 columns without a header; say which holds the label: --label N"),
        ("c1\t0\t9\t1\nc1\t9\t19\n", "line 2: 3 columns, the first row or header has 4"),
    ],
)
def test_a_faulty_bed_file(bench: Bench, text: str, message: str) -> None:
    fasta = write_fasta(bench.folder / "g.fa", {"c1": SEQUENCES[0]})
    bed = bench.folder / "x.bed"
    bed.write_text(text)
    with pytest.raises(GenoconvError, match=message if text else "0 columns"):
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


def test_duplicates_across_splits_are_found_on_both_strands(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "genoconv")
    some, classes = sequences(40, seed=3, length=200)
    opposite = some[0].translate(str.maketrans("ACGT", "TGCA"))[::-1]
    mutated = some[1][:90] + "ACGTA" + some[1][95:]
    rows = [[s, c, "train"] for s, c in zip(some, classes, strict=True)]
    rows += [[opposite, 0, "test"], [mutated, 1, "valid"], [sequences(1, seed=9, length=200)[0][0], 0, "valid"]]
    table = write_table(bench.folder / "leaky.csv", ["sequence", "label", "split"], rows)
    found = bench.gathered(table=table)
    assert (found.leaks.exact.tolist(), found.leaks.near.tolist(), found.leaks.held_out) == ([0], [1], 2)
    assert "1 training record identical" in caplog.text
    assert "--drop-leaks leaves them out" in caplog.text
    dropped = bench.gathered("--drop-leaks", table=table)
    assert dropped.splits[:3].tolist() == ["", "", "train"]
