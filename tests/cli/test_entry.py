"""The process boundary: exit codes, one line for an error, nothing heavy before it is needed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import cli_environment, command, run_cli


def test_version_names_torch_and_kernel_targets(home: Path) -> None:
    result = run_cli("--version", home=home)
    assert result.returncode == 0
    line = result.stdout.decode()
    import torch

    assert f"torch {torch.__version__}" in line
    assert "sm_80" in line
    assert "sm_90" in line


def test_an_unknown_command_is_a_usage_error(home: Path) -> None:
    result = run_cli("scorevariants", home=home)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr.decode()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["doctor", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str], home: Path) -> None:
    watch = (
        "import sys; sys.argv[0] = 'genoconv'\n"
        "from genoconv.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'torch', 'pandas', 'numpy', 'pysam', 'pytorch_lightning', 'Bio', 'requests'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", watch, *arguments], capture_output=True, text=True, env=cli_environment(home), check=True
    )
    assert result.stdout.splitlines()[-1] == "LOADED []"


def test_doctor_says_what_will_be_used(home: Path) -> None:
    result = run_cli("doctor", home=home)
    text = result.stdout.decode()
    assert result.returncode == 0, text + result.stderr.decode()
    for subject in ("python", "torch", "CUDA", "driver", "NVRTC", "kernels", "cache", "disk"):
        assert subject in text
    assert text.splitlines()[-1].startswith("genoconv will compute on ")
    assert str(home) in text


def test_doctor_fails_where_the_cache_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    result = run_cli("doctor", home=blocked / "home")
    assert result.returncode == 1
    assert "GENOCONV_HOME" in result.stdout.decode()


def test_a_closed_pipe_is_quiet(home: Path) -> None:
    process = subprocess.Popen(
        f"'{command()}' --help | true", shell=True, stderr=subprocess.PIPE, env=cli_environment(home)
    )
    _, stderr = process.communicate(timeout=60)
    assert stderr == b""


def test_ctrl_c_is_one_line(home: Path, tmp_path: Path) -> None:
    fasta, genes, output = tmp_path / "g.fa", tmp_path / "g.gff3", tmp_path / "out.bed"
    fasta.write_text(">c\nACGTACGTACGT\n")
    os.mkfifo(genes)
    process = subprocess.Popen(
        [command(), "windows", "-f", fasta, "-a", genes, "-o", output],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=cli_environment(home),
    )
    deadline = time.monotonic() + 60
    writer = None
    while writer is None:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        try:
            writer = os.open(genes, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # the command does not wait at the other end yet
            time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    os.close(writer)
    assert (process.returncode, stdout, stderr) == (130, b"", b"genoconv: error: interrupted\n")
    assert not output.exists()
