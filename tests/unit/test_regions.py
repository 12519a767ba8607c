"""Regions of an annotation and of BED files: where they begin and end, and which of them a base belongs to."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from fasta_files import write_fasta

from genoconv.errors import DataError
from genoconv.genome.annotation.features import Feature, Features, Stretches, merged, without
from genoconv.genome.fasta.access import Fasta
from genoconv.genome.windows.regions import RegionMap, bed_stretches

# One coding transcript per strand, one without CDS, and a gene without transcripts, 1-based closed.
GFF3 = """\
##gff-version 3
1	x	gene	101	400	.	+	.	ID=gene1
1	x	mRNA	101	400	.	+	.	ID=t1;Parent=gene1
1	x	exon	101	150	.	+	.	Parent=t1
1	x	exon	201	400	.	+	.	Parent=t1
1	x	CDS	131	150	.	+	0	Parent=t1
1	x	CDS	201	250	.	+	1	Parent=t1
1	x	gene	601	700	.	-	.	ID=gene2
1	x	lnc_RNA	611	690	.	-	.	ID=t2;Parent=gene2
1	x	exon	611	690	.	-	.	Parent=t2
1	x	gene	801	900	.	-	.	ID=gene3
2	x	gene	1	50	.	.	.	ID=gene4
"""
EXPECTED = {
    "cds": {"chr1": [(130, 150), (200, 250)]},
    "utr": {"chr1": [(100, 130), (250, 400)]},
    "exon": {"chr1": [(100, 150), (200, 400), (610, 690)]},
    # TSS at 100, 689 and 899; gene4 has no strand.
    "promoter": {"chr1": [(90, 111), (679, 700), (889, 910)]},
    "intron": {"chr1": [(150, 200), (600, 610), (690, 700), (800, 900)], "chr2": [(0, 50)]},
    "intergenic": {"chr1": [(0, 100), (400, 600), (700, 800), (900, 1000)], "chr2": [(50, 80)], "chr3": [(0, 40)]},
}
# The same as Ensembl writes GTF: no start or stop codon in the CDS, UTR rows.
GTF = """\
1	x	transcript	101	400	.	+	.	gene_id "g1"; transcript_id "t1";
1	x	exon	101	150	.	+	.	gene_id "g1"; transcript_id "t1";
1	x	exon	201	400	.	+	.	gene_id "g1"; transcript_id "t1";
1	x	CDS	131	150	.	+	0	gene_id "g1"; transcript_id "t1";
1	x	CDS	201	247	.	+	1	gene_id "g1"; transcript_id "t1";
1	x	stop_codon	248	250	.	+	0	gene_id "g1"; transcript_id "t1";
1	x	five_prime_UTR	101	130	.	+	.	gene_id "g1"; transcript_id "t1";
"""


@pytest.fixture
def fasta(tmp_path: Path) -> Fasta:
    return Fasta(write_fasta(tmp_path / "g.fa", {"chr1": "A" * 1000, "chr2": "C" * 80, "chr3": "G" * 40}))


def features(fasta: Fasta, text: str) -> Features:
    path = fasta.path.parent / ("a.gtf" if "gene_id" in text else "a.gff3")
    path.write_text(text)
    return Features(fasta, path, aliases={})


def spans(stretches: Stretches) -> dict[str, list[tuple[int, int]]]:
    return {contig: [(a, b) for a, b in some.tolist()] for contig, some in stretches.items() if len(some)}


@pytest.mark.parametrize("feature", get_args(Feature))
def test_features_of_gff3(fasta: Fasta, feature: str) -> None:
    assert spans(features(fasta, GFF3).stretches(feature, around=10)) == EXPECTED[feature]  # type: ignore[arg-type]


def test_gtf_counts_the_stop_codon_as_coding(fasta: Fasta) -> None:
    found = features(fasta, GTF)
    assert spans(found.stretches("cds")) == EXPECTED["cds"]
    assert spans(found.stretches("utr")) == EXPECTED["utr"]
    assert spans(found.stretches("promoter", around=10)) == {"chr1": [(90, 111)]}


def test_transcripts_named_by_a_bare_word_have_the_parts_that_name_them(fasta: Fasta) -> None:
    ids = 'transcript_id "g1.t1"; gene_id "g1";'
    text = "".join(
        f"1\tAUGUSTUS\t{feature}\t{start}\t{end}\t.\t+\t.\t{last}\n"
        for feature, start, end, last in (
            ("gene", 101, 400, "g1"),
            ("transcript", 101, 400, "g1.t1"),
            ("CDS", 151, 200, ids),
            ("exon", 101, 200, ids),
            ("exon", 301, 400, ids),
        )
    )
    found = features(fasta, text)
    assert spans(found.stretches("utr"))["chr1"] == [(100, 150), (300, 400)]
    assert spans(found.stretches("promoter", around=10))["chr1"] == [(90, 111)]


def test_a_gene_opposite_to_a_transcript_has_a_promoter_of_its_own(fasta: Fasta) -> None:
    more = "1\tx\tgene\t301\t500\t.\t-\t.\tID=opposite\n1\tx\tgene\t301\t500\t.\t+\t.\tID=within\n"
    found = features(fasta, GFF3 + more).stretches("promoter", around=10)
    assert spans(found)["chr1"] == [(90, 111), (489, 510), (679, 700), (889, 910)]


def test_a_feature_that_covers_nothing_is_an_error(fasta: Fasta) -> None:
    with pytest.raises(DataError, match=r"a\.gff3: no base is annotated as cds"):
        features(fasta, "1\tx\tgene\t1\t9\t.\t+\t.\tID=g\n").stretches("cds")
    assert spans(features(fasta, "1\tx\tgene\t1\t9\t.\t+\t.\tID=g\n").stretches("promoter", around=20)) == {
        "chr1": [(0, 21)]
    }


def test_what_spans_the_origin_of_a_circular_contig_is_at_both_ends(fasta: Fasta) -> None:
    text = (
        "2\tx\tregion\t1\t80\t.\t+\t.\tID=2;Is_circular=true\n2\tx\tgene\t61\t100\t.\t-\t.\tID=g\n"
        "2\tx\tCDS\t61\t100\t.\t-\t0\tID=c;Parent=g\n"
    )
    found = features(fasta, text)
    assert spans(found.stretches("cds")) == {"chr2": [(0, 20), (60, 80)]}
    assert spans(found.stretches("intergenic"))["chr2"] == [(20, 60)]


def test_sums_of_spans() -> None:
    assert merged([(5, 9), (1, 3), (3, 4), (6, 7)]).tolist() == [[1, 4], [5, 9]]
    assert without(merged([(0, 10), (20, 30)]), merged([(2, 4), (8, 25)])).tolist() == [[0, 2], [4, 8], [25, 30]]
    assert without(merged([(0, 10)]), merged([])).tolist() == [[0, 10]]
    assert without(merged([]), merged([(1, 2)])).tolist() == []


def test_a_base_belongs_to_the_first_region_that_covers_it() -> None:
    rng = np.random.default_rng(5)
    contigs = {"a": 200, "b": 37}
    regions: list[Stretches] = []
    painted = {contig: np.full(length, 4) for contig, length in contigs.items()}
    for _ in range(4):
        starts = rng.integers(0, 190, 6)
        regions.append({"a": merged([(int(s), int(s + rng.integers(1, 10))) for s in starts])})
    for number in reversed(range(4)):
        for start, end in regions[number]["a"].tolist():
            painted["a"][start:end] = number
    found = RegionMap(contigs, regions)
    assert found.bases.tolist() == np.bincount(np.concatenate(list(painted.values())), minlength=5).tolist()
    values = rng.random(5)
    for contig, length in contigs.items():
        starts = rng.integers(0, length - 1, 50)
        ends = starts + rng.integers(1, length - starts + 1)
        means = found.means(contig, starts, ends, values)
        for start, end, mean in zip(starts.tolist(), ends.tolist(), means, strict=True):
            assert np.array_equal(found.labels(contig, start, end), painted[contig][start:end])
            assert mean == pytest.approx(values[painted[contig][start:end]].mean())
    assert found.digest() == RegionMap(contigs, regions).digest() != RegionMap(contigs, regions[::-1]).digest()


BAD_BED = {
    "another contig": ("chr1\t1\t5\nchr9\t1\t5\n", "line 2: no contig 'chr9' in"),
    "past the end": ("chr2\t70\t81\n", "line 1: the interval ends at 81, but 'chr2' has only 80 bases"),
    "no interval": ("# nothing\n", "no intervals in this BED file"),
    "end before start": ("chr1\t9\t5\n", "line 1: interval 9-5"),
}


@pytest.mark.parametrize("name", BAD_BED)
def test_a_bed_that_does_not_fit_is_refused_by_its_line(fasta: Fasta, tmp_path: Path, name: str) -> None:
    text, message = BAD_BED[name]
    (tmp_path / "x.bed").write_text(text)
    with pytest.raises(DataError, match=message):
        bed_stretches(tmp_path / "x.bed", fasta, aliases={})


def test_a_bed_is_zero_based_and_half_open(fasta: Fasta, tmp_path: Path) -> None:
    (tmp_path / "x.bed").write_text("1\t0\t5\nchr1\t5\t7\t.\t0\t-\n2\t79\t80\n")
    assert spans(bed_stretches(tmp_path / "x.bed", fasta, aliases={})) == {"chr1": [(0, 7)], "chr2": [(79, 80)]}
