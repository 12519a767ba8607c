"""Every option of ``genoconv finetune`` reaches the place that uses it."""

from pathlib import Path
from typing import Any

import pytest
from base_genomes import small_genome
from calls import call
from fasta_files import write_fasta
from finetune_runs import CLASSES, GOOD, SEQUENCES, Bench, Killed, finetune, write_table
from option_effects.effects import Effects

from genoconv.errors import DataError, OutputError, UsageError
from genoconv.models.lora import LowRank
from genoconv.pipelines.finetune.options import FinetuneOptions
from genoconv.pipelines.options import parameters
from genoconv.tokens import encode

EFFECTS = Effects()
shows = EFFECTS.shows


def test_every_option_has_an_effect() -> None:
    assert set(EFFECTS) == {parameter.key for parameter in parameters(FinetuneOptions)}


class StopError(Exception):
    """Ends a run where it would begin to compute."""


def job(bench: Bench, *words: object, table: Path | None = None) -> Any:
    """What the training loop is given, and where it is to compute."""
    found: list[Any] = []

    def spy(job: Any, **rest: Any) -> None:
        found.append((job, rest))
        raise StopError

    with bench.monkeypatch.context() as patch:
        patch.setattr("genoconv.train.loop.run", spy)
        with pytest.raises(SystemExit) as caught:
            call("finetune", table or bench.table, "-m", bench.base, "-o", bench.out, "--force", *words)
        assert isinstance(caught.value.__cause__, StopError)
    return found[0]


@shows("fasta", "valid", "test", "label_file", "split_by")
def _(bench: Bench) -> None:
    contigs = {f"c{n}": "".join(SEQUENCES[n * 10 : n * 10 + 10]) for n in range(6)}
    fasta = write_fasta(bench.folder / "g.fa", contigs)
    bed = bench.folder / "x.bed"
    rows = [(f"c{n // 10}", n % 10 * 60, n % 10 * 60 + 60, f"r{n}", 0, "+-"[n % 3 == 1], CLASSES[n]) for n in range(60)]
    bed.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    found = bench.gathered("-f", fasta, "--valid", "c1", "--test", "c3", table=bed)
    assert found.splits.tolist() == [
        "valid" if n // 10 == 1 else "test" if n // 10 == 3 else "train" for n in range(60)
    ]
    assert found.names[:2] == ["r0", "r1"]
    assert found.sequences[0].tobytes() == encode(SEQUENCES[0]).tobytes()
    assert found.sequences[1].tobytes() == encode(SEQUENCES[1].translate(str.maketrans("ACGT", "TGCA"))[::-1]).tobytes()
    assert set(bench.gathered("-f", fasta, table=bed).splits.tolist()) == {"train", "valid", "test"}
    bed.write_text(
        "#chrom\tstart\tend\tlabel\n" + "".join("\t".join(map(str, (*row[:3], row[6]))) + "\n" for row in rows)
    )
    assert bench.gathered("-f", fasta, "--split-by", "random", table=bed).labels.targets[:, 0].tolist() == CLASSES
    records = write_fasta(bench.folder / "r.fa", {f"r{n}": s for n, s in enumerate(SEQUENCES)})
    labels = write_table(
        bench.folder / "l.tsv",
        ["id", "label"],
        [[f"r{n}", c] for n, c in reversed(list(enumerate(CLASSES)))],
        delimiter="\t",
    )
    assert bench.gathered("--labels", labels, table=records).labels.targets[:, 0].tolist() == CLASSES


@shows("resume")
def _(bench: Bench) -> None:
    with bench.monkeypatch.context() as patch:
        patch.setattr("genoconv.pipelines.finetune.results.evaluate", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            bench.run()
    with pytest.raises(OutputError, match="genoconv finetune --resume"):
        finetune(bench.table, bench.base, bench.out)
    with pytest.raises(UsageError, match="mode cannot change within a run"):
        call("finetune", "--resume", bench.out, "--mode", "full")
    write_table(bench.table, ["sequence", "label"], GOOD[:-2])
    with pytest.raises(DataError, match=r"the records of .* have changed"):
        call("finetune", "--resume", bench.out)
    with pytest.raises(UsageError, match=r"drop --config, -o and --force"):
        call("finetune", "--resume", bench.out, "-o", "x")
    with pytest.raises(UsageError, match="not the folder of a `genoconv finetune` run"):
        call("finetune", "--resume", bench.base)


@shows("table", "model", "output", "force")
def _(bench: Bench) -> None:
    record = bench.run()
    assert record["provenance"]["table"] == str(bench.table)
    assert record["provenance"]["model"]["name"] == bench.base.name
    with pytest.raises(OutputError, match="exists already"):
        finetune(bench.table, bench.base, bench.out)
    with pytest.raises(UsageError, match="missing TABLE, --output"):
        call("finetune")
    with pytest.raises(UsageError, match="this output folder holds the input TABLE"):
        call("finetune", bench.table, "-m", bench.base, "-o", bench.folder, "--force")


@shows("label", "task")
def _(bench: Bench) -> None:
    rows = [[s, c, n % 7 + 0.5] for n, (s, c) in enumerate(GOOD)]
    table = write_table(bench.table, ["sequence", "label", "other"], rows)
    assert bench.gathered("--label", "other", table=table).labels.kind == "regression"
    assert bench.gathered("--task", "regression", table=table).labels.names == ("label",)


@shows("per_base", "window")
def _(bench: Bench) -> None:
    genome = small_genome(bench.folder, contigs=1, length=3000)
    words = ("-f", genome.fasta, "--per-base", genome.plain)
    model = job(bench, *words, table=genome.windows)[0].model
    assert (model.head.config.pooling, model.head.config.layers, model.head.config.both_strands) == (
        "none",
        "last",
        True,
    )
    assert job(bench, "--mode", "full", *words, table=genome.windows)[0].noise == 0
    with pytest.raises(UsageError, match=r"--layers all: with --per-base a base is predicted from its own state"):
        job(bench, *words, "--layers", "all", table=genome.windows)
    found = job(bench, *words, "--window", 60, table=genome.windows)[0]
    assert set(found.train.lengths.tolist()) == {50}
    with pytest.raises(UsageError, match=r"--window 101: this model reads up to 100 bases"):
        job(bench, *words, "--window", 101, table=genome.windows)
    with pytest.raises(UsageError, match=r"--window cuts the windows of --per-base"):
        job(bench, "--window", 60)


@shows("split_column")
def _(bench: Bench) -> None:
    rows = [[*row, "val" if n < 9 else "train", "dev" if n < 5 else "training"] for n, row in enumerate(GOOD)]
    table = write_table(bench.table, ["sequence", "label", "split", "mine"], rows)
    assert len(bench.gathered(table=table).members("valid")) == 9
    assert len(bench.gathered("--split-column", "mine", table=table).members("valid")) == 5
    assert len(bench.gathered("--split-by", "random", table=table).members("valid")) == 6
    with pytest.raises(UsageError, match="ignores a split column; drop --split-by or --split-column"):
        bench.gathered("--split-by", "random", "--split-column", "mine", table=table)


@shows("valid_fraction", "test_fraction", "run.seed")
def _(bench: Bench) -> None:
    found = bench.gathered("--valid-fraction", 0.2, "--test-fraction", 0.3)
    assert [len(found.members(split)) for split in ("train", "valid", "test")] == [30, 12, 18]
    assert found.labels.targets[found.members("valid"), 0].mean() == 0.5
    assert bench.gathered("--seed", 1).splits.tolist() != bench.gathered().splits.tolist()


@shows("drop_leaks")
def _(bench: Bench) -> None:
    write_table(
        bench.table, ["sequence", "label", "split"], [[*r, "train"] for r in GOOD] + [[*r, "test"] for r in GOOD]
    )
    with pytest.raises(DataError, match="--drop-leaks leaves out: no record for training"):
        bench.gathered("--drop-leaks", "--valid-fraction", 0.1)


@shows("class_weights", "mode", "pooling", "layers", "strand")
def _(bench: Bench) -> None:
    write_table(bench.table, ["sequence", "label"], [[s, int(n % 5 == 0)] for n, s in enumerate(SEQUENCES)])
    assert job(bench)[0].objective.weights is None
    assert job(bench, "--class-weights", "balanced")[0].objective.weights.tolist() == pytest.approx(
        [38 / 60, 2.4], abs=0.01
    )
    for words, mode, pooling, layers, both in (
        ((), "head", "mean", "all", False),
        (("--mode", "full"), "full", "attention", "last", False),
        (("--mode", "full", "--layers", "all", "--pooling", "mean"), "full", "mean", "all", False),
        (("--pooling", "last", "--layers", "last"), "head", "last", "last", False),
        (("--strand", "both"), "head", "mean", "all", True),
    ):
        model = job(bench, *words)[0].model
        assert model.frozen == (mode == "head")
        head = model.head.config
        assert (head.pooling, head.layers, head.both_strands) == (pooling, layers, both)
        assert model.head.linear.in_features == model.config.d_model * (
            model.config.n_layer + 1 if layers == "all" else 1
        )


@shows("noise")
def _(bench: Bench) -> None:
    assert job(bench, "--mode", "full", "--noise", 0.2)[0].noise == 0.2
    assert [job(bench, "--mode", mode)[0].noise for mode in ("head", "lora", "full")] == [0, 0.1, 0.1]
    with pytest.raises(UsageError, match=r"--noise .* use it with --mode lora or full"):
        call("finetune", bench.table, "-m", bench.base, "-o", bench.out, "--noise", 0.2)


@shows("epochs", "patience", "optim.lr", "optim.head_lr", "run.max_minutes", "run.precision", "run.device")
def _(bench: Bench) -> None:
    each = job(bench)[0].settings.validate_every
    found, rest = job(
        bench,
        *("--epochs", 4, "--patience", 5, "--lr", 0.25, "--head-lr", 0.5, "--max-minutes", 2),
        *("--precision", "bf16", "--device", "cpu"),
    )
    assert (found.settings.max_steps, found.patience, found.settings.max_minutes) == (4 * each, 5, 2)
    assert (found.optim.lr, found.optim.head_lr) == (0.25, 0.5)
    assert (rest["machine"].precision, rest["machine"].accelerator) == ("bf16", "cpu")
    with pytest.raises(UsageError, match="cuda:77"):
        call("finetune", bench.table, "-m", bench.base, "-o", bench.out, "--device", "cuda:77")


@shows("baselines")
def _(bench: Bench) -> None:
    gc = [(s.count("G") + s.count("C")) / len(s) for s in SEQUENCES]
    values = [
        [s, "" if n % 3 == 0 else g, "nan" if n % 3 == 1 else g * 1e-9]
        for n, (s, g) in enumerate(zip(SEQUENCES, gc, strict=True))
    ]
    table = write_table(bench.folder / "gc.csv", ["sequence", "gc", "small"], values)
    words = ("--label", "gc", "--label", "small", "--baselines", "--test-fraction", 0.3)
    rows = bench.run(*words, table=table)["provenance"]["results"]["test"]["rows"]
    assert [name.split()[-1] for name in rows][:3] == ["model", "content", "frequencies"]
    assert [name.split()[0] for name in rows][3:] == ["frozen", "random"]
    assert rows["GC content"]["figures"]["r2"] > 0.99
    ours, linear = (rows[name]["figures"]["pearson"] for name in ("this model", "frozen model, linear"))
    assert ours == pytest.approx(linear, abs=0.02)  # the head begins as that linear model
    card = (bench.out / "README.md").read_text()
    assert "| GC content | 1.000 (1.000 to 1.000) |" in card
    assert (bench.out / "finetune.png").stat().st_size > 5000


@shows("rank", "alpha", "lora_targets")
def _(bench: Bench) -> None:
    model = job(bench, "--mode", "lora", "--rank", 3, "--alpha", 6, "--lora-target", "fc1", "--lora-target", "in_proj")[
        0
    ].model
    updates = {name: module for name, module in model.named_modules() if isinstance(module, LowRank)}
    assert {name.split(".parametrizations")[0].rpartition(".")[2] for name in updates} == {"fc1", "in_proj"}
    assert {(update.scale, len(update.A)) for update in updates.values()} == {(2.0, 3)}
    every = job(bench, "--mode", "lora")[0].model
    assert sum(isinstance(module, LowRank) for module in every.modules()) == 4 * model.config.n_layer


@shows("quiet")
def _(bench: Bench) -> None:
    assert job(bench)[1]["quiet"] is False
    assert job(bench, "-q")[1]["quiet"] is True


@pytest.mark.parametrize("key", {test: key for key, test in EFFECTS.items()}.values())
def test_option(key: str, bench: Bench) -> None:
    EFFECTS[key](bench)
