"""``genoconv train``."""

from pathlib import Path
from typing import Any

import pytest

from genoconv.errors import DataError
from option_effects.bench import Bench, shows

TRAIN = "genoconv.pipelines.train.run.train"
# Option of ``train`` -> words, and key and value of the configuration that the run is given.
TRAINED = {
    "genome": (("--genome", "saccer3"), ("saccer3",)),
    "fasta": (("-f", "FASTA"), ("FASTA",)),
    "annotation": (("-f", "FASTA", "-a", "GENES"), ("GENES",)),
    "genes": (("--genome", "saccer3", "--genes"), True),
    "window_file": (("-f", "FASTA", "-w", "BED"), ("BED",)),
    "demo": (("--demo", "long"), "long"),
    "data.length_warmup": (("--length-warmup", "never"), "never"),
    "data.soft_mask": (("--soft-mask", "keep"), "keep"),
    "preset": (("--preset", "small-32k"), "small-32k"),
    "max_length": (("-l", 500), 500),
    "init": (("--init", "MODEL"), "MODEL"),
    "run.max_steps": (("--max-steps", 7), 7),
    "run.max_minutes": (("--max-minutes", 0.5), 0.5),
    "run.seed": (("--seed", 9), 9),
    "run.device": (("--device", "cpu"), "cpu"),
    "run.precision": (("--precision", "bf16"), "bf16"),
    "run.calibrate": (("--no-calibrate",), False),
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
    relative = {key: path.name for key, path in places.items() if path.parent == bench.folder}
    bench.monkeypatch.chdir(bench.folder)
    for key, (words, value) in TRAINED.items():
        given = (relative.get(str(word), places.get(word, word)) for word in words)
        config = bench.given(TRAIN, "train", *given, answer=0)["values"][0]
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


@shows("train", "windows__regions")
def _(bench: Bench) -> None:
    bed = bench.folder / "x.bed"
    bed.write_text("a\t0\t100\n")
    words = ("train", "-f", bench.fasta, "--regions", f"{bed}:3:2", "--regions", "cds", "-a", bench.genes)
    first, second = bench.given(TRAIN, *words, answer=0)["values"][0].windows.regions
    assert (first.bed, first.weight, first.loss_weight, second.feature) == (bed, 3, 2, "cds")


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
    assert bench.given(TRAIN, "train", "--config", file, answer=0)["values"] == found["values"]
    assert (found["folder"], found["force"], found["offline"], found["quiet"]) == (Path("runs/saccer3"), *[False] * 3)
    found = bench.given(TRAIN, "train", "-o", "x", "--force", "--offline", "-q", answer=0)
    assert (found["folder"], found["force"], found["offline"], found["quiet"]) == (Path("x"), *[True] * 3)
    (bench.folder / "run.yaml").write_text(found["values"][0].to_yaml())
    target = "genoconv.pipelines.train.run.resume"
    found = bench.given(target, "train", "--resume", bench.folder, answer=0)
    assert (found["folder"], found["offline"], found["quiet"]) == (bench.folder, False, False)
    found = bench.given(target, "train", "--resume", bench.folder, "--offline", "-q", answer=0)
    assert (found["offline"], found["quiet"]) == (True, True)
