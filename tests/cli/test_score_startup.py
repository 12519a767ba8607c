"""Start-up: what ``genoconv score-variants`` must not import to score one record."""

from pathlib import Path

from vcf_files import tiny_model

from support import run_cli


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
