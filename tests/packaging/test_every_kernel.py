"""``.ci/kernels`` compiles every kernel there is, and a release waits for it."""

import yaml

from genoconv.gpu.targets import KERNEL_TARGETS, card_of
from genoconv.ops.longconv.regimes import every_plan
from support import ROOT, ci_script

KERNELS = ci_script("kernels").kernels


def test_it_has_the_kernels_of_every_plan_once() -> None:
    for arch in KERNEL_TARGETS:
        found = KERNELS(arch)
        assert len(found) == len(set(found))
        wanted = {
            kernel
            for dtype in ("bfloat16", "float16")
            for plan in every_plan(card_of(arch), dtype=dtype)
            for kernel in plan.kernels()
        }
        assert wanted < set(found)
    sources = {kernel.source for arch in KERNEL_TARGETS for kernel in KERNELS(arch)}
    folders = ("one_sm", "chunked", "cluster", "three_pass")
    entries = [path for folder in folders for path in (ROOT / "csrc" / folder).glob("*.cu")]
    assert sources == {f"{path.parent.name}/{path.stem}" for path in entries}


def test_a_release_waits_for_all_of_them() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["kernels"]["strategy"]["matrix"]["arch"] == list(KERNEL_TARGETS)
    assert "kernels" in jobs["publish"]["needs"]
