"""Whole genes at full length: which batches they come in, and when a window is cut, which is always said."""

import csv
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fasta_files import write_fasta
from torch import Tensor
from train_runs import TINY, configuration, patterned_bases

from genoconv.errors import UsageError
from genoconv.genome.windows.batches import batch_plan, padding_fraction
from genoconv.models import HyenaDNA
from genoconv.pipelines.train import run as pipeline
from genoconv.pipelines.train.inputs import gather
from genoconv.pipelines.train.options import TrainConfig
from genoconv.tokens import PAD
from genoconv.train.batch import Batch
from genoconv.train.job import stages
from genoconv.train.objectives.next_base import NextBase
from genoconv.train.packing import packs
from genoconv.train.settings import DataSettings, Stage
from genoconv.train.stream import Share, TrainingBatches


def lengths_of(settings: DataSettings, longest: int) -> list[int]:
    return [stage.length for stage in stages(settings, longest=longest, max_steps=None)]


def test_the_length_grows_to_the_longest_window_where_it_should() -> None:
    assert lengths_of(DataSettings(), 8191) == lengths_of(DataSettings(length_warmup="never"), 8191) == [8191]
    assert (
        lengths_of(DataSettings(), 8192) == lengths_of(DataSettings(length_warmup="always"), 8192) == [1024, 4096, 8192]
    )
    assert lengths_of(DataSettings(length_warmup="always"), 1024) == [64, 256, 1024]
    assert lengths_of(DataSettings(length_warmup="always"), 2_400_000)[-3:] == [262_144, 1_048_576, 2_400_000]
    assert lengths_of(DataSettings(length_warmup="never"), 2_400_000) == [2_400_000]


LENGTHS = [*range(80, 500, 12), 900, 950]


def genes(folder: Path, *assignments: str) -> TrainConfig:
    """Genes of 80 to 950 bases, 600 bases apart."""
    starts = np.cumsum([100, *(length + 600 for length in LENGTHS)])
    fasta = write_fasta(folder / "g.fa", {"chr1": patterned_bases(int(starts[-1]) + 100, seed=1)})
    rows = [f"chr1\tx\tgene\t{s + 1}\t{s + n}\t.\t+\t.\tID=g{s}" for s, n in zip(starts, LENGTHS, strict=False)]
    (folder / "g.gff3").write_text("\n".join(rows) + "\n")
    options = {"fasta": str(fasta), "annotation": str(folder / "g.gff3"), "run.max_steps": 2}
    return configuration(*TINY, "max_length=1000", *assignments, options=options)


def test_batches_are_of_whole_genes_of_like_length(tmp_path: Path) -> None:
    reader = gather(genes(tmp_path), max_length=1000, offline=True, quiet=True).reader("train")
    assert set(reader.lengths.tolist()) < set(LENGTHS)
    whole = (Stage(length=1000),)
    batches = TrainingBatches(reader, stages=whole, tokens_per_batch=1000, flips=False, seed=3, share=Share())
    plan = batch_plan(reader.lengths.tolist(), tokens_per_batch=1000, seed=3, epoch=0)
    seen: Counter[int] = Counter()
    for index in range(len(plan)):
        sizes = (batches.batch(index).ids != PAD).sum(1).tolist()
        assert max(sizes) <= 2 * min(sizes)
        assert len(sizes) * max(sizes) <= 1000
        seen.update(sizes)
    assert seen == Counter(reader.lengths.tolist())
    assert padding_fraction(plan, reader.lengths.tolist()) < 0.25


def test_no_gene_is_cut_without_a_line_that_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="genoconv")

    def said(*assignments: str) -> str:
        caplog.clear()
        pipeline.train(genes(tmp_path, *assignments), folder=tmp_path / "run", force=True, quiet=True)
        return "; ".join(record.getMessage() for record in caplog.records if "model in" not in record.getMessage())

    assert "cut" not in said()
    warm = said("data.length_warmup=always", "run.max_steps=13")
    assert (
        "training on random stretches of longer windows: 59 bases for 1 step, then 236 bases for 1 step, then" in warm
    )
    assert "then 944 bases for 1 step, then whole windows" in warm
    assert "random stretches of longer windows: 300 bases" in said("data.stages=[{length: 300}]")
    assert "2 genes longer than 500 split" in said("max_length=500")


def test_genes_are_packed_where_padding_would_be_a_quarter() -> None:
    uneven, even = np.array([1000, 130, 90, 110]), np.array([1000, 980, 990, 970])
    said = {"longest": 1000, "tokens_per_batch": 4000}
    assert packs("auto", uneven, longest=1000, tokens_per_batch=4000) is False  # four batches, hardly any padding
    assert packs("auto", np.array([1000, 600, 510, 501]), **said) is True
    assert packs("auto", np.array([1000, 600, 510, 501]), longest=500, tokens_per_batch=4000) is False  # cut alike
    assert packs("auto", even, **said) is False
    long = 64 * np.array([1000, 800, 600])  # 8 % of padding in two batches
    assert packs("auto", long, longest=64_000, tokens_per_batch=128_000) is True
    assert packs("auto", long // 2, longest=32_000, tokens_per_batch=64_000) is False
    assert packs(True, even, **said) is True
    assert packs(False, np.array([1000, 600, 510, 501]), **said) is False


def test_a_run_in_packed_batches_has_the_figures_of_one_in_padded_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="genoconv")
    still = (
        "optim.lr=1e-12",
        "optim.filter_lr=1e-12",
        "data.valid_tokens=100000",
        "windows.flank=20",
    )
    seen = Counter[bool]()
    sums = NextBase.sums

    def counted(self: NextBase, model: HyenaDNA, batch: Batch) -> Tensor:
        seen[bool(batch.cu_seqlens)] += 1
        return sums(self, model, batch)

    monkeypatch.setattr(NextBase, "sums", counted)

    def rows(name: str, packing: str, *more: str) -> list[dict[str, str]]:
        seen.clear()
        caplog.clear()
        config = genes(tmp_path, f"data.packing={packing}", "windows.regions=[intron, intergenic]", *still, *more)
        pipeline.train(config, folder=tmp_path / name, quiet=True)
        return list(csv.DictReader((tmp_path / name / "metrics.csv").read_text().splitlines()))

    padded = rows("padded", "false", "run.max_steps=2")
    assert set(seen) == {False}
    assert "end to end" not in caplog.text
    packed = rows("packed", "true", "run.max_steps=2")
    assert set(seen) == {True}
    assert "windows of different lengths are packed end to end: padding would be" in caplog.text
    measured = [name for name in padded[0] if name.startswith(("loss", "perplexity", "bases["))]
    assert {"loss", "perplexity[intron]", "bases[intergenic]"} <= set(measured)
    pairs = [(a, b) for a, b in zip(padded, packed, strict=True) if a["split"] != "train"]
    assert [b["split"] for _, b in pairs] == ["valid", "valid", "test"]
    for one, other in pairs:
        for name in measured:
            figures = [float(row[name] or "nan") for row in (one, other)]  # a region without a base has none
            assert figures[1] == pytest.approx(figures[0], rel=1e-4, nan_ok=True), name


def test_two_length_schedules_are_refused() -> None:
    with pytest.raises(UsageError, match="leave length_warmup out"):
        configuration("data.stages=[{length: 64}]", "data.length_warmup=always", options={"fasta": "x.fa"})
