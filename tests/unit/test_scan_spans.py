"""Which positions a scan reads, and how they are cut into pieces."""

import re
from pathlib import Path
from typing import Any

import pytest

from genoconv.errors import DataError, UsageError
from genoconv.pipelines.scan.options import ScanOptions
from genoconv.pipelines.scan.spans import Span, find_spans, pieces

CONTIGS = {"chr1": 1000, "chr2": 300, "HLA:A*01:01": 50, "HLA:A*01": 70}


def found(**options: Any) -> list[Span]:
    wanted = ScanOptions(fasta=Path("g.fa"), output=Path("o.bw"), **options)
    return find_spans(wanted, fasta=Path("g.fa"), contigs=CONTIGS, aliases={"one": "chr1"})


def test_the_whole_genome_in_the_order_of_the_fasta() -> None:
    assert found() == [Span(name, 0, length) for name, length in CONTIGS.items()]


@pytest.mark.parametrize(
    ("region", "span"),
    [
        ("chr1:1-10", ("chr1", 0, 10)),
        ("1:1,000-1,000", ("chr1", 999, 1000)),
        ("one:990-", ("chr1", 989, 1000)),
        ("chr2:5", ("chr2", 4, 5)),
        ("chr2", ("chr2", 0, 300)),
        ("HLA:A*01:01", ("HLA:A*01:01", 0, 50)),  # a name, not base 1 of HLA:A*01
        ("HLA:A*01:01:2-3", ("HLA:A*01:01", 1, 3)),
        ("HLA:A*01:7-8", ("HLA:A*01", 6, 8)),
        ("{HLA:A*01:01}:2-3", ("HLA:A*01:01", 1, 3)),
        ("{chr2}", ("chr2", 0, 300)),
        (" chr2:5-6 ", ("chr2", 4, 6)),
    ],
)
def test_a_region_is_one_based_and_a_name_may_hold_colons(region: str, span: tuple[str, int, int]) -> None:
    assert found(regions=(region,)) == [Span(*span)]


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        ("chr2:0-5", "positions are counted from 1"),
        ("chr2:6-5", "the first must not exceed the last"),
        ("chr2:1-301", "beyond the end of chr2, which has 300 bases"),
        ("chr2:301", "beyond the end of chr2"),
        ("chr2:301-", "beyond the end of chr2"),
        ("chr2:-5", "'-5' is not FROM-TO or a position"),
        ("chr2:1e2-2e2", "'1e2-2e2' is not FROM-TO or a position"),
        ("chr2:", "'' is not FROM-TO or a position"),
        ("{chr2}:x", "'x' is not FROM-TO or a position"),
        ("{chr2", "the FASTA has no such contig; it has chr1, chr2, HLA:A"),
        ("", "the FASTA has no such contig"),
    ],
)
def test_an_invalid_region_is_refused(region: str, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"^--region {re.escape(region)}: .*{re.escape(reason)}"):
        found(regions=(region,))


def test_intervals_on_other_contigs_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bed = tmp_path / "b.bed"
    bed.write_text("chr1\t5\t9\nchrUn\t1\t2\nchrUn\t4\t5\n")
    assert found(bed=bed) == [Span("chr1", 5, 9)]
    assert caplog.messages == [f"{bed}: skipped 2 intervals on contigs that are not in g.fa: chrUn"]
    bed.write_text("#\nchr1\t5\t1001\n")
    with pytest.raises(DataError, match=r"b.bed: line 2: chr1:5-1001 is beyond chr1, which has 1,000 bases"):
        found(bed=bed)


def test_nothing_to_scan_is_an_error(tmp_path: Path) -> None:
    genes = tmp_path / "g.gtf"
    genes.write_text('chr1\tx\tgene\t901\t1900\t.\t-\t.\tgene_id "G"; gene_biotype "protein_coding";\n')
    with pytest.raises(DataError, match=r"g.gtf: no gene lies in g.fa: nothing to scan"):
        found(genes=genes)
    options = ScanOptions(fasta=Path("g.fa"), output=Path("o.bw"))
    with pytest.raises(DataError, match=r"^g.fa: nothing to scan"):
        find_spans(options, fasta=Path("g.fa"), contigs={"empty": 0}, aliases={})


def test_regions_that_touch_or_overlap_are_read_once_in_order() -> None:
    regions = ("chr2:50-60", "chr1:21-30", "chr1:11-20", "chr1:25-26", "chr2:62-70")
    assert found(regions=regions) == [Span("chr1", 10, 30), Span("chr2", 49, 60), Span("chr2", 61, 70)]


def test_intervals_and_genes_are_joined_with_regions(tmp_path: Path) -> None:
    bed, genes = tmp_path / "r.bed", tmp_path / "g.gff3"
    bed.write_text("1\t5\t8\nchr1\t7\t9\n2\t0\t1\n")
    rows = ["chr2\tx\tregion\t1\t300\t.\t+\t.\tID=chr2;Is_circular=true", "chr2\tx\tgene\t291\t310\t.\t+\t.\tID=across"]
    genes.write_text("\n".join(rows) + "\n")
    assert found(bed=bed, regions=("chr1:10-12",)) == [Span("chr1", 5, 12), Span("chr2", 0, 1)]
    assert found(genes=genes) == [Span("chr2", 0, 10), Span("chr2", 290, 300)], "a gene across the origin"
    bed.write_text("chr2\t5\t301\n")
    with pytest.raises(DataError, match=r"r\.bed: line 1: chr2:5-301 is beyond chr2, which has 300 bases"):
        found(bed=bed)


@pytest.mark.parametrize("size", [1, 16, 100, 5000])
def test_pieces_are_cut_at_the_borders_of_tiles(size: int) -> None:
    spans, step = [Span("chr1", 3, 500), Span("chr1", 600, 610), Span("chr2", 0, 300)], 8
    runs = list(pieces(spans, size=size, step=step))
    every = [span for run in runs for span in run]
    assert [p for s in every for p in range(s.start, s.end)] == [p for s in spans for p in range(s.start, s.end)]
    ends = {(span.contig, span.end) for span in spans}
    assert all((span.end + step // 2) % step == 0 for span in every if (span.contig, span.end) not in ends)
    amounts = [sum(span.end - span.start for span in run) for run in runs]
    assert all(size <= amount < size + 2 * step for amount in amounts[:-1])
