"""``genoconv plan``: predictions beside measurements, and as functions of what they are made from."""

import json
from dataclasses import replace

import pytest
from calls import call

from genoconv.errors import UsageError
from genoconv.models import preset
from genoconv.pipelines.lengths import parse_length
from genoconv.pipelines.plan.cards import ACCELERATORS, accelerator
from genoconv.pipelines.plan.costs import SAFE, Prediction, Workload, convolution, predict, workload
from genoconv.pipelines.plan.options import PlanOptions
from genoconv.pipelines.plan.run import fits, plan
from genoconv.pipelines.resolve import Call
from support import ROOT

H200 = accelerator("h200")
RESULTS = ROOT / "benchmarks" / "results"
MEASURED = "plan-nvidia-h200.json", "train_step-cuda.json"


def small(**changes: object) -> Workload:
    config = replace(preset("small-32k"), max_length=32_768)
    return replace(workload(config, length=32_768, batch=8, train=True), **changes)


def test_parameters_are_counted_without_a_model() -> None:
    assert workload(preset("small-32k"), length=10).parameters == 3_277_568


def test_more_costs_more() -> None:
    base = predict(small(), H200)
    for change in ({"length": 30_000}, {"batch": 7}, {"train": False}, {"config": replace(small().config, n_layer=3)}):
        less = predict(small(**change), H200)
        assert less.bytes < base.bytes
        assert less.time < base.time
    checkpointed = predict(small(checkpointing=True), H200)
    assert checkpointed.bytes < base.bytes
    assert checkpointed.time > base.time
    precise = predict(small(bf16=False), H200)
    assert precise.bytes > base.bytes
    assert precise.time > base.time
    assert predict(small(), accelerator("rtx4090")).time > base.time


def test_short_filters_cost_less_and_run_in_chunks() -> None:
    config = replace(preset("gene-4m"), max_length=2_400_000)
    full = predict(workload(config, length=2_400_000, train=True), H200)
    short = predict(workload(replace(config, filter_length=4096), length=2_400_000, train=True), H200)
    assert short.convolution.regime == "chunks"
    assert short.seconds["convolutions"] < full.seconds["convolutions"]
    assert short.memory["filters"] < full.memory["filters"] / 100


def test_advice_follows_from_what_fits() -> None:
    asked = PlanOptions(length=450_000, preset="medium-450k", train=True, gpu="rtx4090")
    found = plan(asked)
    assert [found.fits(way) for way in found.ways] == [False, True]
    assert found.advice[0].startswith("checkpointing is needed")
    too_long = plan(asked.model_copy(update={"length": 4_000_000, "preset": "gene-4m"}))
    assert not any(too_long.fits(way) for way in too_long.ways)
    said = next(line for line in too_long.advice if "windows of up to" in line)
    longest = int(said.split("up to ")[1].split(" bases")[0].replace(",", ""))
    assert plan(asked.model_copy(update={"length": longest, "preset": "gene-4m"})).fits is not None
    again = plan(asked.model_copy(update={"length": longest, "preset": "gene-4m"}))
    assert again.fits(again.ways[-1])
    beyond = plan(asked.model_copy(update={"length": int(1.02 * longest), "preset": "gene-4m"}))
    assert not beyond.fits(beyond.ways[-1])
    many = plan(PlanOptions(length=1_000, preset="tiny-1k", gpu="h200", batch_size=10**6))
    assert "the largest batch that fits is" in many.advice[0]


def test_some_memory_is_left_to_others() -> None:
    work = small()
    found = [
        Prediction(work, convolution(work, H200.card), {"weights": share * H200.memory}, {})
        for share in (SAFE - 0.01, SAFE + 0.01, 1.01)
    ]
    assert [fits(one, H200) for one in found] == [True, False, False]
    assert SAFE < 1


def test_shorter_filters_are_advised_where_they_save_a_fifth() -> None:
    def suggested(length: int) -> list[str]:
        advice = plan(PlanOptions(length=length, preset="gene-4m", gpu="h200", train=True)).advice
        return [sentence.split()[2] for sentence in advice if "taps would take" in sentence]

    assert suggested(100_000) == []
    assert suggested(130_000) == ["32,768"]
    assert suggested(450_000) == ["32,768"]
    assert suggested(1_000_000) == ["131,072", "32,768"]


@pytest.mark.parametrize("name", ACCELERATORS)
def test_every_gpu_has_a_plan(name: str) -> None:
    text = str(plan(PlanOptions(length=100_000, gpu=name, train=True)))
    assert accelerator(name).title in text
    assert ("are scaled from" in text) is (name != "h200")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("H200", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("h100 pcie", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100-PCIE-40GB", "a100-40gb"),
        ("a100-80gb", "a100"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("4090", "rtx4090"),
        ("Tesla_A10", "a10"),
    ],
)
def test_a_gpu_goes_by_the_names_of_makers_and_drivers(name: str, key: str) -> None:
    assert accelerator(name).name == key


def test_a_file_may_name_a_gpu_by_its_number() -> None:
    assert Call(PlanOptions, None, {"length": 100}, ["gpu=4090"]).resolve().gpu == "4090"


@pytest.mark.parametrize(
    "name", ["rtx", "A10G", "NVIDIA GeForce RTX 4090 Laptop GPU", "h100 94gb", "A100-SXM4-20GB", "a"]
)
def test_a_gpu_that_differs_is_not_taken_for_one_of_the_table(name: str) -> None:
    with pytest.raises(UsageError, match="choose one of h200"):
        accelerator(name)


@pytest.mark.parametrize(
    ("text", "bases"),
    [
        ("32768", 32768),
        ("450k", 450_000),
        ("2.4m", 2_400_000),
        ("2,473,537", 2_473_537),
        ("1_000", 1000),
        ("3Mb", 3 * 10**6),
        ("1.001k", 1001),
        (1e6, 10**6),
    ],
)
def test_lengths_are_read_as_people_write_them(text: str | float, bases: int) -> None:
    assert parse_length(text) == bases


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpu": "gtx970"}, "--gpu gtx970: choose one of h200"),
        ({"preset": "gene4m"}, "did you mean gene-4m"),
        ({"filter_length": 2_400_001}, "--filter-length 2,400,001 exceeds --length 2,400,000"),
        ({"length": 2**25}, "add --filter-length"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(PlanOptions(length=2_400_000, gpu="h200").model_copy(update=changes))


def test_the_command() -> None:
    result = call("plan", "-n", "2.4m", "--preset", "gene-4m", "--train", "--gpu", "H200")
    assert "training step of 1 x 2,400,000 bases, bf16, on NVIDIA H200 (140 GiB)" in result.stdout
    assert "checkpointing" in result.stdout
    # beyond the limit of filters, with short ones
    result = call("plan", "-n", "248m", "--filter-length", "32k", "--gpu", "h200")
    assert "forward pass of 1 x 248,000,000 bases" in result.stdout
    for wrong in ("2.4x", "0", "1.5"):
        with pytest.raises(UsageError):
            call("plan", "-n", wrong, "--gpu", "h200")


def test_predictions_hold_against_the_recorded_measurements() -> None:
    """Within 15 % of memory and 30 % of time: refit the coefficients where a faster model breaks this."""
    plans, steps = (json.loads((RESULTS / name).read_text())["rows"] for name in MEASURED)
    rows = [(r, r["seconds"], r["allocated"]) for r in plans]
    for r in steps:
        same = {"length": r["tokens"], "train": True, "filter_length": 0}
        rows.append((r | same, r["batch"] * r["tokens"] / r["step"], r["step_memory_gb"] * 1e9))
    assert len(rows) >= 15
    off = []
    for r, seconds, allocated in rows:
        config = replace(preset(r["preset"]), max_length=r["length"], filter_length=r["filter_length"])
        work = workload(config, length=r["length"], batch=r["batch"], train=r["train"])
        found = predict(replace(work, checkpointing=r["checkpointing"]), H200)
        memory, time = found.allocated / allocated, found.time / seconds
        if abs(memory - 1) > 0.15 or abs(time - 1) > 0.3:
            off.append(f"{r['preset']} {r['length']:,}: {memory:.2f}, {time:.2f}")
    assert not off
