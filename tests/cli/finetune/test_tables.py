"""What ``genoconv finetune`` understands of tables, BED files, FASTA files and folders, and what it refuses."""

import logging

import numpy as np
import pandas as pd
import pytest
from fasta_files import write_fasta
from finetune_runs import CLASSES, GOOD, SEQUENCES, Bench, sequences, write_table

from genoconv.errors import DataError, UsageError
from genoconv.tokens import encode


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
    with pytest.raises(DataError, match=r"notes.txt: not a FASTA; expected one folder or FASTA file per class"):
        bench.gathered(table=files)
    with pytest.raises(UsageError, match=r"promoters is a folder of classes; drop --fasta and --labels"):
        bench.gathered("-f", files / "positive.fa", table=folder)
    (folder / "train" / "positive" / "3.txt").write_text("ACGT1\n")
    with pytest.raises(DataError, match=r"positive/3.txt: line 1: the sequence contains '1'"):
        bench.gathered(table=folder)
    (bench.folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no records in this folder"):
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
    assert "30 labels missing among 120; these are ignored in training" in caplog.text
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
    assert "regression, because column label contains numbers with decimals: label (0 to 1e+09)" in caplog.text
    assert "label has the value 1e+09, and half of its values lie between" in caplog.text
    write_table(bench.table, ["name", "sequence", "label"], [["g", *row] for row in (*GOOD, [SEQUENCES[0], 1])])
    assert set(bench.gathered().names) == {"g"}  # a name of a gene may come again, an id may not
    assert "2 records whose sequence also occurs with another label" in caplog.text


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
    assert "--drop-leaks removes them" in caplog.text
    dropped = bench.gathered("--drop-leaks", table=table)
    assert dropped.splits[:3].tolist() == ["", "", "train"]
