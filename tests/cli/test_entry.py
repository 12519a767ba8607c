"""The process boundary: exit codes, one line for an error, nothing heavy before it is needed."""

import subprocess
import sys
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
