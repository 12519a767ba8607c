"""``genoconv genomes`` as a user runs it: killed, twice at once, on a full disk, and with every kind of mistake."""

import gzip
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from genome_manifests import FASTA_PATH, GENES_PATH, phix, serve_phix, write_manifest
from loopback import Loopback, Reply

from support import HANG, cli_environment, command, one_clear_line, run_cli

PADDING = 1_500_000


@pytest.fixture
def server() -> Iterator[Loopback]:
    """phiX174, its FASTA made large on the way by stored (uncompressed) blocks after it."""
    with Loopback({}) as running:
        serve_phix(running)
        yield running


@pytest.fixture
def large(server: Loopback) -> bytes:
    """Serve a FASTA of 1.5 MB more than phiX174: another sequence, stored uncompressed. Returns the unpacked bytes."""
    text = gzip.decompress(phix()[0]) + b">padding\n" + b"ACGT" * (PADDING // 4) + b"\n"
    server.files[FASTA_PATH] = gzip.compress(text, compresslevel=0, mtime=0)
    return text


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    return {"GENOCONV_MANIFESTS": str(folder), "GENOCONV_RETRY_WAIT": "0", "NO_PROXY": "*"}


def start(home: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [command(), "genomes", "fetch", "phix"],
        env=cli_environment(home, environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def final_names(home: Path) -> set[str]:
    return {path.name for path in (home / "genomes/phix").iterdir()} - {".lock", ".work"}


def test_a_killed_fetch_goes_on_where_it_was(
    server: Loopback, large: bytes, home: Path, environment: dict[str, str]
) -> None:
    write_manifest(Path(environment["GENOCONV_MANIFESTS"]), server)
    server.plan[FASTA_PATH] = [Reply(stall=1_000_000)]
    process = start(home, environment)
    server.wait_for(FASTA_PATH, 1_000_000)
    part = home / f"genomes/phix/.work/{FASTA_PATH.rpartition('/')[2]}.part"
    server.until(lambda: part.exists() and part.stat().st_size > 500_000)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=HANG)
    kept = part.stat().st_size
    assert final_names(home) == set()
    # The lock went with the process: a second one does not wait for the dead.
    result = run_cli("genomes", "fetch", "phix", home=home, env=environment, timeout=HANG)
    assert result.returncode == 0, result.stderr.decode()
    assert b"waiting" not in result.stderr
    assert server.asked(FASTA_PATH) == [None, f"bytes={kept}-"]
    assert (home / "genomes/phix/phix.fa").read_bytes() == large
    assert not (home / "genomes/phix/.work").exists()


def test_a_fetch_that_is_interrupted_politely_says_so(
    server: Loopback, large: bytes, home: Path, environment: dict[str, str]
) -> None:
    write_manifest(Path(environment["GENOCONV_MANIFESTS"]), server)
    server.always[FASTA_PATH] = Reply(stall=1_000_000)
    process = start(home, environment)
    server.wait_for(FASTA_PATH, 1_000_000)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=HANG)
    assert process.returncode == 130
    assert stderr == b"genoconv: error: interrupted; run the command again to continue where it stopped\n"
    assert final_names(home) == set()


def test_two_at_once_download_once(server: Loopback, large: bytes, home: Path, environment: dict[str, str]) -> None:
    write_manifest(Path(environment["GENOCONV_MANIFESTS"]), server)
    server.plan[FASTA_PATH] = [Reply(stall=1_000_000)]
    first = start(home, environment)
    server.wait_for(FASTA_PATH, 1_000_000)
    second = start(home, environment)
    assert second.stderr
    assert b"another process is fetching phix; waiting for it" in second.stderr.readline()
    server.let_go()
    for process in (first, second):
        _, stderr = process.communicate(timeout=HANG)
        assert process.returncode == 0, stderr.decode()
        assert b"phix: 2 sequences" in stderr
    assert server.asked(GENES_PATH) == [None]
    assert sum(asked is None for asked in server.asked(FASTA_PATH)) == 1
    assert (home / "genomes/phix/phix.fa").read_bytes() == large


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mount.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_line_and_nothing_final(
    server: Loopback, large: bytes, small_disk: Path, environment: dict[str, str]
) -> None:
    write_manifest(Path(environment["GENOCONV_MANIFESTS"]), server, pinned=False)
    result = run_cli("genomes", "fetch", "phix", home=small_disk, env=environment)
    line = one_clear_line(result, code=1)
    assert f"{small_disk}/genomes/phix/.work: No space left on device" in line
    assert "make room or set GENOCONV_HOME" in line
    assert final_names(small_disk) == set()


def test_a_limit_on_file_size_is_one_line_and_what_came_stays(
    server: Loopback, large: bytes, home: Path, environment: dict[str, str]
) -> None:
    write_manifest(Path(environment["GENOCONV_MANIFESTS"]), server)
    process = subprocess.run(
        [command(), "genomes", "fetch", "phix"],
        env=cli_environment(home, environment),
        capture_output=True,
        timeout=HANG,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )
    line = one_clear_line(process, code=1)
    assert "File too large" in line
    assert "it resumes where it stopped" in line
    assert final_names(home) == set()
    result = run_cli("genomes", "fetch", "phix", home=home, env=environment)
    assert result.returncode == 0, result.stderr.decode()
    assert server.asked(FASTA_PATH)[1] == f"bytes={1 << 20}-"
    assert (home / "genomes/phix/phix.fa").read_bytes() == large


def test_a_genome_from_its_name_to_its_path(server: Loopback, home: Path, environment: dict[str, str]) -> None:
    write_manifest(Path(environment["GENOCONV_MANIFESTS"]), server)
    server.plan[FASTA_PATH] = [Reply(cut=500), Reply(status=503, headers={"Retry-After": "0"})]
    result = run_cli("genomes", "fetch", "phix", home=home, env=environment)
    assert result.returncode == 0, result.stderr.decode()
    lines = result.stderr.decode().splitlines()
    assert all(line.startswith("genoconv: warning: http://127.0.0.1") for line in lines[:2])
    assert lines[2].startswith("genoconv: phix: 1 sequence, 5,386 bases, ")
    assert len(lines) == 3
    assert result.stdout == b""
    result = run_cli("genomes", "path", "phix", home=home, env=environment)
    assert result.stdout.decode() == f"{home}/genomes/phix/phix.fa\n"
    assert run_cli("genomes", "verify", "phix", home=home, env=environment).returncode == 0
    os.truncate(home / "genomes/phix/phix.fa", 100)
    line = one_clear_line(run_cli("genomes", "verify", "phix", home=home, env=environment), code=1)
    assert "phix.fa: expected 5,524 bytes, got 100" in line


def test_a_genome_that_always_comes_damaged_is_refused(
    server: Loopback, home: Path, environment: dict[str, str]
) -> None:
    write_manifest(Path(environment["GENOCONV_MANIFESTS"]), server)
    server.always[FASTA_PATH] = Reply(flip=900)
    line = one_clear_line(run_cli("genomes", "fetch", "phix", home=home, env=environment), code=1)
    assert "damaged: expected md5" in line
    assert final_names(home) == set()


def test_own_files_and_the_list(home: Path, tmp_path: Path) -> None:
    fasta = tmp_path / "mine.fa"
    fasta.write_bytes(gzip.decompress(phix()[0]))
    result = run_cli("genomes", "add", "mine", "--fasta", fasta, home=home)
    assert result.returncode == 0, result.stderr.decode()
    result = run_cli("genomes", "list", home=home)
    rows = {line.split()[0]: line for line in result.stdout.decode().splitlines()}
    assert {"mine", "hg38", "demo", "chm13v2"} <= set(rows)
    assert "added" in rows["mine"]
    assert "synthetic" in rows["demo"]
    result = run_cli("genomes", "show", "hg38", home=home)
    assert "md5 a08035b6a6e31780e96a34008ff21bd6" in result.stdout.decode()


MISTAKES = {
    "unknown": (["fetch", "sacCer"], 2, "no genome named 'sacCer': did you mean saccer3?"),
    "leaving the folder": (["fetch", "../../etc"], 2, "genome name '../../etc'"),
    "offline": (["fetch", "phix174", "--offline"], 1, "phix174 is not stored on this machine, and --offline forbids"),
    "no mirror": (["fetch", "phix174", "--mirror", "/no/such"], 2, "--mirror /no/such: no such folder"),
    "not here": (["path", "hg38"], 1, "genoconv genomes fetch hg38"),
    "no fasta": (["add", "mine", "--fasta", "none.fa"], 1, "none.fa: No such file or directory"),
    "taken": (["add", "hg38", "--fasta", "none.fa"], 2, "hg38 is the name of a built-in genome"),
}


@pytest.mark.parametrize(("arguments", "code", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(
    arguments: list[str], code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from genoconv.cli.entry import main

    monkeypatch.setattr(sys, "argv", ["genoconv", "genomes", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("genoconv: error: ")
    assert message in lines[0]
