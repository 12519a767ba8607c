"""``genoconv models``, ``genomes``, ``kernels``, ``plan`` and ``workflow``."""

import logging
import shutil
from pathlib import Path

import pytest

from genoconv import paths
from genoconv.errors import OutputError, UsageError
from genoconv.genome.assemblies import store
from option_effects.bench import Bench, shows


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


@shows("models remove", "name", "quiet")
def _(bench: Bench) -> None:
    stored = paths.models_dir() / "mine"
    shutil.copytree(bench.model, stored)
    with pytest.raises(UsageError, match="no stored model has that name"):
        bench.run("models", "remove", "other")
    bench.run("models", "remove", "mine", "-q")
    assert logging.getLogger("genoconv").level == logging.WARNING
    assert not stored.exists()
    assert bench.model.exists()


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
