"""``genoconv predict``: every input and format has the same numbers, those of ``model.predict``; options arrive."""

import os

import pandas as pd
import pytest
from calls import call
from embed_files import small_model
from predict_runs import SEQUENCES, Bench, expected_logits

from genoconv.errors import GenoconvError, ModelError
from genoconv.models import save_model


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        (">a\nACGT\n>b\n", (), r"line 3: record 'b' is empty"),
        ("id,letters\na,ACGT\n", (), "line 1: no column for the sequence"),
        ("sequence\nACGT\n\n,\n", (), "line 4: 2 cells, but the header has 1"),
        ("sequence,x\nACGT,1\n,2\n", (), "line 3: no sequence"),
        ("sequence\n", (), "no record below the header"),
        (">a\nACGT\n", ("-f", "FASTA"), "--fasta is only for a BED file"),
        (">a\nACGT\n", ("-o", os.fsdecode(b"\xff.bw")), r"\\xff.*: a bigWig needs a path that is UTF-8"),
        (">a\nACGT\n", ("-o", "out.txt"), "the name should end in .tsv, .parquet, .bw"),
    ],
)
def test_a_fault_is_one_line(bench: Bench, text: str, words: tuple[str, ...], message: str) -> None:
    source = bench.folder / "odd"
    source.write_text(text)
    options = [str(bench.fasta) if word == "FASTA" else word for word in words]
    with pytest.raises(GenoconvError, match=message) as caught:
        bench.run(*options, source=source)
    assert "\n" not in str(caught.value)
    assert not bench.out.exists()


def test_a_model_without_a_head_is_refused(bench: Bench) -> None:
    save_model(small_model(), bench.folder / "plain", provenance={})
    bench.model = bench.folder / "plain"
    with pytest.raises(ModelError, match=r"predicts only the next base; add a head with `genoconv finetune`"):
        bench.run()


def test_variants_get_the_difference_of_the_outputs(bench: Bench) -> None:
    sequence = SEQUENCES["b"]
    alt = "C" if sequence[120] != "C" else "G"
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    vcf = bench.folder / "in.vcf"
    vcf.write_text(f"##fileformat=VCFv4.2\n{columns}b\t121\t.\t{sequence[120]}\t{alt},<DEL>\t.\t.\t.\n")
    table = bench.folder / "out.tsv"
    words = ("score-variants", vcf, "-f", bench.fasta, "-o", bench.folder / "out.vcf", "--tsv", table, "-w", 80)
    call(*words, "-m", bench.model, "--grid", 1, "--strand", "forward", "--device", "cpu")
    window = sequence[80:160]
    ref, changed = expected_logits(bench.model, window), expected_logits(bench.model, window[:40] + alt + window[41:])
    *_, record = (bench.folder / "out.vcf").read_text().splitlines()[-2:]
    assert "##INFO=<ID=GCONV_DELTA_x,Number=A,Type=Float" in (bench.folder / "out.vcf").read_text()
    info = dict(item.split("=") for item in record.split("\t")[7].split(";"))
    first, second = info["GCONV_DELTA_y"].split(",")
    assert float(first) == pytest.approx(float(changed[1] - ref[1]), abs=2e-5)
    assert second == "."
    rows = pd.read_csv(table, sep="\t")
    assert rows.loc[0, "delta_x"] == pytest.approx(float(changed[0] - ref[0]), abs=2e-5)
    call(*words, "-m", bench.model, "--force", "--device", "cpu")  # the mean over both strands is another number
    assert pd.read_csv(table, sep="\t").loc[0, "delta_x"] != rows.loc[0, "delta_x"]
