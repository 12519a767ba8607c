"""``genoconv score-variants`` in this process, on files made for one question each."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from vcf_files import bcftools, info, lines, statuses, without_ours

from genoconv.errors import DataError, Interrupted, OutputError, UsageError
from genoconv.pipelines.score import run
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.pipelines.score.run import score_variants
from genoconv.tasks.journal import Journal

RNG = np.random.default_rng(1)
CONTIGS = {"chr1": "".join(RNG.choice(list("ACGT"), 3000)), "chr2": "".join(RNG.choice(list("ACGT"), 300))}
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
HEADER = "##fileformat=VCFv4.2\n" + "".join(f"##contig=<ID={n},length={len(s)}>\n" for n, s in CONTIGS.items())


@pytest.fixture
def fasta(tmp_path) -> Path:
    path = tmp_path / "g.fa"
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in CONTIGS.items()))
    return path


@pytest.fixture
def score(model, fasta, tmp_path):
    """Write ``text`` (or take a file), score it, and give the output's path."""

    def run(source: str | Path, *, out: str = "out.vcf", **options) -> Path:
        vcf = source if isinstance(source, Path) else tmp_path / "in.vcf"
        if isinstance(source, str):
            vcf.write_text(source)
        options = {
            "window": (64,),
            "explain": True,
            "force": True,
            "fasta": fasta,
            "output": tmp_path / out,
            **options,
        }
        score_variants(ScoreOptions(vcf=vcf, model=model, **options))
        return tmp_path / out

    return run


def row(contig: str, pos: int, ref: str = "", alt: str = "", info: str = ".", rest: str = "", name: str = "") -> str:
    """A record; REF from the genome and another base as ALT where they are not given."""
    ref = ref or CONTIGS[contig][pos - 1]
    return f"{name or contig}\t{pos}\t.\t{ref}\t{alt or ('A' if ref != 'A' else 'C')}\t.\t.\t{info}{rest}\n"


def compressed(path: Path, kind: str) -> bytes:
    """A VCF as ``z`` VCF.gz or ``b`` BCF."""
    import pysam.bcftools

    target = path.with_suffix(f".{kind}")
    pysam.bcftools.view("--no-version", f"-O{kind}", "-o", str(target), str(path), catch_stdout=False)
    return target.read_bytes()


END_LINE = '##INFO=<ID=END,Number=1,Type=Integer,Description="e">\n'
BLOCKS = [
    row("chr1", 50, "A", "<DEL>"),  # no END
    row("chr1", 60, alt=".", info="END=60"),  # an END that says no more than REF
    row("chr1", 70, alt="<NON_REF>", info="END=90"),
    row("chr1", 100),
]


@pytest.mark.parametrize("declared", ["", END_LINE])
def test_bcf_keeps_every_end_as_it_was(score, declared):
    rows = BLOCKS if declared else [BLOCKS[0], BLOCKS[3]]
    out = score(HEADER + declared + COLUMNS + "".join(rows), out="out.bcf")
    found = bcftools("view", "-H", out).splitlines()
    assert [without_ours(line) for line in found] == [line.rstrip("\n") for line in rows]
    again = lines(score(out, out="again.vcf"))
    assert again == found


def test_what_a_tbi_cannot_hold_gets_a_csi(score):
    rows = row("chr1", 50, "A", "<DEL>", "END=700000000") + row("chr1", 100)
    out = score(HEADER + END_LINE + COLUMNS + rows, out="out.vcf.gz")
    assert out.with_name("out.vcf.gz.csi").exists()
    assert not out.with_name("out.vcf.gz.tbi").exists()
    assert bcftools("view", "-H", "-r", "chr1:90-110", out).count("\n") == 2


def test_an_index_that_cannot_be_made_costs_no_output(score, monkeypatch):
    import pysam
    import pysam.bcftools

    def fails(*arguments, **options):
        raise pysam.SamtoolsError("building of index failed")

    monkeypatch.setattr(pysam.bcftools, "index", fails)
    out = score(HEADER + COLUMNS + row("chr1", 100), out="out.vcf.gz")
    assert len(lines(out)) == 1


def test_bcf_cannot_hold_what_lies_far_out(score, tmp_path):
    with pytest.raises(DataError, match=r"chr1 has a record beyond 2,147,483,647.*-O z"):
        score(HEADER + COLUMNS + row("chr1", 3_000_000_000, "A", "C"), out="out.bcf", ref_mismatch="skip")
    samples = COLUMNS.rstrip("\n") + "\tFORMAT\ts\n"
    with pytest.raises(OutputError, match=r"chr1:200 cannot be written as BCF"):
        score(HEADER + samples + row("chr1", 100, rest="\tGT\t0/1") + row("chr1", 200, rest="\tGT"), out="out.bcf")
    assert not (tmp_path / "out.bcf").exists()


@pytest.mark.parametrize("kind", ["z", "b"])
def test_without_end_marker_and_truncated(score, tmp_path, kind):
    vcf = tmp_path / "base.vcf"
    vcf.write_text(HEADER + COLUMNS + "".join(row("chr1", pos) for pos in range(50, 2950, 2)))
    whole = compressed(vcf, kind)
    cut = tmp_path / f"cut.{kind}"
    cut.write_bytes(whole[:-28])
    assert len(lines(score(cut))) == 1450
    cut.write_bytes(whole[: len(whole) // 2])
    (tmp_path / "out.vcf").unlink()
    with pytest.raises(DataError, match="damaged or truncated"):
        score(cut)
    assert not (tmp_path / "out.vcf").exists()


def test_a_position_that_is_no_number(score):
    for pos in ("-5", "1_00", "1e5", ""):
        with pytest.raises(DataError, match=r"line 5: POS is"):
            score(HEADER + COLUMNS + f"chr1\t{pos}\t.\tA\tC\t.\t.\t.\n")


def test_first_last_and_outside(score, caplog):
    rows = "chr1\t0\t.\tN\t<DEL>\t.\t.\t.\n" + row("chr1", 1) + row("chr1", 3000) + row("chr1", 3001, "A", "C")
    rows += row("chr1", 2999, CONTIGS["chr1"][-2:] + "A", "G")
    assert statuses(lines(score(HEADER + COLUMNS + rows))) == [
        ["symbolic"], ["ok"], ["ok"], ["ref_mismatch"], ["ref_mismatch"],
    ]  # fmt: skip
    assert "chr1:3001: not scored: outside the contig, which has 3,000 bases" in caplog.messages
    assert any(message.startswith("chr1:2999: not scored: REF is ") for message in caplog.messages)


@pytest.mark.parametrize("names", [("1", "2"), ("NC_000001.11", "NC_000002.12"), ("chr1", "chr2")])
def test_names_of_contigs(score, tmp_path, names):
    one, two = (row(contig, 100, name=name) for contig, name in zip(CONTIGS, names, strict=True))
    vcf = (
        "##fileformat=VCFv4.2\n" + COLUMNS + one + row("chr1", 200, name=names[0]) + two + "odd\t5\t.\tA\tC\t.\t.\t.\n"
    )
    found = lines(score(vcf))
    assert statuses(found) == [["ok"], ["ok"], ["ok"], ["no_contig"]]
    assert [without_ours(line) + "\n" for line in found] == vcf.splitlines(keepends=True)[2:]
    # Regions may use any of the names too, also where the header names no contig.
    assert len(lines(score(vcf, regions=("1:150-250", "chr2")))) == 2
    bed = tmp_path / "r.bed"
    bed.write_text("chr1\t99\t100\nchr9\t1\t5\n")
    assert len(lines(score(vcf, regions_file=bed))) == 1
    with pytest.raises(UsageError, match="chr7:1-5: the VCF has no such contig; it has"):
        score(vcf, regions=("chr7:1-5",))


def test_scored_again(score):
    first = score(HEADER + COLUMNS + row("chr1", 100, info="AF=0.30000001"), out="first.vcf")
    out = score(first)
    assert lines(out) == lines(first)
    header = [line for line in out.read_text().splitlines() if line.startswith("##genoconv")]
    assert header == [
        line.replace("in.vcf", "first.vcf") for line in first.read_text().splitlines() if "##geno" in line
    ]
    # Strands and status of the earlier run would be stale beside the new value.
    plain = score(first, explain=False)
    assert set(info(lines(plain)[0])) == {"AF", "GCONV_LLR"}
    assert "GCONV_FWD" not in plain.read_text()
    with pytest.raises(UsageError, match="--info-prefix"):
        score(first, window=(128,))
    both = score(first, window=(128,), info_prefix="WIDE")
    assert {"GCONV_LLR", "WIDE_LLR"} <= set(info(lines(both)[0]))
    assert both.read_text().count("##genoconvScore=prefix=") == 2


def test_assembly_of_another_kind(score, tmp_path):
    wrong = "".join(row("chr1", pos, "ACGT"[("ACGT".index(CONTIGS["chr1"][pos - 1]) + 1) % 4]) for pos in range(50, 70))
    right = "".join(row("chr1", pos) for pos in range(100, 300))
    with pytest.raises(DataError, match=r"20 of the first 100 records.*another assembly"):
        score(HEADER + COLUMNS + wrong + "".join(right.splitlines(keepends=True)[:80]))
    assert not (tmp_path / "out.vcf").exists()
    found = statuses(lines(score(HEADER + COLUMNS + wrong + right)))
    assert found == [["ref_mismatch"]] * 20 + [["ok"]] * 200


def test_headers_alone(score):
    for text in (HEADER + COLUMNS, HEADER, "##fileformat=VCFv4.2\n"):
        for name in ("out.vcf", "out.vcf.gz", "out.bcf"):
            assert bcftools("view", "-H", score(text, out=name)) == ""


def test_outputs_that_cannot_be(score, tmp_path):
    for output, words in ((Path("/dev/null"), "a device or a pipe"), (tmp_path, "is a folder")):
        with pytest.raises(OutputError, match=words):
            score(HEADER + COLUMNS + row("chr1", 100), output=output)
    with pytest.raises(UsageError, match="this model takes windows of 8 to 2,050 bases"):
        score(HEADER + COLUMNS + row("chr1", 100), window=(4096,))


def test_names_that_are_not_utf8(score, tmp_path, monkeypatch):
    text = HEADER + COLUMNS + row("chr1", 100)
    for name, options in ((b"\xff.vcf", {}), (b"\xff.vcf.gz", {"index": False})):
        assert len(lines(score(text, out=os.fsdecode(name), **options))) == 1
    monkeypatch.setattr(run, "load", lambda *_, **__: pytest.fail("begun"))
    for name, options in ((b"\xff.vcf.gz", {}), (b"\xff.bcf", {}), (b"\xff", {"output_type": "u", "index": False})):
        with pytest.raises(OutputError, match=r"\\xff.*: htslib, .* needs a path that is UTF-8; choose another"):
            score(text, out=os.fsdecode(name), **options)


@pytest.mark.parametrize("strand", ["+", "-"])
def test_gene_across_the_origin(score, tmp_path, strand):
    """Scores do not change when the circle is cut elsewhere."""
    circle = CONTIGS["chr1"][:600]
    turned = circle[300:] + circle[:300]
    places = [(499, 1), (500, 1), (599, 1), (0, 1), (99, 1), (100, 1), (97, 3), (560, 4), (598, 2)]
    found = []
    for sequence, first, shift in ((circle, 501, 0), (turned, 201, 300)):
        fasta, gff = tmp_path / f"{shift}.fa", tmp_path / f"{shift}.gff3"
        fasta.write_text(f">p\n{sequence}\n")
        gff.write_text(
            "##gff-version 3\np\tx\tregion\t1\t600\t.\t+\t.\tID=r;Is_circular=true\n"
            f"p\tx\tgene\t{first}\t{first + 199}\t.\t{strand}\t.\tID=gene-a\n"
        )
        rows = []
        for place, length in places:
            start = (place - shift) % 600
            ref = sequence[start : start + length]
            rows.append(f"p\t{start + 1}\t.\t{ref}\t{'A' if ref[0] != 'A' else 'C'}\t.\t.\t.\n")
        vcf = "##fileformat=VCFv4.2\n" + COLUMNS + "".join(rows)
        found.append([line.split("\t")[7] for line in lines(
            score(vcf, fasta=fasta, context="gene", annotation=gff, window=(), strand="both")
        )])  # fmt: skip
    assert found[0] == found[1]
    assert [value.rpartition("=")[2] for value in found[0]] == ["no_gene", *["ok"] * 4, "no_gene", *["ok"] * 3]


def test_several_genes_and_what_lies_beside_them(score, tmp_path):
    gtf = tmp_path / "g.gtf"
    genes = [("a", 101, 200, "lncRNA"), ("b", 121, 180, "protein_coding"), ("c", 131, 170, "protein_coding")]
    gtf.write_text("".join(
        f'chr1\tx\tgene\t{start}\t{end}\t.\t+\t.\tgene_id "{name}"; gene_biotype "{kind}";\n'
        for name, start, end, kind in genes
    ))  # fmt: skip
    at = CONTIGS["chr1"]
    rows = row("chr1", 150) + row("chr1", 110) + row("chr1", 250) + row("chr1", 200, alt=at[199] + "TTT")
    options = {"context": "gene", "window": ()}
    found = lines(score(HEADER + COLUMNS + rows, annotation=gtf, **options))
    assert statuses(found) == [["ok"], ["ok"], ["no_gene"], ["no_gene"]]
    # The longest protein-coding gene decides where several lie over a variant.
    gtf.write_text(gtf.read_text().splitlines(keepends=True)[1])
    [alone] = lines(score(HEADER + COLUMNS + row("chr1", 150), annotation=gtf, **options))
    assert alone == found[0]


def interrupt_after_a_piece(patch):
    append = Journal.append

    def interrupted(self, value):
        append(self, value)
        raise KeyboardInterrupt

    patch.setattr(Journal, "append", interrupted)


def test_the_precision_is_reported_and_kept(score, tmp_path, monkeypatch):
    vcf = HEADER + COLUMNS + "".join(row("chr1", pos) for pos in range(50, 400, 10))
    header = score(vcf, device="cpu").read_text()
    assert "--precision 32" in header  # what auto is on a CPU
    assert score(vcf, device="cpu", precision="32").read_text() == header
    with monkeypatch.context() as patch:
        interrupt_after_a_piece(patch)
        with pytest.raises(
            Interrupted, match=r"^finished records are kept; to continue after them, repeat the command with --resume"
        ):
            score(vcf, device="cpu")
    with pytest.raises(UsageError, match="--precision bf16"):
        score(vcf, device="cpu", precision="bf16", resume=True)


def test_resuming_with_another_bed_is_refused(score, tmp_path, monkeypatch):
    bed = tmp_path / "r.bed"
    bed.write_text("chr1\t0\t2000\n")
    vcf = HEADER + COLUMNS + "".join(row("chr1", pos) for pos in range(50, 2000, 10))
    with monkeypatch.context() as patch:
        interrupt_after_a_piece(patch)
        with pytest.raises(KeyboardInterrupt):
            score(vcf, regions_file=bed)
    assert not (tmp_path / "out.vcf").exists()
    bed.write_text("chr1\t0\t1000\n")
    with pytest.raises(UsageError, match="regions file"):
        score(vcf, regions_file=bed, resume=True)


def test_floats_of_the_input_are_not_reformatted(score):
    rows = row("chr1", 100, info="AF=0.30000001;X=1e-9;Y;Z=1e10")
    assert without_ours(lines(score(HEADER + COLUMNS + rows))[0]) == rows.rstrip("\n")
    out = score(HEADER + COLUMNS + rows, out="out.vcf.gz")
    assert gzip.decompress(out.read_bytes()).decode().splitlines()[-1] == lines(out)[0]
    # BGZF: the extra field BC, and the empty block at the end.
    raw = out.read_bytes()
    assert raw[12:14] == b"BC"
    assert struct.unpack("<I", raw[-4:]) == (0,)
