"""Odd FASTA, VCF and annotation files, written by the tests themselves so that every clone has them.

The names are those of the folder ``nasty`` of the large test data, where files of the same kinds come from public
projects. Tests take the fixture ``odd`` (conftest.py) and so meet these, and those others where they are.
"""

import gzip
import random
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pysam
from fasta_files import bgzipped, random_bases, write_fasta

from support import DATA

NASTY = DATA / "nasty"
PHIX = Path(__file__).parent / "data" / "phix174" / "NC_001422.1.fa.gz"


@dataclass(frozen=True)
class Odd:
    """One set of odd files.

    Attributes:
        folder: holds the files.
        written: whether :func:`write_odd` made them, and their counts are its own.
        genome: the FASTA that fits the VCFs with records by the hundred.
        seven: the FASTA that fits the VCF of seven columns.
    """

    folder: Path
    written: bool
    genome: Path
    seven: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


def shared_odd() -> Odd:
    """The files of public projects, in the large test data."""
    genomes = DATA / "genomes"
    return Odd(NASTY, False, genomes / "b37_chr20_1_2M/z.fa.gz", genomes / "hg38_chr1_1_1M/chr1.1-1000000.fa.gz")


def write_odd(folder: Path) -> Odd:
    """Write every file into a new folder."""
    folder.mkdir()
    z = random_bases(40_000, seed=20, letters="ACGT")
    genome = bgzipped(write_fasta(folder / "z.fa", {"z": z}))
    _fasta(folder)
    _annotations(folder)
    _no_vcf(folder)
    _vcf_of_the_genome(folder, z)
    _vcf_alone(folder)
    _vcf_with_a_fasta(folder)
    return Odd(folder, True, genome, genome)


def _fasta(folder: Path) -> None:
    blank = "".join(f">{name}\n{random_bases(60, seed=n)}\n\n" for n, name in enumerate(["alpha x", "b", "c", "alpha"]))
    (folder / "fa_dup_ids.fasta").write_text(blank)
    (folder / "fa_iupac_50bp.fa").write_text(">x\n" + "ACGT" * 10 + "BDHKMSVWYR\n")
    crlf = write_fasta(folder / "fa_crlf_nofinalnl.fa", {"c d": random_bases(550, seed=3)}, end="\r\n")
    crlf.write_bytes(crlf.read_bytes().rstrip(b"\r\n"))
    write_fasta(
        folder / "fa_protein_crlf.fasta", {"p": random_bases(300, seed=4, letters="ACDEFGHIKLMNPQRSTVWY")}, end="\r\n"
    )
    first, second = random_bases(119, seed=5), random_bases(60, seed=6)
    (folder / "fa_blank_between_records.fasta").write_text(
        f">supercont1.1:A:1:119:1 first\n{first[:60]}\n{first[60:]}\n\n>supercont1.2:B:1:60:1\n{second}\n"
    )
    write_fasta(folder / "fa_dots_mixed_case.fa", {"a": random_bases(100, seed=7), "b": "." * 100 + "acGTn" * 20})
    lower = {name: random_bases(150, seed=n, letters="acgt") for n, name in enumerate(["Evo-φ 1", "Ψ2"])}
    (folder / "fa_unicode_header_lowercase.fasta").write_text("".join(f">{n}\n{s}\n\n" for n, s in lower.items()))
    (folder / "fa_plain_gzip_chrI.fa.gz").write_bytes(gzip.compress(f">chrI\n{random_bases(1050, seed=8)}\n".encode()))
    (folder / "fa_bigendian.2bit").write_bytes(struct.pack(">4I", 0x1A412743, 0, 1, 0) + b"\x03seq" + bytes(40))
    blocks = random.Random(9)
    masked = "".join(
        random_bases(100, seed=n, letters="acgt" if blocks.random() < 0.43 else "ACGT") for n in range(400)
    )
    write_fasta(folder / "fa_softmask_40kb.fa", {"chr17": masked})


def _annotations(folder: Path) -> None:
    def gff(name: str, *rows: str, head: str = "##gff-version 3\n", tail: str = "") -> None:
        (folder / name).write_text(head + "".join("\t".join(row.split(" ", 8)) + "\n" for row in rows) + tail)

    gff("gff_start_gt_end.gff", "chr1 x gene 1000 500 . + . ID=a", head="")
    gff(
        "gff_empty_id_extra_comma.gff3",
        "chr17 x gene 6797760 6818159 . + . ID=g1;Name=g1",
        "chr17 x mRNA 6797760 6818159 . + . ID=m1;Parent=g1,",
        "chr17 x protein 6806527 6812289 . + . ID=;Parent=m1",
    )
    gff("gff_spaces_in_attributes.gff3", "ctgA x contig 1 50001 . . . Name=ctgA; values= a,b ; testing = blah")
    gff(
        "gff_embedded_fasta.gff3",
        "chr17 x gene 62467934 62469545 . + . ID=A00469;Name=A00469",
        "chr17 x mRNA 62467934 62469545 . + . ID=t1;Parent=A00469",
        tail="##FASTA\n>chr17\nGATTACAGATTACA\n",
    )
    gff(
        "gff2_wormbase.txt", 'C2 x CDS 1629 3377 . - . CDS "cr01.2"', 'C2 x coding_exon 1 7 . - . CDS "cr01.2"', head=""
    )
    gff(
        "gff_zero_based_start_pseudocircular.gff",
        "NC_001422.1 orfs CDS 132 393 . + 0 ID=ORF.1;product=terminase",
        "NC_001422.1 orfs CDS 5074 5522 . + 0 ID=ORF.2;product=capsid",
        head="##gff-version 3\n##sequence-region NC_001422.1 1 5522\n",
    )


def _no_vcf(folder: Path) -> None:
    (folder / "vcf_zero_bytes.vcf").write_bytes(b"")
    (folder / "vcf_is_git_lfs_pointer.vcf.gz").write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0123456789abcdef' * 4}\nsize 123456\n"
    )
    (folder / "gb_features_without_sequence.gbk").write_text(
        "LOCUS       X1   200 bp   DNA   linear   BCT 01-JAN-2026\nFEATURES             Location/Qualifiers\n"
        "     CDS             1..99\n//\n"
    )
    (folder / "gb_protein_record.gb").write_text(
        "LOCUS       P1   4 aa   linear   PLN 01-JAN-2026\nDEFINITION  A protein.\nORIGIN\n        1 mkvl\n//\n"
    )
    (folder / "bed_two_columns.bed").write_text("gi|563317589|dbj|AB821309.1|\t0\ngi|543583785|x\t99\t5522\n")


_COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
_FILEFORMAT = "##fileformat=VCFv4.2\n"


def _row(contig: str, pos: int, ref: str, alt: str, info: str = ".") -> str:
    return f"{contig}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t{info}\n"


def _vcf(path: Path, rows: Iterable[str], *, head: str = _FILEFORMAT + _COLUMNS) -> Path:
    path.write_text(head + "".join(rows))
    return path


def _other(base: str) -> str:
    """Another base: what an SNV makes of this one."""
    return "CGTA"["ACGT".index(base)]


def _vcf_of_the_genome(folder: Path, z: str) -> None:
    snvs = [_row("z", at + 1, z[at], _other(z[at]), f"AC={at}") for at in range(0, 40_000, 20)]
    contig = f"##contig=<ID=z,length={len(z)}>\n"
    (folder / "vcf_crlf_records.vcf").write_bytes(
        (_FILEFORMAT + contig + _COLUMNS + "".join(snvs[:40])).replace("\n", "\r\n").encode()
    )
    whole = bgzipped(_vcf(folder / "whole.vcf", snvs, head=_FILEFORMAT + contig + _COLUMNS))
    (folder / "vcf_bgzf_no_eof.vcf.gz").write_bytes(whole.read_bytes()[:-28])
    seven = ["\t".join(row.rstrip("\n").split("\t")[:7]) + "\n" for row in snvs[:8]]
    _vcf(folder / "vcf_no_chrom_line_7cols.vcf", seven, head=_FILEFORMAT)
    blocks = (_row("z", at + 1, z[at], "<NON_REF>", f"END={at + 1}") for at in range(29_884))
    bgzipped(_vcf(folder / "vcf_gvcf_29884_blocks.vcf", blocks))


def _vcf_alone(folder: Path) -> None:
    bad = ["20\t10001\trs1\tG\tA\t42.22\t.\tAF=0.50;AC=1\tGT:RD:GQ\t1/0:23:19.28\n"]
    bad += [line.replace("10001\trs1", f"{10_001 + 100 * n}\t.") for n in range(1, 5) for line in bad[:1]]
    columns = _COLUMNS.rstrip("\n") + "\tFORMAT\tFOO\t\n"
    _vcf(folder / "vcf_bad_header_trailing_tab.vcf", bad, head="##fileformat=VCFv4.0\n" + columns)
    _vcf(folder / "vcf_no_contig_lines.vcf", [_row("chr7", 1117, "A", "C")])
    stars = [_row("1", 100, "C", "T,CA"), _row("1", 110, "A", "G,*"), _row("1", 120, "TG", "T,TGG,*")]
    _vcf(folder / "vcf_star_alleles.vcf", stars)
    pairs = [("T", "<NON_REF>"), ("TCGGT", "ACGGA"), ("TC", "T"), ("TG", "T"), ("T", "A")]
    _vcf(folder / "vcf_nonref_mnv_dups.vcf", [_row("1", 100, *pair) for pair in pairs])
    ends = [("C", "."), ("A", "ATT"), ("G", "GAC"), ("A", "A[chr15:12345[")]
    _vcf(folder / "vcf_breakend.vcf", [_row("chr9", 100 + 10 * n, *pair) for n, pair in enumerate(ends)])
    plain = [_row("X", 1000 + n, "ACGT"[n % 4], _other("ACGT"[n % 4])) for n in range(34)]
    _vcf(folder / "vcf_no_fileformat.vcf", [*plain, _row("X", 1100, "A", "<DEL>", "END=1200")], head=_COLUMNS)
    refs = [("C", "A,G"), (".", "A"), ("n", "<DEL>"), ("t", "c"), ("cagt", "c")]
    rows = [_row("20", 10 + 10 * n, *pair) for n, pair in enumerate(refs)]
    rows += [_row("20", 50, "gact", "g"), _row("20", 60, "A", "."), _row("20", 70, "AC", "A,ACC,GC,AT")]
    _vcf(folder / "vcf_ref_dot_and_n.vcf", rows)
    places = [(contig, pos) for contig in ("4", "2", "11", "1") for pos in (300, 200, 200, 100)] + [("1", 50)]
    _vcf(
        folder / "vcf_unsorted.vcf",
        [_row(contig, pos, "A", "C" if n % 2 else "G") for n, (contig, pos) in enumerate(places)],
    )
    _twins(folder)


def _twins(folder: Path) -> None:
    head = _FILEFORMAT + "".join(f"##contig=<ID={name}>\n" for name in ("a", "b", "c")) + _COLUMNS
    rows = [
        _row(name, pos, ref, alt)
        for name in ("a", "b", "c")
        for pos, ref, alt in ((50, "A", "."), (60, "C", "G,CT"), (70, "GT", "G"))
    ]
    twin = bgzipped(_vcf(folder / "vcf_multi_contig.vcf", rows, head=head))
    with (
        pysam.VariantFile(str(twin)) as records,
        pysam.VariantFile(str(folder / "vcf_multi_contig.bcf"), "wb", header=records.header) as binary,
    ):
        for record in records:
            binary.write(record)


def _vcf_with_a_fasta(folder: Path) -> None:
    write_fasta(folder / "vcf_alt_dot.fa", {"x": "ACGTA" * 10})
    _vcf(folder / "vcf_alt_dot.vcf", [_row("x", 1 + 5 * n, "A", ".") for n in range(5)])
    x = random_bases(1001, seed=30, letters="ACGT")
    write_fasta(folder / "vcf_v43_star_near_end.fa", {"x": x})
    rows = [
        _row("x", 972, x[971], _other(x[971])),
        _row("x", 990, x[989], f"{_other(x[989])},*"),
        _row("x", 1000, x[999:1001], x[999]),
    ]
    bgzipped(_vcf(folder / "vcf_v43_star_near_end.vcf", rows, head="##fileformat=VCFv4.3\n" + _COLUMNS))
    far = [_row("1", 1_206_800_000 + 1000 * n, "acgttg"[: 1 + n % 6], "g" if n % 13 else "g,t") for n in range(37)]
    bgzipped(_vcf(folder / "vcf_no_fileformat_tabix_impossible.vcf", far, head=_COLUMNS))
