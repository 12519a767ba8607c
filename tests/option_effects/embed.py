"""``genoconv embed``."""

import logging

import pytest

from genoconv.errors import DataError, DownloadError, OutputError, UsageError
from genoconv.genome.assemblies import store
from option_effects.bench import Bench, shows


@shows("embed", "fasta")
def _(bench: Bench) -> None:
    assert bench.embed()["names"].tolist() == ["a", "b"]


@shows("embed", "genome")
def _(bench: Bench) -> None:
    store.register("mine", fasta=bench.fasta, annotation=None, force=False)
    found = bench.embed("--genome", "mine")
    assert (found["embeddings"] == bench.embed()["embeddings"]).all()
    assert "--genome mine" in found["metadata"]["command"]
    with pytest.raises(UsageError, match="pass exactly one of FASTA and --genome"):
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


@shows("embed", "devices", "dry_run")
def _(bench: Bench) -> None:  # more in test_devices.py
    words = ("embed", bench.fasta, "-m", bench.model, "-o", bench.out)
    with pytest.raises(UsageError, match="--devices: '-1' is not a number of devices"):
        bench.run(*words, "--devices", "-1")
    bench.run(*words, "--dry-run")
    assert not bench.out.exists()
