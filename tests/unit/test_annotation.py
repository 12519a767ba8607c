"""Genes of every dialect of GTF and GFF3, and one clear line for what is neither."""

import gzip
import logging
from pathlib import Path

import pytest
from fasta_files import bgzipped

from genoconv.errors import DataError
from genoconv.genome.annotation.genes import COLUMNS, read_genes


def written(folder: Path, text: str) -> Path:
    """A file of ``text`` with every two blanks as a tab."""
    path = folder / "genes.gff"
    path.write_bytes(text.replace("  ", "\t").encode())
    return path


def genes(path: Path, **options: object) -> list[tuple[object, ...]]:
    frame = read_genes(path, **options)  # type: ignore[arg-type]
    assert tuple(frame.columns) == COLUMNS
    return list(frame.itertuples(index=False, name=None))


GENCODE = """##description: evidence-based annotation
chr1  HAVANA  gene  11  50  .  +  .  gene_id "ENSG1.5"; gene_type "lncRNA"; gene_name "A; B"; tag "x"; tag "y";
chr1  HAVANA  transcript  11  50  .  +  .  gene_id "ENSG1.5"; transcript_id "T1";
chr1  HAVANA  exon  11  20  .  +  .  gene_id "ENSG1.5"; transcript_id "T1"; exon_number 1;
chr1  HAVANA  gene  60  70  .  -  .  gene_id "ENSG2.1"; gene_type "protein_coding"; level 2;
"""
ENSEMBL_GFF3 = """##gff-version 3
##sequence-region 1 1 100
1  GRCh38  chromosome  1  100  .  .  .  ID=chromosome:1
1  havana  ncRNA_gene  11  50  .  +  .  ID=gene:ENSG1;Name=A%3BB;biotype=lncRNA;gene_id=ENSG1
1  havana  lnc_RNA  11  50  .  +  .  ID=transcript:T1;Parent=gene:ENSG1
1  havana  pseudogene  60  70  .  -  .  ID=gene:ENSG2;biotype=processed_pseudogene;gene_id=ENSG2
###
"""
NCBI = """##gff-version 3
NC_1.1  RefSeq  region  1  100  .  +  .  ID=NC_1.1:1..100;Is_circular=true
NC_1.1  RefSeq  gene  11  50  .  +  .  ID=gene-b0001;Name=thrL;gene_biotype=protein_coding;locus_tag=b0001
NC_1.1  RefSeq  CDS  11  50  .  +  0  ID=cds-1;Parent=gene-b0001
NC_1.1  RefSeq  pseudogene  60  70  .  ?  .  ID=gene-b0002;Name=b0002
"""
UCSC = """chr1  refGene  transcript  11  40  .  +  .  gene_id "A"; transcript_id "NM_1";
chr1  refGene  exon  11  20  .  +  .  gene_id "A"; transcript_id "NM_1"; gene_name "Aname";
chr1  refGene  exon  31  50  .  +  .  gene_id "A"; transcript_id "NM_2";
chr1  refGene  exon  81  90  .  +  .  gene_id "A"; transcript_id "NM_1_dup1";
chr2  refGene  exon  1  9  .  -  .  gene_id "A"; transcript_id "NM_9";
"""
PROKKA = """contig_1  Prodigal  CDS  4  12  .  +  0  ID=PROKKA_1;locus_tag=PROKKA_1;gene=dnaA;product=a%2C b
contig_1  Aragorn  CDS  21  26  .  -  0  locus_tag=PROKKA_2
##FASTA
>contig_1
ACGTACGT
"""

DIALECTS = {
    "gencode": (
        GENCODE,
        [
            ("chr1", 10, 50, "+", "ENSG1.5", "A; B", "lncRNA"),
            ("chr1", 59, 70, "-", "ENSG2.1", "ENSG2.1", "protein_coding"),
        ],
    ),
    "ensembl gff3": (
        ENSEMBL_GFF3,
        [
            ("1", 10, 50, "+", "ENSG1", "A;B", "lncRNA"),
            ("1", 59, 70, "-", "ENSG2", "ENSG2", "processed_pseudogene"),
        ],
    ),
    "ncbi": (
        NCBI,
        [
            ("NC_1.1", 10, 50, "+", "b0001", "thrL", "protein_coding"),
            ("NC_1.1", 59, 70, ".", "b0002", "b0002", "pseudogene"),
        ],
    ),
    "ucsc, loci apart are genes apart": (
        UCSC,
        [("chr1", 10, 50, "+", "A", "A", ""), ("chr1", 80, 90, "+", "A", "A", ""), ("chr2", 0, 9, "-", "A", "A", "")],
    ),
    "prokka, cds alone, fasta after it": (
        PROKKA,
        [
            ("contig_1", 3, 12, "+", "PROKKA_1", "dnaA", "protein_coding"),
            ("contig_1", 20, 26, "-", "PROKKA_2", "PROKKA_2", "protein_coding"),
        ],
    ),
    "prokka and bakta, RNAs without gene rows": (
        "c  Prodigal  CDS  4  12  .  +  0  ID=P_1;locus_tag=P_1\n"
        "c  Aragorn:1.2  tRNA  21  26  .  -  .  ID=P_2;locus_tag=P_2;Name=tRNA-Ala\n"
        "c  barrnap  rRNA  31  36  .  -  .  ID=P_3;locus_tag=P_3\nc  x  miRNA  32  34  .  -  .  ID=m;Derives_from=P_3\n"
        "c  Prodigal  CDS  41  49  .  +  0  ID=P_4;locus_tag=P_4\nc  x  tRNA  51  59  .  +  .  product=none of GFF3",
        [
            ("c", 3, 12, "+", "P_1", "P_1", "protein_coding"),
            ("c", 20, 26, "-", "P_2", "tRNA-Ala", "tRNA"),
            ("c", 30, 36, "-", "P_3", "P_3", "rRNA"),
            ("c", 40, 49, "+", "P_4", "P_4", "protein_coding"),
            ("c", 50, 59, "+", "c:51-59", "c:51-59", "tRNA"),
        ],
    ),
    "RNAs in and outside of gene rows": (
        "c  x  gene  1  40  .  +  .  ID=g\nc  x  tRNA  1  40  .  +  .  ID=t\n"
        "c  x  lnc_RNA  5  9  .  +  .  ID=n;Parent=g\n"
        "c  x  tmRNA  41  60  .  +  .  ID=s\nc  x  sgRNA  71  90  .  +  .  ID=made",
        [("c", 0, 40, "+", "g", "g", ""), ("c", 40, 60, "+", "s", "s", "tmRNA")],
    ),
    "gffread, transcripts of one geneID": (
        "c  x  transcript  11  40  .  +  .  ID=t1;geneID=g1;gene_name=A\nc  x  exon  11  40  .  +  .  Parent=t1\n"
        "c  x  mRNA  61  90  .  +  .  ID=t2;geneID=g2\nc  x  mRNA  31  50  .  +  .  ID=t3;geneID=g1;gene_name=A\n"
        "c  x  mRNA  71  90  .  +  .  ID=t4;geneID=g1",
        [
            ("c", 10, 50, "+", "g1", "A", ""),
            ("c", 70, 90, "+", "g1", "g1", ""),
            ("c", 60, 90, "+", "g2", "g2", ""),
        ],
    ),
    "gtf, an RNA row without gene_id": (
        'c  x  gene  1  9  .  +  .  gene_id "A";\nc  x  tRNA  11  19  .  +  .  transcript_id "t";',
        [("c", 0, 9, "+", "A", "A", "")],
    ),
    "flybase gtf, araport gff3": (
        'c  FlyBase  gene  1  9  .  +  .  gene_id "FBgn1"; gene_symbol "Nep3";\n'
        "c  Araport11  gene  11  19  .  +  .  ID=AT1G01010;Name=AT1G01010;locus_type=protein_coding",
        [("c", 0, 9, "+", "FBgn1", "Nep3", ""), ("c", 10, 19, "+", "AT1G01010", "AT1G01010", "protein_coding")],
    ),
    "blanks around = and ;": (
        "c  x  gene  1  9  .  +  .  ID = g1 ; Name = the gene ; biotype= b",
        [("c", 0, 9, "+", "g1", "the gene", "b")],
    ),
    "empty ID": ("c  x  gene  1  9  .  +  .  ID=;Note=x,", [("c", 0, 9, "+", "c:1-9", "c:1-9", "")]),
    "no attributes": ("c  x  gene  1  9  .  +  .  .", [("c", 0, 9, "+", "c:1-9", "c:1-9", "")]),
    "encoded contig": ("c%3A1  x  gene  1  9  .  +  .  ID=g", [("c:1", 0, 9, "+", "g", "g", "")]),
    "tabs turned into blanks": (
        "c x gene 1 9 . + . ID=g;Name=two words",
        [("c", 0, 9, "+", "g", "two words", "")],
    ),
    "tab inside attributes": ("c  x  gene  1  9  .  +  .  ID=g;Note=a  b;Name=n", [("c", 0, 9, "+", "g", "n", "")]),
    "ncbi gtf": (
        'c  RefSeq  gene  1  9  .  +  .  gene_id "b1"; transcript_id ""; db_xref "A:1"; db_xref "G:2"; gene "thrL"; '
        'gene_biotype "protein_coding"; note "x; y=z";',
        [("c", 0, 9, "+", "b1", "thrL", "protein_coding")],
    ),
    "gtf without quotes": ("c  x  gene  1  9  .  +  .  gene_id a; gene_name b", [("c", 0, 9, "+", "a", "b", "")]),
    "stringtie": (
        'c  S  transcript  1  90  1000  .  .  gene_id "S.1"; transcript_id "S.1.1"; cov "1"',
        [("c", 0, 90, ".", "S.1", "S.1", "")],
    ),
    "augustus, bare words": (
        "c  A  gene  1  90  .  +  .  g1\nc  A  transcript  1  90  .  +  .  g1.t1\n"
        'c  A  CDS  1  9  .  +  0  transcript_id "g1.t1"; gene_id "g1";',
        [("c", 0, 90, "+", "g1", "g1", "")],
    ),
    "braker without gene rows, bare words": (
        'c  A  transcript  1  9  .  +  .  a;g1.t1\nc  A  CDS  1  9  .  +  0  transcript_id "a;g1.t1"; gene_id "a;g1";',
        [("c", 0, 9, "+", "a;g1", "a;g1", "")],
    ),
    "agat gtf, a contig without gene_id": (
        'c  x  region  1  99  .  +  .  ID "c:1..99"; Is_circular "true";\nc  x  gene  91  103  .  +  .  gene_id "A"',
        [("c", 90, 103, "+", "A", "A", "")],
    ),
    "gff3, parents without a row": (
        "c  x  exon  11  20  .  +  .  Parent=transcript:T1\nc  x  mRNA  11  50  .  +  .  ID=transcript:T1;"
        "Parent=gene:G1;biotype=b\nc  x  CDS  31  50  .  +  0  ID=p;Parent=transcript:T1\n"
        "c  x  mRNA  31  90  .  +  .  ID=transcript:T2;Parent=gene:G1\nc  GeMoMa  CDS  11  20  .  -  0  Parent=R0\n"
        "c  x  CDS  41  50  .  -  0  Parent=R0,R1\nc  x  tRNA  61  70  .  -  .  ID=t",
        [
            ("c", 60, 70, "-", "t", "t", "tRNA"),
            ("c", 10, 90, "+", "G1", "G1", "b"),
            ("c", 10, 50, "-", "R0", "R0", "protein_coding"),
        ],
    ),
    "mirbase": (
        "c  .  miRNA_primary_transcript  11  90  .  +  .  ID=MI1;Name=hsa-mir-1\n"
        "c  .  miRNA  21  42  .  +  .  ID=MIMAT1;Name=hsa-miR-1;Derives_from=MI1",
        [("c", 10, 90, "+", "MI1", "hsa-mir-1", "miRNA_primary_transcript")],
    ),
    "genome browser lines": ("track name=x\nc  x  gene  1  9  .  +  .  ID=a", [("c", 0, 9, "+", "a", "a", "")]),
    "empty attributes, quotes": (
        'c  x  gene  1  9  .  +  .  ;ID="a";;Name="b c";;',
        [("c", 0, 9, "+", "a", "b c", "")],
    ),
    "crlf": ("c  x  gene  1  9  .  +  .  ID=g\r\n", [("c", 0, 9, "+", "g", "g", "")]),
    "semicolons in ids, no gene rows": (
        'c  x  exon  101  400  .  +  .  gene_id "CYCD1;1"; transcript_id "CYCD1;1.1";\n'
        'c  x  exon  9101  9400  .  +  .  gene_id "CYCD1;2"; transcript_id "CYCD1;2.1";',
        [("c", 100, 400, "+", "CYCD1;1", "CYCD1;1", ""), ("c", 9100, 9400, "+", "CYCD1;2", "CYCD1;2", "")],
    ),
    "another key ends like gene_id": (
        'c  x  exon  1  9  .  +  .  ref_gene_id "R"; gene_id "A"; transcript_id "A.1";\n'
        'c  x  exon  5  20  .  +  .  ref_gene_id "R"; gene_id "B"; transcript_id "B.1";',
        [("c", 0, 9, "+", "A", "A", ""), ("c", 4, 20, "+", "B", "B", "")],
    ),
    "spike-ins without gene rows": (
        'c  x  gene  101  900  .  +  .  gene_id "A;1"; gene_name "A";\n'
        'c  x  transcript  101  900  .  +  .  gene_id "A;1"; transcript_id "A.1";\n'
        'ERCC-1  ERCC  exon  1  1061  .  +  .  gene_id "ERCC-1"; transcript_id "E1";\n'
        'GFP  x  exon  1  300  .  +  .  transcript_id "GFP"; gene_id "GFP";\n'
        'GFP  x  exon  500  720  .  +  .  transcript_id "GFP"; gene_id "GFP";\n'
        'd  x  exon  101  900  .  -  .  gene_id "B"; transcript_id "B.1";\n'
        'd  x  gene  101  900  .  -  .  gene_id "B";\n'
        'c  x  exon  101  900  .  +  .  transcript_id "A.1"; gene_id "A;1";',
        [
            ("c", 100, 900, "+", "A;1", "A", ""),
            ("d", 100, 900, "-", "B", "B", ""),
            ("ERCC-1", 0, 1061, "+", "ERCC-1", "ERCC-1", ""),
            ("GFP", 0, 720, "+", "GFP", "GFP", ""),
        ],
    ),
    "gff3: CDS outside of every gene row": (
        "c  x  gene  1  90  .  +  .  ID=g\nc  x  CDS  1  90  .  +  0  ID=c1;Parent=g\n"
        "c  x  CDS  10  30  .  +  0  ID=c2\nc  x  CDS  100  129  .  +  0  ID=c3\nc  x  CDS  10  30  .  -  0  ID=c4",
        [
            ("c", 0, 90, "+", "g", "g", ""),
            ("c", 99, 129, "+", "c3", "c3", "protein_coding"),
            ("c", 9, 30, "-", "c4", "c4", "protein_coding"),
        ],
    ),
    "a contig called track": ("tracks  x  gene  1  9  .  +  .  ID=a", [("tracks", 0, 9, "+", "a", "a", "")]),
    "top-level mRNA alone": (
        "c  x  mRNA  1  9  .  -  .  ID=m\nc  x  CDS  2  7  .  -  0  Parent=m",
        [("c", 0, 9, "-", "m", "m", "")],
    ),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects(tmp_path: Path, dialect: str) -> None:
    text, expected = DIALECTS[dialect]
    path = written(tmp_path, text)
    assert genes(path) == expected
    packed = tmp_path / "packed.anything"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert genes(packed) == expected
    assert genes(bgzipped(path)) == expected


BROKEN = {
    "start after end": ("3R  FlyBase  gene  1000  500  .  +  .  ID=x", "line 1: start 1000 lies after end 500"),
    "4,400 digits": (
        f"c  x  gene  1  {'9' * 4400}  .  +  .  ID=x",
        r"line 1: start '1' and end '9{60}'... of 4,400 characters should be whole numbers",
    ),
    "digits of another script": (
        "c  x  gene  1  \u0665  .  +  .  ID=x",
        "line 1: start '1' and end '\u0665' should be",
    ),
    "start 0": ("#c\nc  x  gene  0  500  .  +  .  ID=x", "line 2: start 0 is before 1"),
    "words for numbers": ("c  x  gene  a  b  .  +  .  ID=x", "line 1: start 'a' and end 'b' should be whole numbers"),
    "more than 64 bits": (f"c  x  gene  1  {9**30}  .  +  .  ID=x", "line 1: start '1' and end '4239.* whole numbers"),
    "mac": ("c  x  gene  1  9  .  +  .  ID=x\rc  x  gene  11  19  .  +  .  ID=y\r", "line 1: old Macintosh line ends"),
    "gff2": ('c  x  CDS  1  9  .  +  .  CDS "cr01"', "line 1: attributes 'CDS \"cr01\"' are neither GFF3"),
    "bed": ("chr1  0", "line 1: 2 columns, but GTF and GFF3 have 9"),
    "seven columns": ("c  x  gene  1  9  .  +", "line 1: 7 columns, but GTF and GFF3 have 9"),
    "fasta": (">chr1\nACGT\n", "not GTF or GFF3 but FASTA"),
    "vcf": ("##fileformat=VCFv4.2\n", "not GTF or GFF3 but VCF"),
    "genbank": ("LOCUS X 60 bp\n", "not GTF or GFF3 but GenBank"),
    "no genes": ("ctgA  example  contig  1  50001  .  .  .  Name=ctgA", "no genes: .* its features are contig"),
    "empty": ("", "no genes: .* it has no rows"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_clear_line(tmp_path: Path, name: str) -> None:
    text, message = BROKEN[name]
    with pytest.raises(DataError, match=f"genes.gff: {message}") as error:
        read_genes(written(tmp_path, text))
    assert "\n" not in str(error.value)


def test_genes_without_a_row_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "genoconv")
    genes(written(tmp_path, DIALECTS["spike-ins without gene rows"][0]))
    assert "genes.gff: 2 genes without a gene feature, assembled from their parts: ERCC-1, GFP" in caplog.text
    caplog.clear()
    genes(written(tmp_path, GENCODE))
    assert not caplog.records


def test_genes_get_the_names_of_the_fasta(tmp_path: Path) -> None:
    found = genes(written(tmp_path, ENSEMBL_GFF3), contigs={"chr1": 100, "chr2": 50})
    assert [row[0] for row in found] == ["chr1", "chr1"]


def test_a_length_that_disagrees_is_another_assembly(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"and hg38.fa have no contig in common \(1 of 100; chr1 of 99\)"):
        read_genes(written(tmp_path, ENSEMBL_GFF3), contigs={"chr1": 99}, fasta="hg38.fa")


def test_what_the_fasta_lacks_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = GENCODE + 'chrUn  x  gene  1  9  .  +  .  gene_id "u";\n'
    with caplog.at_level(logging.WARNING, "genoconv"):
        found = genes(written(tmp_path, text), contigs={"chr1": 65})
    assert [row[4] for row in found] == ["ENSG1.5"]
    assert "skipped 1 gene on contigs that are not in the FASTA: chrUn" in caplog.text
    assert "skipped 1 gene past the end of contigs of the FASTA: chr1 (65 bases)" in caplog.text


CIRCLE = "c  x  region  1  100  .  +  .  ID=r;Is_circular=true\n"


def test_a_gene_over_the_origin_of_a_circular_contig_stays_whole(tmp_path: Path) -> None:
    past = written(tmp_path, CIRCLE + "c  x  gene  91  110  .  +  .  ID=g\n")
    assert genes(past, contigs={"c": 100}) == [("c", 90, 110, "+", "g", "g", "")]
    parts = "c  x  CDS  91  100  .  -  0  ID=g\nc  x  CDS  1  11  .  -  0  ID=g\n"
    assert genes(written(tmp_path, CIRCLE + parts), contigs={"c": 100})[0][1:3] == (90, 111)
    assert genes(written(tmp_path, parts), contigs={"c": 100})[0][1:3] == (0, 100)
    rows = "c  x  gene  1  11  .  -  .  ID=g\nc  x  gene  91  100  .  -  .  ID=g\nc  x  gene  1  9  .  +  .  ID=h\n"
    assert [row[1:5] for row in genes(written(tmp_path, CIRCLE + rows), contigs={"c": 100})] == [
        (90, 111, "-", "g"),
        (0, 9, "+", "h"),
    ]
    assert len(genes(written(tmp_path, rows), contigs={"c": 100})) == 3


def test_starts_written_as_in_bed_are_suspected(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "genoconv"):
        genes(written(tmp_path, "c  x  CDS  132  393  .  +  0  ID=a\nc  x  CDS  567  843  .  +  0  ID=b\n"))
    assert "2 of 2 CDS have a length that is not a multiple of 3" in caplog.text
