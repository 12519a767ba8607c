"""The checks of the emulated kernels notice every way of being wrong that `broken_kernels` knows."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from broken_kernels import CHANGES, OF_LONG_ROWS, PARTS, broken_sources, wrong_tables
from emulation import harness
from long_convolutions import Problem, faults, truth

from genoconv.gpu.targets import card_of
from genoconv.ops.longconv import regimes
from genoconv.ops.longconv.one_sm.plan import OneSm

pytestmark = pytest.mark.skipif(not harness.available(), reason="needs g++ with C++20")

SMALL = Problem(512, B=33, H=1)


@pytest.mark.parametrize("change", CHANGES)
def test_a_broken_kernel_shows(change: str, tmp_path: Path) -> None:
    x = (Problem(8192, B=3, H=1) if change in OF_LONG_ROWS else SMALL).inputs()
    with harness.machine(sm_count=1 + (change not in OF_LONG_ROWS), sources=broken_sources(change, tmp_path)):
        assert faults(harness.solve(x), x)


@pytest.mark.parametrize(("N", "part"), [(N, part) for N, parts in PARTS.items() for part in parts])
def test_one_wrong_twiddle_shows(N: int, part: float) -> None:
    x = Problem(N, B=2 if N > 4096 else 32, H=1).inputs()
    with harness.machine():
        assert not faults(harness.solve(x), x)
    with harness.machine(tables=partial(wrong_tables, part=part)):
        assert faults(harness.solve(x), x)


def test_writing_past_a_buffer_shows(tmp_path: Path) -> None:
    sources = broken_sources("zeros", tmp_path)
    text = (sources / "one_sm/rows.cuh").read_text(encoding="utf-8")
    (sources / "one_sm/rows.cuh").write_text(
        text.replace("if (i < valid && !(i < rest", "if (valid > 0 && !(i < rest"), encoding="utf-8"
    )
    with harness.machine(sources=sources) as gpu:
        harness.solve(Problem(509, B=1, H=1).inputs())
    assert gpu.overrun()


def test_bank_conflicts_and_misaligned_accesses_are_counted(tmp_path: Path) -> None:
    sources = broken_sources("zeros", tmp_path)
    text = (sources / "one_sm/shape.cuh").read_text(encoding="utf-8")
    assert "c ^ slot ^" in text
    (sources / "one_sm/shape.cuh").write_text(text.replace("c ^ slot ^", "c ^"), encoding="utf-8")
    with harness.machine(sources=sources) as gpu:
        harness.solve(SMALL.inputs())
    assert gpu.counts["forward"].wavefronts > 1.5 * gpu.counts["forward"].ideal


def test_a_buffer_too_small_for_the_kernel_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = OneSm().plan(512, 512, filter_length=512, dtype="bfloat16", card=card_of("sm_90"))
    small = replace(plan.forward_block, smem_bytes=plan.forward_block.smem_bytes - 1024)
    plan = replace(plan, card=replace(plan.card, sm_count=2), forward_block=small)
    monkeypatch.setattr(regimes, "choose_plan", lambda *args, **how: plan)
    with harness.machine() as gpu:
        harness.solve(SMALL.inputs())
    assert gpu.counts["forward"].faults > 0


def test_zeros_do_not_pass() -> None:
    x = SMALL.inputs()
    zeros = {name: torch.zeros_like(value) for name, value in truth(x).items()}
    assert len(faults(zeros, x)) >= len(zeros)
