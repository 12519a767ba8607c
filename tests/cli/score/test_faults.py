"""What went wrong once in ``genoconv score-variants``, each with its kind: nothing is lost or misleading unsaid."""

import json
import logging
import os
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from toy_scoring import KmerModel, record, scorer, write_fasta
from vcf_files import info, lines, statuses, text

from genoconv.errors import OutputError, UsageError
from genoconv.genome.assemblies.manifest import list_manifests
from genoconv.pipelines.resolve import Call
from genoconv.pipelines.score.cautions import cautions
from genoconv.pipelines.score.options import ScoreOptions
from genoconv.pipelines.score.run import score_variants
from genoconv.tasks.journal import Journal, journal_path
from genoconv.variants.chunks import chunks, grid_place, shard_of
from genoconv.workfiles import claimed
from support import run_cli

RNG = np.random.default_rng(7)
CONTIG = "".join(RNG.choice(list("ACGT"), 6000))
HEADER = f"##fileformat=VCFv4.2\n##contig=<ID=c,length={len(CONTIG)}>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def rows(*positions: int) -> str:
    return "".join(
        f"c\t{pos}\t.\t{CONTIG[pos - 1]}\t{'A' if CONTIG[pos - 1] != 'A' else 'C'}\t.\t.\t.\n" for pos in positions
    )


@pytest.fixture
def run(model: Path, tmp_path: Path) -> ScoreOptions:
    vcf, fasta = tmp_path / "in.vcf", write_fasta(tmp_path / "g.fa", {"c": CONTIG})
    vcf.write_text(HEADER + rows(*range(100, 1000, 3)))
    return ScoreOptions(
        vcf=vcf, fasta=fasta, model=model, output=tmp_path / "out.vcf.gz", window=(64,), quiet=True, device="cpu"
    )


def again(run: ScoreOptions, **options: object) -> ScoreOptions:
    return ScoreOptions(**{**run.model_dump(), **options})


@pytest.mark.parametrize("way", ["unsorted", "no index", "plain"])
@pytest.mark.parametrize("stale", [".tbi", ".csi"])
def test_an_index_of_other_records_goes(run: ScoreOptions, way: str, stale: str) -> None:
    assert run.output is not None
    score_variants(run)
    index = run.output.with_name(run.output.name + ".tbi")
    index = index.rename(run.output.with_name(run.output.name + stale))
    if way == "unsorted":
        run.vcf.write_text(HEADER + rows(500, 200))
    score_variants(again(run, force=True, index=way != "no index", output_type="v" if way == "plain" else None))
    assert not index.exists()
    assert len(lines(run.output)) == (2 if way == "unsorted" else 300)


def test_an_index_replaces_one_of_the_other_kind(run: ScoreOptions) -> None:
    assert run.output is not None
    other = run.output.with_name("out.vcf.gz.csi")
    other.write_bytes(b"of other records")
    score_variants(run)
    assert not other.exists()
    assert run.output.with_name("out.vcf.gz.tbi").exists()


@pytest.mark.parametrize("which", ["output", "table"])
def test_two_runs_to_one_output(run: ScoreOptions, tmp_path: Path, which: str) -> None:
    run = again(run, tsv=tmp_path / "out.tsv")
    held = run.output if which == "output" else run.tsv
    assert held is not None
    with claimed(held), pytest.raises(OutputError, match=rf"{held.name}: process {os.getpid()} on .* is writing it"):
        score_variants(again(run, force=True))
    assert not run.output.exists()  # type: ignore[union-attr]
    score_variants(run)


def interrupted(run: ScoreOptions, monkeypatch: pytest.MonkeyPatch, *, pieces: int) -> None:
    real = Journal.append

    def append(journal: Journal, value: object) -> None:
        real(journal, value)
        nonlocal pieces
        pieces -= 1
        if not pieces:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", append)
        with pytest.raises(KeyboardInterrupt, match="repeat the command with --resume"):
            score_variants(run)


def test_finished_pieces_are_kept_until_somebody_says_so(run: ScoreOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run.output is not None
    interrupted(run, monkeypatch, pieces=3)
    journal = journal_path(run.output).read_bytes()
    with pytest.raises(OutputError, match=r"left 3 finished pieces; pass --resume .*, or --force to start again"):
        score_variants(run)
    assert journal_path(run.output).read_bytes() == journal
    assert score_variants(again(run, resume=True)).resumed > 0
    interrupted(again(run, force=True), monkeypatch, pieces=1)
    assert score_variants(again(run, force=True)).resumed == 0


def test_windows_in_any_order(run: ScoreOptions, tmp_path: Path) -> None:
    run.vcf.write_text(HEADER + rows(3, 500, 501, 5998))
    found = []
    for number, windows in enumerate([(256, 64, 128), (64, 128, 256)]):
        out = tmp_path / f"{number}.vcf"
        score_variants(again(run, window=windows, output=out))
        found.append([info(line) for line in lines(out)])
    assert found[0] == found[1]
    alone = tmp_path / "alone.vcf"
    score_variants(again(run, window=(128,), output=alone))
    for one, line in zip(found[0], lines(alone), strict=True):
        assert float(one["GCONV_LLR_128"]) == pytest.approx(float(info(line)["GCONV_LLR"]), abs=1e-4)


@pytest.mark.parametrize("text", ["1_000", "", "64,", "٦٤", "1e3", "9" * 5000, "-64", " 64"], ids=lambda text: text[:8])
def test_lengths_and_parts_that_are_not_numbers(text: str) -> None:
    given = {"vcf": Path("a.vcf"), "fasta": Path("a.fa"), "model": Path("m")}
    for key, value, label in (("window", text, "--window"), ("shard", f"1/{text}", "--shard")):
        with pytest.raises(UsageError, match=label) as caught:
            Call(ScoreOptions, given={**given, key: value}).resolve()
        assert len(str(caught.value)) < 250


def annotated(run: ScoreOptions, *genes: tuple[str, int, int, str]) -> ScoreOptions:
    gtf = run.vcf.with_name("genes.gtf")
    gtf.write_text(
        "".join(
            f'c\tx\tgene\t{start}\t{end}\t.\t{strand}\t.\tgene_id "{name}"; gene_biotype "protein_coding";\n'
            for name, start, end, strand in genes
        )
    )
    return again(run, window=(), context="gene", annotation=gtf)


def test_genes_that_are_longer_than_the_model(run: ScoreOptions, caplog: pytest.LogCaptureFixture) -> None:
    run = annotated(run, ("LONGGENE", 1, 5000, "+"))
    with caplog.at_level(logging.WARNING, "genoconv"):
        score_variants(run)
    [nothing, gene] = [message for message in caplog.messages if "allele" in message]
    assert "no allele was scored: 300 of 300 are too_long" in nothing
    assert "LONGGENE (5,000 bases) is too long" in gene
    assert "this model's 2,050 bases" in gene
    assert "drop --context gene" in gene
    caplog.clear()
    # Some scored, some not: the gene is still named, and nothing says that there are no scores.
    run = annotated(run, ("LONGGENE", 1, 500, "+"), ("OTHER", 501, 5000, "-"))
    with caplog.at_level(logging.WARNING, "genoconv"):
        score_variants(again(run, force=True))
    [gene] = [message for message in caplog.messages if "allele" in message]
    assert "OTHER (4,500 bases)" in gene


@pytest.mark.parametrize(
    ("record_", "word"),
    [
        ("c\t50\t.\tN\t<DEL>\t.\t.\t.", "symbolic"),
        ("c\t50\t.\tN\t.\t.\t.\t.", "no_alt"),
        (f"c\t50\t.\t{CONTIG[49]}\t{CONTIG[49]}{'ACGT' * 40}\t.\t.\t.", "--max-indel"),
        (f"c\t50\t.\t{CONTIG[49]}\tN\t.\t.\t.", "letters other than"),
        (f"c\t50\t.\t{'A' if CONTIG[49] != 'A' else 'C'}\tG\t.\t.\t.", "another assembly"),
    ],
)
def test_nothing_scored_is_said(run: ScoreOptions, caplog: pytest.LogCaptureFixture, record_: str, word: str) -> None:
    run.vcf.write_text(HEADER + record_ + "\n")
    with caplog.at_level(logging.WARNING, "genoconv"):
        score_variants(run)
    [said] = [message for message in caplog.messages if "no allele was scored: 1 of 1" in message]
    assert word in said


def test_the_gene_and_its_strand_are_named(run: ScoreOptions) -> None:
    assert run.output is not None
    run = again(annotated(run, ("CYCD1;1,x%", 50, 600, "-"), ("B", 700, 900, "+")), explain=True, strand="both")
    run = again(run, tsv=run.output.with_name("t.tsv"))
    score_variants(run)
    found = [info(line) for line in lines(run.output)]
    assert Counter(one["GCONV_GENE"] for one in found) == {"CYCD1%3B1%2Cx%25": 167, "B": 67, ".": 66}
    header = text(run.output)
    assert "forward strand" not in header
    assert "the gene's own strand" in header
    assert "##INFO=<ID=GCONV_GENE,Number=A,Type=String" in header
    assert run.tsv is not None
    table = run.tsv.read_text().splitlines()
    assert table[0].split("\t")[5:] == ["llr", "forward", "reverse", "gene", "status"]
    assert table[1].split("\t")[8] == "CYCD1;1,x%"
    import pysam.bcftools

    queried = pysam.bcftools.query("-f", "%INFO/GCONV_GENE\n", str(run.output)).split("\n")
    assert queried[0] == "CYCD1%3B1%2Cx%25"
    # Alone, the score is the gene's strand, and the header says so.
    score_variants(again(run, strand=None, force=True, tsv=None))
    header = text(run.output)
    assert "strand=gene;" in header


@pytest.mark.parametrize(("total", "count"), [(2185, 8), (300, 4), (29000, 8), (1000, 32), (5, 8)])
def test_shards_are_even(total: int, count: int) -> None:
    from genoconv.pipelines.score.plan import piece_size
    from genoconv.tasks.planning import Settings

    records = [record("c", start, "A", "C") for start in range(0, 10 * total, 10)]
    size = piece_size(Settings((1024,), (64,), 1024), genes=None, total=total)
    parts = [
        [r for piece in shard_of(chunks(records, size=size, place=grid_place(64)), index=i, count=count, total=total)
         for r in piece]
        for i in range(count)
    ]  # fmt: skip
    assert [r.start for part in parts for r in part] == [r.start for r in records]
    assert max(map(len, parts)) <= total / count + 2 * size
    if total >= 16 * count * 4:
        assert min(map(len, parts)) >= 0.6 * total / count


def test_shards_of_a_small_file_merge_to_the_same_bytes(run: ScoreOptions, tmp_path: Path) -> None:
    whole = again(run, output=tmp_path / "whole.vcf")
    score_variants(whole)
    merged: list[str] = []
    for part in range(1, 5):
        out = tmp_path / f"{part}.vcf"
        score_variants(again(run, output=out, shard=(part, 4)))
        assert 50 <= len(lines(out)) <= 100
        merged += lines(out)
    assert merged == lines(tmp_path / "whole.vcf")


def test_progress_moves_within_a_piece(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "g.fa", {"c": CONTIG})
    records = [record("c", start, CONTIG[start], "A" if CONTIG[start] != "A" else "C") for start in range(99, 400, 3)]
    amounts: list[float] = []
    scorer(fasta, model=KmerModel(), batch_size=10).score(records, advance=amounts.append)
    assert sum(amounts) == pytest.approx(len(records))
    assert len(amounts) > 20
    assert max(amounts) < len(records) / 10
    unscored: list[float] = []
    scorer(fasta).score([record("c", 5, "A", "<DEL>")] * 3, advance=unscored.append)
    assert sum(unscored) == 3


@pytest.mark.parametrize(
    "option", [{"output": "in.vcf"}, {"output": "g.fa"}, {"tsv": "in.vcf"}, {"output": "link.vcf"}, {"output": "b.bed"},
               {"output": "g.fa.fai"}, {"output": "tiny/config.json"}]
)  # fmt: skip
def test_an_output_that_is_an_input_is_refused(run: ScoreOptions, tmp_path: Path, option: dict[str, str]) -> None:
    (tmp_path / "b.bed").write_text("c\t0\t6000\n")
    (tmp_path / "g.fa.fai").write_text(f"c\t{len(CONTIG)}\t3\t{len(CONTIG)}\t{len(CONTIG) + 1}\n")
    (tmp_path / "link.vcf").symlink_to(run.vcf)
    [(name, value)] = option.items()
    path = run.model / "config.json" if value.startswith("tiny") else tmp_path / value
    before = path.read_bytes()
    with pytest.raises(UsageError, match="choose another name"):
        score_variants(again(run, regions_file=tmp_path / "b.bed", force=True, **{name: path}))
    assert path.read_bytes() == before


def test_a_table_that_the_index_would_replace_is_refused(run: ScoreOptions, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="also written as --output or its index"):
        score_variants(again(run, tsv=tmp_path / "out.vcf.gz.tbi", force=True))


@pytest.mark.parametrize("what", ["journal", "lock"])
def test_a_planted_link_is_not_followed(run: ScoreOptions, tmp_path: Path, what: str) -> None:
    victim = tmp_path / "precious"
    victim.write_text("keep me")
    (tmp_path / f".out.vcf.gz.genoconv-{what}").symlink_to(victim)
    with pytest.raises(OutputError, match="symbolic link"):
        score_variants(again(run, force=True))
    assert victim.read_text() == "keep me"
    assert not (tmp_path / "out.vcf.gz").exists()


KILLED = """
import os, signal, sys
from genoconv.tasks.journal import Journal
append, left = Journal.append, [2]
def struck(self, value):
    append(self, value)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
Journal.append = struck
"""


def test_what_a_killed_run_left_goes_with_the_next(run: ScoreOptions, tmp_path: Path, home: Path) -> None:
    """BCF through standard input has the most temporary files: the copy of the input, the text, the binary."""
    out = tmp_path / "out.bcf"
    words = ["score-variants", "-", "-f", run.fasta, "-m", run.model, "-w", "64", "-o", out, "--device", "cpu"]
    killed = run_cli(*words, home=home, stdin=run.vcf.read_bytes(), before=KILLED)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    left = {path.name for path in tmp_path.glob(".*")}
    assert len(left) >= 5  # journal, lock, copy of the input, output, text, binary
    score_variants(again(run, output=out, resume=False, force=True))
    assert not list(tmp_path.glob(".*"))


def test_a_model_that_lost_to_counting_is_named(
    run: ScoreOptions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import shutil

    run.vcf.write_text(HEADER + rows(500))
    folder = tmp_path / "model"
    shutil.copytree(run.model, folder)
    config = json.loads((folder / "config.json").read_text())

    def warned(provenance: dict[str, object], genome: dict[str, object] | None = None) -> tuple[list[str], str]:
        (folder / "config.json").write_text(json.dumps({**config, "provenance": provenance}))
        (folder / "genome.json").unlink(missing_ok=True)
        if genome is not None:
            (folder / "genome.json").write_text(json.dumps(genome))
        caplog.clear()
        with caplog.at_level(logging.WARNING, "genoconv"):
            score_variants(again(run, model=folder, output=tmp_path / "o.vcf", force=True))
        header = [line for line in (tmp_path / "o.vcf").read_text().splitlines() if "##genoconvCaution" in line]
        return caplog.messages, "".join(header)

    good = {"genome": "x", "validation_perplexity": 3.5, "markov_perplexities": [3.9, 3.8], "best_markov_order": 1}
    assert warned(good) == ([], "")
    [message], header = warned({**good, "validation_perplexity": 3.85})
    assert "worse than counting k-mers (validation perplexity 3.850, Markov model of order 1 3.800)" in message
    assert "worse than counting k-mers" in header
    [message], header = warned({**good, "genome": "demo"})
    assert "synthetic demo genome" in message
    assert "demo" in header
    from genoconv.genome.fasta.access import Fasta

    md5 = Fasta(run.fasta).digest("c")
    assert warned(good, {"contigs": {"c": {"length": 6000, "md5": md5}}}) == ([], "")
    yeast = {"contigs": {"chrI": {"length": 230218, "md5": "6681ac2f62509cfc220d78751b8dc524"}}}
    [message], header = warned({**good, "genome": "sacCer3"}, yeast)
    assert "trained on sacCer3, which shares no sequence with g.fa" in message
    assert "sacCer3" in header
    both = {**good, "species": {"human": ["hg38"], "mouse": ["mm39"]}}
    [message], header = warned(both, yeast)
    assert "trained on sequence of human and mouse; it is not known whether g.fa is one of these" in message
    assert "human and mouse" in header
    hg38, coli = (one.md5 for name in ("hg38", "ecoli-k12") for one in list_manifests() if one.name == name)
    assert cautions(folder, reference=hg38, fasta=Path("hg38.fa")) == []
    [message] = cautions(folder, reference=coli, fasta=Path("y.fa"))
    assert "trained on sequence of human and mouse, which shares no sequence with y.fa (ecoli-k12)" in message
    [message], header = warned({"kind": "imported", "source": {"path": "/x"}})
    assert "does not record what it was trained on; nothing says that its scores mean anything on g.fa" in message
    assert "does not record" in header
    published = {"kind": "imported", "source": {"repository": "LongSafari/hyenadna-tiny-1k-seqlen-hf"}}
    [message], header = warned(published)
    assert "published model was trained on hg38, and g.fa is not that, as far as is known" in message
    for name, words in (("hg38", []), ("saccer3", ["and y.fa is not that but saccer3"])):
        reference = dict(list(next(some for some in list_manifests() if some.name == name).md5.items())[:2])
        found = cautions(folder, reference=reference, fasta=Path("y.fa"))
        assert len(found) == len(words)
        assert all(word in text for word, text in zip(words, found, strict=True))
    # Records that are not as train writes them are no reason to stop.
    for odd in ({"validation_perplexity": "3", "markov_perplexities": [None]}, {"markov_perplexities": {}}, {}):
        assert warned(odd, {"contigs": []}) == ([], "")


def test_statuses_survive_a_resumed_run(run: ScoreOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Genes, statuses and warnings come out of the journal as they went in."""
    run = again(annotated(run, ("G", 50, 400, "+"), ("LONG", 401, 5000, "+")), explain=True)
    whole = again(run, output=tmp_path / "whole.vcf.gz")
    expected = score_variants(whole)
    interrupted(run, monkeypatch, pieces=2)
    summary = score_variants(again(run, resume=True))
    assert summary.alleles == expected.alleles
    assert summary.long_genes == expected.long_genes
    assert run.output is not None
    assert run.output.read_bytes() == (tmp_path / "whole.vcf.gz").read_bytes()
    assert {"ok", "too_long"} == {status for one in statuses(lines(run.output)) for status in one}


@pytest.mark.parametrize("sizes", [(1,), (1, 1, 1), (5, 1, 1), (1, 1, 5), (2, 2, 2, 2)])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shards_are_disjoint_complete_and_in_order(sizes: tuple[int, ...], count: int) -> None:
    runs = [[f"{number}.{i}" for i in range(size)] for number, size in enumerate(sizes)]
    parts = [list(shard_of(iter(runs), index=i, count=count, total=sum(sizes))) for i in range(count)]  # type: ignore[arg-type]
    assert [run for part in parts for run in part] == runs
    if set(sizes) == {1} and len(sizes) >= count:
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
