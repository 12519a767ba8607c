"""Every option of every command reaches the place that uses it.

Each option has an effect below, shown on a small run by what comes out, or by what the code that uses it was given.
An option without an effect fails here, and so does a hand-over that was deleted. ``score-variants`` and ``scan``
have matrices of their own, with the same rule: see ``ELSEWHERE``.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from embed_files import model_folder, read_npz
from fasta_files import random_bases, write_fasta
from typer.testing import CliRunner

from genoconv.cli.app import app
from genoconv.errors import DataError, DownloadError, GenoconvError, OutputError, UsageError
from genoconv.genome.assemblies import store

ELSEWHERE = {
    "score-variants": "test_score_options.py",
    "scan": "test_scan_command.py",
    "finetune": "test_finetune_command.py",
}
# What takes() adds to a command, tested in test_options.py and at the end of this file.
CONFIGURATION = {"config_file", "settings", "print_config"}
REPORTS = {"json_file", "log_file"}  # tested in test_reporting.py

Effect = Callable[["Bench"], None]
EFFECTS: dict[tuple[str, str], Effect] = {}


def shows(command: str, *keys: str) -> Callable[[Effect], Effect]:
    """Register the effect of an option, or of options that work together."""

    def keep(test: Effect) -> Effect:
        for key in keys:
            assert (command, key) not in EFFECTS
            EFFECTS[command, key] = test
        return test

    return keep


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, child in command.commands.items():
        yield from leaves(child, (*path, name))


COMMANDS = dict(leaves(typer.main.get_command(app)))
OPTIONS = [
    (name, parameter.name)
    for name, command in COMMANDS.items()
    if name not in ELSEWHERE
    for parameter in command.params
    if parameter.name not in {*CONFIGURATION, *REPORTS, "help"}
]


class Bench:
    """Small files, and a way to run commands on them in this process."""

    def __init__(self, folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.model, self.monkeypatch = folder, model, monkeypatch
        self.sequences = {"a": random_bases(700, seed=1, letters="ACGT"), "b": random_bases(90, seed=2, letters="ACGT")}
        self.fasta = write_fasta(folder / "in.fa", self.sequences)
        self.genes = folder / "genes.gff3"
        rows = [("a", 11, 60, "+", "x"), ("a", 201, 700, "-", "y"), ("b", 31, 80, "+", "y")]
        self.genes.write_text(
            "".join(f"{c}\tx\tgene\t{s}\t{e}\t.\t{t}\t.\tID={c}{s};biotype={b}\n" for c, s, e, t, b in rows)
        )
        self.out = folder / "out.npz"

    def run(self, *words: object) -> Result:
        result = CliRunner().invoke(app, list(map(str, words)))
        if isinstance(result.exception, GenoconvError):
            raise result.exception
        assert result.exit_code == 0, (result.output, result.exception)
        return result

    def embed(self, *words: object) -> dict[str, Any]:
        base = () if "--genome" in words else (self.fasta,)
        self.run("embed", *base, "-m", self.model, "-o", self.out, "--force", "--device", "cpu", *words)
        return read_npz(self.out)

    def windows(self, *words: object) -> list[list[str]]:
        base = () if {"--tile", "-g", "--genome", "-f"} & set(map(str, words)) else ("-f", self.fasta, "-a", self.genes)
        result = self.run("windows", *base, *words)
        return [line.split("\t") for line in result.stdout.splitlines()]

    def quiets(self, module: str, *words: object) -> list[bool]:
        """Whether the progress of a run was quiet, for each of its bars."""
        from genoconv.progress import progress_bar

        seen = []

        def spy(description: str, *, quiet: bool = False, **rest: Any) -> Any:
            seen.append(quiet)
            return progress_bar(description, quiet=True, **rest)

        self.monkeypatch.setattr(f"{module}.progress_bar", spy)
        self.run(*words)
        return seen

    def given(self, target: str, *words: object, answer: Any = None) -> dict[str, Any]:
        """Keywords with which a command calls a function, which is replaced."""
        found: dict[str, Any] = {}
        self.monkeypatch.setattr(target, lambda *values, **named: found.update(named, values=values) or answer)
        self.run(*words)
        return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def bench(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    level = logging.getLogger("genoconv").level
    yield Bench(tmp_path, model, monkeypatch)
    logging.getLogger("genoconv").setLevel(level)


def test_every_option_has_an_effect() -> None:
    assert set(OPTIONS) - set(EFFECTS) == set()
    assert set(EFFECTS) - set(OPTIONS) == set()
    assert set(ELSEWHERE) <= set(COMMANDS)
    for name in ELSEWHERE.values():
        assert "EFFECTS[key]" in Path(__file__).with_name(name).read_text(encoding="utf-8")


@shows("embed", "fasta")
def _(bench: Bench) -> None:
    assert bench.embed()["names"].tolist() == ["a", "b"]


@shows("embed", "genome")
def _(bench: Bench) -> None:
    store.register("mine", fasta=bench.fasta, annotation=None, force=False)
    found = bench.embed("--genome", "mine")
    assert (found["embeddings"] == bench.embed()["embeddings"]).all()
    assert "--genome mine" in found["metadata"]["command"]
    with pytest.raises(UsageError, match="give one of FASTA and --genome"):
        bench.run("embed", bench.fasta, "-g", "mine", "-m", bench.model, "-o", bench.folder / "x.npz")


@shows("embed", "offline")
@shows("windows", "offline")
def _(bench: Bench) -> None:
    with pytest.raises(DownloadError, match="offline"):
        bench.embed("--genome", "phix174", "--offline")
    with pytest.raises(DownloadError, match="offline"):
        bench.windows("--genome", "phix174", "--offline")


@shows("embed", "model", "output")
def _(bench: Bench) -> None:
    assert bench.embed()["metadata"]["model"]["name"] == bench.model.name
    assert bench.out.exists()


@shows("embed", "bed")
def _(bench: Bench) -> None:
    bed = bench.folder / "x.bed"
    bed.write_text("b\t10\t20\tone\n")
    assert bench.embed("--bed", bed)["names"].tolist() == ["one"]


@shows("embed", "window", "stride")
def _(bench: Bench) -> None:
    assert bench.embed("-w", 50)["starts"].tolist()[:3] == [0, 50, 100]
    assert bench.embed("-w", 50, "--stride", 20)["starts"].tolist()[:3] == [0, 20, 40]


@shows("embed", "pool", "layer", "strand", "dtype", "special_tokens", "left_padding", "max_length")
def _(bench: Bench) -> None:
    plain = bench.embed("-w", 50)
    tokens = ("--hyenadna-special-tokens", "sep")
    for words in (
        ("--pool", "max"),
        ("--layer", 0),
        ("--strand", "both"),
        ("--max-length", 64),  # of windows of 50 no piece: only the metadata differs
        (*tokens, "--pool", "last"),
        (*tokens, "--hyenadna-left-padding", 90, "--pool", "last"),
    ):
        found = bench.embed("-w", 50, *words)
        same = (
            found["embeddings"].shape == plain["embeddings"].shape
            and (found["embeddings"] == plain["embeddings"]).all()
        )
        assert same == (words[0] == "--max-length")
        facts = found["metadata"]
        assert (facts["pool"], facts["layer"], facts["strand"], facts["max_length"]) == (
            words[-1] if words[-2] == "--pool" else "mean",
            0 if "--layer" in words else "last, normalised",
            "both" if "both" in words else "forward",
            {"--max-length": 64, "--hyenadna-special-tokens": 89 if 90 in words else 99}.get(words[0], 100),
        )
        assert facts.get("left_padding") == (90 if 90 in words else None)
    assert bench.embed("--dtype", "float16")["embeddings"].dtype == "float16"


@shows("embed", "batch_size")
def _(bench: Bench) -> None:
    from genoconv.models.hyena import HyenaDNA

    rows, whole = [], HyenaDNA.hidden
    bench.monkeypatch.setattr(
        HyenaDNA, "hidden", lambda self, ids, **rest: rows.append(len(ids)) or whole(self, ids, **rest)
    )
    bench.embed("-w", 50, "-b", 3)
    assert max(rows) == 3


@shows("embed", "device")
def _(bench: Bench) -> None:
    with pytest.raises(UsageError, match="cuda:77"):
        bench.embed("--device", "cuda:77")
    bench.monkeypatch.setenv("GENOCONV_DEVICE", "cuda:78")
    with pytest.raises(UsageError, match="cuda:78"):
        bench.run("embed", bench.fasta, "-m", bench.model, "-o", bench.out)


@shows("embed", "precision")
def _(bench: Bench) -> None:
    exact, rounded = bench.embed(), bench.embed("--precision", "bf16")
    assert (exact["metadata"]["precision"], rounded["metadata"]["precision"]) == ("32", "bf16")
    assert (exact["embeddings"] != rounded["embeddings"]).any()


@shows("embed", "resume", "force")
def _(bench: Bench) -> None:
    def stop(*_: object) -> None:
        raise DataError("stop")

    words = ("embed", bench.fasta, "-m", bench.model, "-o", bench.out, "--set", "chunk=100")
    with bench.monkeypatch.context() as patch:
        patch.setattr(
            "genoconv.pipelines.embed.run.report_unusual", lambda *_: (_ for _ in ()).throw(DataError("stop"))
        )
        with pytest.raises(DataError, match="stop"):
            bench.run(*words)
    with pytest.raises(OutputError, match=r"pass --resume .* or --force"):
        bench.run(*words)
    with bench.monkeypatch.context() as patch:
        patch.setattr("genoconv.tasks.embed.Embedder.__call__", None)  # nothing is computed again
        bench.run(*words, "--resume")
    with pytest.raises(OutputError, match="exists already"):
        bench.run(*words)
    bench.run(*words, "--force")


@shows("embed", "quiet")
def _(bench: Bench) -> None:
    words = ("embed", bench.fasta, "-m", bench.model, "-o", bench.out, "--force")
    assert set(bench.quiets("genoconv.pipelines.embed.run", *words)) == {False}
    assert set(bench.quiets("genoconv.pipelines.embed.run", *words, "-q")) == {True}
    assert logging.getLogger("genoconv").level == logging.WARNING


@shows("windows", "fasta", "annotation")
def _(bench: Bench) -> None:
    assert {row[3] for row in bench.windows()} == {"a11", "a201", "b31"}


@shows("windows", "genome")
def _(bench: Bench) -> None:
    store.register("mine", fasta=bench.fasta, annotation=bench.genes, force=False)
    assert bench.windows("-g", "mine") == bench.windows()


@shows("windows", "flank", "long_genes", "min_length", "max_length", "biotypes", "step", "tile", "max_unknown")
def _(bench: Bench) -> None:
    places = [row[:3] for row in bench.windows()]
    assert ["a", "10", "60"] in places
    assert ["a", "5", "65"] in [row[:3] for row in bench.windows("--flank", 5)]
    assert len(bench.windows("-l", 300)) == 4
    assert len(bench.windows("-l", 300, "--long-genes", "skip")) == 2
    assert len(bench.windows("--min-length", 51)) == 1
    assert {row[3] for row in bench.windows("--biotype", "x")} == {"a11"}
    tiles = ("-f", bench.fasta, "--tile", "-l", 60, "--split-by", "chromosome", "--valid", "b")
    assert [row[1] for row in bench.windows(*tiles)][:3] == ["0", "60", "120"]
    assert [row[1] for row in bench.windows(*tiles, "--step", 30)][:3] == ["0", "30", "60"]
    write_fasta(bench.fasta, {**bench.sequences, "b": "N" * 60 + "ACGT" * 10}, width=60)
    assert len(bench.windows(*tiles, "--max-unknown", 1)) == len(bench.windows(*tiles)) + 1


@shows("windows", "split_by", "valid", "test", "valid_fraction", "test_fraction", "seed")
def _(bench: Bench) -> None:
    def sets(*words: object) -> dict[str, list[str]]:
        rows = bench.windows("-f", bench.fasta, "--tile", "-l", 20, *words)
        return {split: [row[0] + row[1] for row in rows if row[6] == split] for split in ("train", "valid", "test")}

    named = sets("--valid", "b")
    assert (len(named["valid"]), named["test"]) == (4, [])
    assert set(sets("--test", "b")["test"]) == {"b0", "b20", "b40", "b60"}
    blocks = sets("--split-by", "block")
    assert blocks != sets("--split-by", "chromosome")
    assert blocks != sets("--split-by", "block", "--seed", 1)
    assert len(sets("--split-by", "block", "--valid-fraction", 0.4)["valid"]) > len(blocks["valid"])
    assert len(sets("--split-by", "block", "--test-fraction", 0.4)["test"]) > len(blocks["test"])


@shows("windows", "output", "format", "force")
def _(bench: Bench) -> None:
    out = bench.folder / "deep" / "out.bed"
    bench.windows("-o", out)
    assert out.read_text().splitlines() == ["\t".join(row) for row in bench.windows()]
    with pytest.raises(OutputError, match="exists already"):
        bench.windows("-o", out)
    bench.windows("-o", out, "--force")
    assert bench.windows("--format", "tsv")[0][:3] == ["contig", "start", "end"]


@shows("windows", "quiet")
def _(bench: Bench) -> None:
    words = ("windows", "-f", bench.fasta, "-a", bench.genes)
    assert set(bench.quiets("genoconv.pipelines.windows.run", *words)) == {False}
    assert set(bench.quiets("genoconv.pipelines.windows.run", *words, "-q")) == {True}


@shows("models import", "source", "output", "modulation_shift", "force", "quiet")
@shows("models export", "model", "output", "format", "force", "quiet")
@shows("models show", "model")
def _(bench: Bench) -> None:
    back, again = bench.folder / "back", bench.folder / "again"
    original = ("models", "export", bench.model, "-o", back, "--format", "hyenadna-original")
    bench.run(*original)
    assert (back / "weights.ckpt").exists()
    with pytest.raises(OutputError, match="exists already"):
        bench.run(*original)
    bench.run("models", "export", bench.model, "-o", back, "--force", "-q")
    assert logging.getLogger("genoconv").level == logging.WARNING
    assert (back / "model.safetensors").exists()
    logging.getLogger("genoconv").setLevel(logging.INFO)
    bench.run("models", "import", back, "-o", again)
    with pytest.raises(OutputError, match="exists already"):
        bench.run("models", "import", back, "-o", again)
    bench.run("models", "import", back, "-o", again, "--modulation-shift", 0.25, "--force", "-q")
    assert logging.getLogger("genoconv").level == logging.WARNING
    assert "decay above 0.25" in bench.run("models", "show", again).stdout


@shows("models import", "revision")
def _(bench: Bench) -> None:
    from genoconv.models.published.hub import Download

    back = bench.folder / "back"
    bench.run("models", "export", bench.model, "-o", back)
    answer = Download(back, "OWNER/NAME", "abc")
    words = ("models", "import", "OWNER/NAME", "-o", bench.folder / "x", "--revision", "main")
    found = bench.given("genoconv.models.published.hub.download", *words, answer=answer)
    assert found == {"values": ("OWNER/NAME",), "revision": "main"}


@shows("genomes add", "name", "fasta", "annotation", "force")
@shows("genomes show", "name")
@shows("genomes verify", "name")
@shows("genomes path", "name", "annotation")
@shows("genomes remove", "name")
def _(bench: Bench) -> None:
    words = ("genomes", "add", "mine", "-f", bench.fasta, "-a", bench.genes)
    bench.run(*words)
    with pytest.raises(UsageError, match="--force"):
        bench.run(*words)
    bench.run(*words, "--force")
    assert "mine" in bench.run("genomes", "list").stdout
    assert "sequence     a 700" in bench.run("genomes", "show", "mine").stdout
    assert bench.run("genomes", "path", "mine").stdout == f"{bench.fasta}\n"
    assert bench.run("genomes", "path", "mine", "-a").stdout == f"{bench.genes}\n"
    bench.run("genomes", "verify", "mine")
    bench.run("genomes", "remove", "mine")
    assert bench.fasta.exists()
    for command in ("show", "verify", "path", "remove"):
        with pytest.raises(UsageError, match="mine"):
            bench.run("genomes", command, "mine")


@shows("genomes fetch", "name", "mirror", "offline", "record", "quiet")
def _(bench: Bench) -> None:
    store.register("mine", fasta=bench.fasta, annotation=None, force=False)
    answer = store.receipt("mine")
    plain = {"mirror": None, "offline": False, "record": False, "quiet": False}
    for words, change in (
        ((), {}),
        (("--mirror", "/x"), {"mirror": "/x"}),
        (("--offline",), {"offline": True}),
        (("--record",), {"record": True}),
        (("-q",), {"quiet": True}),
    ):
        target = "genoconv.genome.assemblies.fetch.fetch"
        found = bench.given(target, "genomes", "fetch", "hg38", *words, answer=answer)
        assert found == {"values": ("hg38",), **plain, **change}


@shows("genomes add", "quiet")
@shows("genomes verify", "quiet")
@shows("genomes remove", "quiet")
def _(bench: Bench) -> None:
    add = ("genomes", "add", "mine", "-f", bench.fasta, "--force")
    for words, module in (
        (add, "genoconv.genome.assemblies.store"),
        (("genomes", "verify", "mine"), "genoconv.pipelines.genomes.run"),
    ):
        assert set(bench.quiets(module, *words)) == {False}
        assert set(bench.quiets(module, *words, "-q")) == {True}
    logging.getLogger("genoconv").setLevel(logging.INFO)
    bench.run("genomes", "remove", "mine", "-q")
    assert logging.getLogger("genoconv").level == logging.WARNING


@shows("kernels explain", "length", "taps", "arch", "dtype")
def _(bench: Bench) -> None:
    plain = bench.run("kernels", "explain", "-n", 4096).stdout
    assert "4,096" in plain
    for words in (("--taps", 128), ("--arch", "sm_86"), ("--dtype", "fp16")):
        assert bench.run("kernels", "explain", "-n", 4096, *words).stdout != plain


@shows("kernels warm", "arch", "quiet")
def _(bench: Bench) -> None:
    target = "genoconv.pipelines.kernels.run.warm"
    words = ("kernels", "warm", "--arch", "sm_80", "--arch", "sm_90")
    assert bench.given(target, *words, answer=3) == {"values": (("sm_80", "sm_90"),), "quiet": False}
    assert bench.given(target, *words, "-q", answer=3)["quiet"] is True


@shows("kernels doctor", "device")
def _(bench: Bench) -> None:
    with pytest.raises(UsageError, match="cuda:77"):
        bench.run("kernels", "doctor", "--device", "cuda:77")


@shows("plan", "length", "preset", "filter_length", "train", "batch_size", "precision", "gpu")
def _(bench: Bench) -> None:
    base = ("plan", "-n", "32k", "--gpu", "h100")
    printed = {bench.run(*base).stdout}
    changes = (
        ("-n", "16k"),
        ("-p", "tiny-1k"),
        ("--filter-length", "8k"),
        ("--train",),
        ("-b", 2),
        ("--precision", "32"),
        ("--gpu", "a100"),
    )
    printed |= {bench.run(*base, *words).stdout for words in changes}
    assert len(printed) == 1 + len(changes)


@shows("workflow init", "folder", "force", "quiet")
def _(bench: Bench) -> None:
    folder = bench.folder / "study"
    bench.run("workflow", "init", folder)
    assert (folder / "config" / "config.yaml").is_file()
    with pytest.raises(OutputError):
        bench.run("workflow", "init", folder)
    bench.run("workflow", "init", folder, "--force", "-q")
    assert logging.getLogger("genoconv").level == logging.WARNING


@shows("workflow gather", "shards", "output", "force", "quiet")
def _(bench: Bench) -> None:
    target = "genoconv.pipelines.workflow.gather.gather"
    words = ("workflow", "gather", "a.vcf", "b.vcf", "-o", "c.vcf")
    places = ((Path("a.vcf"), Path("b.vcf")), Path("c.vcf"))
    assert bench.given(target, *words, answer=3) == {"values": places, "force": False}
    assert bench.given(target, *words, "--force", "-q", answer=3)["force"] is True
    assert logging.getLogger("genoconv").level == logging.WARNING


@shows("workflow report", "samples", "table", "plot", "force", "quiet")
def _(bench: Bench) -> None:
    import pandas as pd

    target = "genoconv.pipelines.workflow.report.report_scores"
    words = ("workflow", "report", "one=a.vcf", "b.vcf", "--table", "t.tsv", "--plot", "p.png")
    answer = pd.DataFrame({"scored": [1], "sample": ["one"]})
    found = bench.given(target, *words, answer=answer)
    assert found.pop("values")[0] == {"one": Path("a.vcf"), "b": Path("b.vcf")}
    assert found == {"table": Path("t.tsv"), "plot": Path("p.png"), "force": False}
    assert bench.given(target, *words, "--force", "-q", answer=answer)["force"] is True
    assert logging.getLogger("genoconv").level == logging.WARNING


TRAIN = "genoconv.pipelines.train.run.train"
# Option of ``train`` -> words, and key and value of the configuration that the run is given.
TRAINED = {
    "genome": (("--genome", "saccer3"), ("saccer3",)),
    "fasta": (("-f", "FASTA"), ("FASTA",)),
    "annotation": (("-f", "FASTA", "-a", "GENES"), ("GENES",)),
    "genes": (("--genome", "saccer3", "--genes"), True),
    "window_file": (("-f", "FASTA", "-w", "BED"), ("BED",)),
    "data.soft_mask": (("--soft-mask", "keep"), "keep"),
    "preset": (("--preset", "small-32k"), "small-32k"),
    "max_length": (("-l", 500), 500),
    "init": (("--init", "MODEL"), "MODEL"),
    "run.max_steps": (("--max-steps", 7), 7),
    "run.max_minutes": (("--max-minutes", 0.5), 0.5),
    "run.seed": (("--seed", 9), 9),
    "run.device": (("--device", "cpu"), "cpu"),
    "run.precision": (("--precision", "bf16"), "bf16"),
}
# Those of the windows -> words, and the attribute of the plan by which the windows are made.
WINDOWED = {
    "windows.flank": (("-a", "GENES", "--flank", 7), "flank", 7),
    "windows.long_genes": (("-a", "GENES", "--long-genes", "skip"), "long_genes", "skip"),
    "windows.step": (("--step", 70), "step", 70),
    "windows.max_unknown": (("--max-unknown", 0.25), "max_unknown", 0.25),
    "windows.split_by": (("--split-by", "block"), "split.by", "block"),
    "windows.valid": (("--valid", "b"), "split.valid", ("b",)),
    "windows.test": (("--valid", "a", "--test", "b"), "split.test", ("b",)),
    "windows.test_fraction": (("--test-fraction", 0.3), "split.test_fraction", 0.3),
}


def attribute(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = getattr(value, part)
    return value


@shows("train", *(key.replace(".", "__") for key in TRAINED))
def _(bench: Bench) -> None:
    bed = bench.folder / "x.bed"
    bed.touch()
    places = {"FASTA": bench.fasta, "GENES": bench.genes, "MODEL": bench.model, "BED": bed}
    for key, (words, value) in TRAINED.items():
        config = bench.given(TRAIN, "train", *(places.get(word, word) for word in words), answer=0)["values"][0]
        expected = tuple(places.get(v, v) for v in value) if isinstance(value, tuple) else places.get(value, value)
        assert attribute(config, key) == expected, key


@shows("train", *(key.replace(".", "__") for key in WINDOWED))
def _(bench: Bench) -> None:
    def stop(fasta: object, plan: object, **_: object) -> None:
        plans.append(plan)
        raise DataError("stop")

    bench.monkeypatch.setattr("genoconv.pipelines.train.assembly.make_windows", stop)
    for key, (words, path, value) in WINDOWED.items():
        plans: list[object] = []
        options = (bench.genes if word == "GENES" else word for word in words)
        with pytest.raises(DataError, match="stop"):
            bench.run("train", "-f", bench.fasta, "-o", bench.folder / "run", "-l", 80, *options)
        assert attribute(plans[0], path) == value, key


@shows("train", "windows__biotypes")
def _(bench: Bench) -> None:
    words = ("train", "-f", bench.fasta, "-a", bench.genes, "-o", bench.folder / "run")
    with pytest.raises(DataError, match="no gene has biotype z"):
        bench.run(*words, "--biotype", "z")


@shows("train", "file", "output", "force", "offline", "quiet", "resume")
def _(bench: Bench) -> None:
    file = bench.folder / "run.yaml"
    file.write_text("genome: saccer3\nrun: {max_steps: 5}\n")
    found = bench.given(TRAIN, "train", file, answer=0)
    assert (found["values"][0].genome, found["values"][0].run.max_steps) == (("saccer3",), 5)
    assert (found["folder"], found["force"], found["offline"], found["quiet"]) == (Path("runs/saccer3"), *[False] * 3)
    found = bench.given(TRAIN, "train", "-o", "x", "--force", "--offline", "-q", answer=0)
    assert (found["folder"], found["force"], found["offline"], found["quiet"]) == (Path("x"), *[True] * 3)
    (bench.folder / "run.yaml").write_text(found["values"][0].to_yaml())
    target = "genoconv.pipelines.train.run.resume"
    assert bench.given(target, "train", "--resume", bench.folder, answer=0)["folder"] == bench.folder


@pytest.mark.parametrize("name", [name for name in COMMANDS if CONFIGURATION & {p.name for p in COMMANDS[name].params}])
def test_a_command_runs_from_the_file_that_it_prints(name: str, bench: Bench) -> None:
    if name in ELSEWHERE or name == "train":
        return
    needed = {
        "embed": (bench.fasta, "-m", bench.model, "-o", bench.out),
        "windows": ("-f", bench.fasta, "-a", bench.genes),
        "models import": ("tiny-1k", "-o", bench.folder / "x"),
        "plan": ("-n", 1000, "--gpu", "h100"),
        "models export": (bench.model, "-o", bench.folder / "back"),
        "genomes fetch": ("hg38",),
        "genomes add": ("mine", "-f", bench.fasta),
        "kernels warm": ("--arch", "sm_90"),
    }[name]
    printed = bench.run(*name.split(), *needed, "--print-config").stdout
    file = bench.folder / "run.yaml"
    file.write_text(printed)
    assert bench.run(*name.split(), "--config", file, "--print-config").stdout == printed
    if "quiet" not in printed:
        return
    other = bench.run(*name.split(), "--config", file, "--set", "quiet=true", "--print-config").stdout
    assert other == printed.replace("quiet: false", "quiet: true")
    assert "quiet: true" in other


GROUPS: dict[str, Effect] = {}
for (command, key), effect in EFFECTS.items():
    GROUPS.setdefault(f"{command} {key}", effect) if effect not in GROUPS.values() else None


@pytest.mark.parametrize("name", GROUPS)
def test_options_have_their_effects(name: str, bench: Bench) -> None:
    GROUPS[name](bench)
