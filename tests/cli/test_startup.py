"""Start-up: what commands must not import before they do their work."""

import subprocess
import sys
from pathlib import Path

from train_runs import TINY, patterned_genome
from vcf_files import tiny_model

from support import cli_environment, run_cli

AFTER_THE_FIRST_STEP = """
import os, sys
from genoconv.cli import entry
from genoconv.pipelines.train import run
def first(*_):
    print(*sys.modules, flush=True)
    from pytorch_lightning.trainer.connectors.logger_connector.result import Metric
    from torchmetrics import MeanMetric
    from torchmetrics.functional import classification
    print(issubclass(MeanMetric, Metric), flush=True)
    os._exit(0)
found = run.find_machine
def find_machine(*given, **named):
    machine = found(*given, **named)
    from genoconv.train.callbacks import Measuring
    Measuring.on_train_batch_end = first
    return machine
run.find_machine = find_machine
entry.main()
"""


def test_one_record_without_the_slow_half_of_torch(tmp_path: Path, home: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    fasta, vcf = tmp_path / "g.fa", tmp_path / "in.vcf"
    fasta.write_text(">c\n" + "ACGTTGCA" * 40 + "\n")
    vcf.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nc\t100\t.\tT\tA\t.\t.\t.\n")
    script = tmp_path / "sitecustomize.py"
    script.write_text(
        "import os, sys\nend = os._exit\n"
        "def ending(code):\n"
        "    print('IMPORTED', *sorted(sys.modules), file=sys.stderr, flush=True)\n"
        "    print('WAITS', type(sys.modules['torch._meta_registrations']).__name__, file=sys.stderr, flush=True)\n"
        "    end(code)\n"
        "os._exit = ending\n"
    )
    out = tmp_path / "out.vcf"
    result = run_cli(
        "score-variants", vcf, "-f", fasta, "-m", model, "-w", "64", "-o", out, home=home,
        env={"PYTHONPATH": str(tmp_path)}, fresh=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr.decode()
    assert "GCONV_LLR=" in out.read_text()
    assert "WAITS _Postponed\n" in result.stderr.decode()
    imported = set(result.stderr.decode().partition("IMPORTED")[2].split())
    assert "torch" in imported
    slow = {"sympy", "torch._dynamo", "pandas", "requests", "pytorch_lightning", "matplotlib", "Bio", "triton"}
    assert not slow & imported


def test_training_on_a_cpu_begins_without_kernels_and_without_what_follows_it(tmp_path: Path, home: Path) -> None:
    fasta, settings = patterned_genome(tmp_path / "g.fa", length=4_000), [f"--set={setting}" for setting in TINY]
    options = ["-f", fasta, "-o", tmp_path / "run", "--max-steps", "1", "-q", *settings]
    words = [sys.executable, "-c", AFTER_THE_FIRST_STEP, "train", *options]
    done = subprocess.run(words, env=cli_environment(home), capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    *names, same = done.stdout.split()
    assert same == "True", "metrics are not those that Lightning knows"
    imported = set(names)
    assert {"pytorch_lightning", "genoconv.models.hyena"} <= imported
    foreign = {"tensorboard", "torch.utils.tensorboard", "requests", "h5py", "huggingface_hub", "triton", "Bio"}
    assert not foreign & imported
    assert not {"sympy", "scipy.signal", "matplotlib"} & imported  # of the compiler and of torchmetrics
    # The package torchmetrics imports these, and they scipy, transformers and torchvision where those are installed.
    assert not {"torchmetrics.functional", "torchmetrics.text"} & imported
    later = ("genoconv.pipelines.train.kernels", "genoconv.pipelines.train.report", "genoconv.train.evaluation")
    rooms = ("genoconv.tasks", "genoconv.variants", "genoconv.tracks")
    assert not [name for name in imported if name.startswith((*later, *rooms))]
    parts = ("embedding", "filter", "gelu", "loss", "norm", "short_conv")
    assert not {f"genoconv.ops.{part}.fused" for part in parts} & imported
