"""What BCF cannot hold is refused by name; what bcftools cannot read is written so that it can."""

import gzip
import struct
from pathlib import Path

import pysam.bcftools
import pytest
from fasta_files import bgzf

from genoconv.errors import DataError, OutputError, UsageError
from genoconv.regions import parse_region
from genoconv.variants.bcf_limits import BcfCheck, floating, genotype, integer
from genoconv.variants.header import repaired
from genoconv.variants.reader import open_variants
from genoconv.variants.selection import VcfContigs
from genoconv.variants.survey import survey
from genoconv.variants.writer import RecordText, open_writer

DECLARED = """##fileformat=VCFv4.2
##contig=<ID=chr1,length=5000>
##INFO=<ID=DB,Number=0,Type=Flag,Description="x">
##INFO=<ID=DP,Number=1,Type=Integer,Description="x">
##INFO=<ID=ANN,Number=.,Type=String,Description="x">
##INFO=<ID=AF,Number=A,Type=Float,Description="x">
##FORMAT=<ID=GT,Number=1,Type=String,Description="x">
##FORMAT=<ID=AD,Number=R,Type=Integer,Description="x">
"""
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"


def row(info: str = ".", *, qual: str = ".", filters: str = "PASS", rest: str = "") -> str:
    return f"chr1\t100\t.\tC\tT\t{qual}\t{filters}\t{info}{rest}"


def header(*samples: str) -> list[str]:
    return [*DECLARED.splitlines(), "\t".join([COLUMNS, *(["FORMAT", *samples] if samples else [])])]


def rewritten(folder: Path, *rows: str, kind: str = "v", lines: list[str] | None = None) -> tuple[list[str], list[str]]:
    """Records as bcftools reads them from what is written, and the notes of the repair."""
    source = folder / "in.vcf"
    source.write_text("\n".join([*(lines or header()), *rows, ""]))
    file = open_variants(source)
    repaired_header, notes = repaired(file.header, survey(file.records()), lengths={})
    out = folder / f"out.{kind}"
    with open_writer(out, kind=kind, header=repaired_header) as put:
        text = RecordText(repaired_header, kind=kind)
        for record in file.records():
            put(text(record))
    return pysam.bcftools.view("-H", str(out)).splitlines(), notes


@pytest.mark.parametrize("kind", ["v", "b"])
def test_undeclared_keys_with_unusual_values_keep_them(tmp_path: Path, kind: str) -> None:
    """With the type of the specification bcftools would refuse GQ=23.5, make -12.3 of SB -12, and drop X's value."""
    rows = [
        row("SB=.;NS=3;X;DB", rest="\tGT:GQ:HQ\t0/1:9:1,2\t0/0:.:."),
        row("SB=-12.3;NS=3;X=1;DB", rest="\tGT:GQ:HQ\t0/1:9:1,2\t0/0:23.5:."),
    ]
    lines = [line for line in header("one", "two") if "ID=DB" not in line]
    assert rewritten(tmp_path, *rows, kind=kind, lines=lines)[0] == [rows[0], rows[1]]
    written = pysam.bcftools.view("-h", str(next(tmp_path.glob("out*")))).splitlines()
    types = {line.split(",")[0][-2:]: line.split(",")[2][5:] for line in written if "Not declared" in line}
    assert types == {"SB": "String", "NS": "Integer", "=X": "String", "DB": "Flag", "GQ": "String", "HQ": "Integer"}


REFUSED = {
    "float for an integer": (row("DP=12.5"), "INFO/DP '12.5' is not an integer"),
    "word for an integer": (row("DB;DP=NA"), "INFO/DP 'NA' is not an integer"),
    "two numbers in one": (row("DP=1 2"), "INFO/DP '1 2' is not an integer"),
    "hexadecimal": (row("DP=0x10"), "INFO/DP '0x10' is not an integer"),
    "word for a float": (row("AF=0.1,high"), "INFO/AF 'high' is not a number"),
    "beyond 32 bits": (row("DP=2147483648"), "INFO/DP '2147483648' is beyond 32 bits"),
    "an integer that BCF keeps for itself": (row("DP=-2147483641"), "INFO/DP '-2147483641' is beyond 32 bits"),
    "4,400 digits": (row("DP=" + "9" * 4400), "INFO/DP '9{60}'... of 4,400 characters is not an integer"),
    "too large a float": (row("AF=1e50"), "INFO/AF '1e50' is beyond 32-bit floats"),
    "too small a float": (row("AF=1e-50"), "INFO/AF '1e-50' is closer to 0 than 32-bit floats come"),
    "too many digits": (
        row("AF=0.123456789012"),
        "INFO/AF '0.123456789012' has more digits than fit into a 32-bit float",
    ),
    "QUAL": (row(qual="high"), "QUAL 'high' is not a number"),
    "a column too many": (row(rest="\tGT:AD\t0/1:3,4\t0/0\t0/0"), "3 sample columns but the header has 2"),
    "a column too few": (row(rest="\tGT:AD\t0/1:3,4"), "1 sample column but the header has 2"),
    "no columns": (row(rest="\tGT"), "0 sample columns but the header has 2"),
    "an undeclared filter": (row(filters="low qual"), "the FILTER 'low qual' is not declared in the header"),
    "an undeclared key": (row("a b=1"), "the INFO key 'a b' is not declared in the header"),
    "an undeclared format": (row(rest="\tGT:x y\t.:.\t.:."), "the FORMAT key 'x y' is not declared in the header"),
    "an undeclared contig": (row().replace("chr1", "a,b"), "the contig 'a,b' is not declared in the header"),
    "a key twice": (row(rest="\tGT:AD:GT\t0/1:3,4:.\t.:.:."), "FORMAT has the key 'GT' twice"),
    "a value too many": (row(rest="\tGT\t0/1:3\t0/0"), "sample 1 has 2 values for 1 keys in FORMAT"),
    "letters for a genotype": (row(rest="\tGT\t0/1\tA/C"), "sample 2, GT 'A/C' is not a genotype"),
    "float for an integer of a sample": (row(rest="\tGT:AD\t0/1:3\t0/0:1,2.5"), "sample 2, AD '2.5' is not an integer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_bcf_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    line, message = REFUSED[name]
    lines = header("a", "b")
    with pytest.raises(OutputError, match=f"^(chr1|a,b):100 cannot be written as BCF: {message}.*-O z$"):
        BcfCheck(lines)(line)
    with pytest.raises(OutputError, match="cannot be written as BCF"):
        rewritten(tmp_path, line, kind="b", lines=lines)


def test_samples_of_one_name_are_refused() -> None:
    with pytest.raises(OutputError, match="two samples are named 'a', which BCF does not allow"):
        BcfCheck(header("a", "b", "a"))


@pytest.mark.parametrize(
    "info", ["DP=3;DP=4", "DP=-7,.", "AF=0.30000001", "AF=1e-05,nan", "DB;ANN=x y,<z>", "DP", "AF=1.5e+10", "Q=a;R"]
)
def test_what_bcf_holds_comes_back(tmp_path: Path, info: str) -> None:
    found, _ = rewritten(tmp_path, row(info, qual="35.5"), kind="b")
    assert found[0].split("\t")[7] == info.replace("0.30000001", "0.3").replace("1.5e+10", "1.5e+10")


def test_checks_of_single_values() -> None:
    assert not any(map(integer, ["", ".", "0", "-2147483640", "2147483647", "+7", "007"]))
    assert not any(map(floating, ["0.10000000149011612", "1234567.75", "30.000000000", "0e5", "0.0000000000", "1e-45"]))
    assert all(
        map(floating, ["1e-46", "5e-324", "1e-400", "1e39", "1e400", "29.123456789", "16777217", "1234567.8125"])
    )
    assert not any(map(floating, ["", ".", "0", "12345.67", "1e-05", "-inf", "NaN", "0.00239617", ".5", "5.", "1e38"]))
    assert not any(map(genotype, [".", "0/1", "1|2|.", "/0/1", "12"]))
    assert all(map(genotype, ["", "0/", "a", "0/1:", "-1/0"]))


HGVS = "ANN=ENST1:c.2129delC,ENST1:p.K711Rfs*47;ENST2:c.2150delC,ENST2:p.K718Rfs*47;DP=3"


@pytest.mark.parametrize("kind", ["v", "z"])
def test_names_that_no_header_can_have(tmp_path: Path, kind: str) -> None:
    rows = [row(HGVS), row("DP=1", filters="q10,s50"), row("DP=1", filters="low qual"), row("a<b=1", filters="q10;s50")]
    found, notes = rewritten(tmp_path, *rows, kind=kind)
    columns = [line.split("\t") for line in found]
    assert columns[0][7] == HGVS.replace("delC,ENST2", "delC%2CENST2")
    assert [column[6] for column in columns[1:]] == ["q10%2Cs50", "low qual", "q10;s50"]
    assert columns[3][7] == "a%3Cb=1"
    text = "\n".join(notes)
    assert "2 INFO names cannot be declared because of ',', '<' or '>', and bcftools would refuse" in text
    assert "1 FILTER name cannot be declared because of ',', '<' or '>'" in text
    assert "1 FILTER name cannot be declared because of blanks, quotes, ',', '<' or '>': 'low qual'" in text
    assert "3 FILTER names missing from the header, and added: q10%2Cs50, q10, s50" in text


def test_a_format_key_with_a_comma(tmp_path: Path) -> None:
    found, notes = rewritten(tmp_path, row(rest="\tGT:x,y\t0/1:5"), lines=header("a"))
    assert found[0].split("\t")[8:] == ["GT:x%2Cy", "0/1:5"]
    assert "1 FORMAT name cannot be declared" in notes[1]


def test_escaped_names_go_into_bcf_too(tmp_path: Path) -> None:
    found, _ = rewritten(tmp_path, row(HGVS, filters="q10,s50"), kind="b")
    assert found[0].split("\t")[6:8] == ["q10%2Cs50", HGVS.replace("delC,ENST2", "delC%2CENST2")]


ODD = ["HLA-A*01:01:01:01", "HLA-DRB1*15:01:01:02", "HLA-DRB1*15:01:01", "gi|4|ref|N.2|", "a=b", "chr22:100-3099"]


@pytest.mark.parametrize("declares", [False, True])
def test_regions_of_contigs_with_colons(tmp_path: Path, declares: bool) -> None:
    path = tmp_path / "in.vcf"
    contigs = [f"##contig=<ID={name}>" for name in ODD] if declares else []
    rows = [f"{name}\t500\t.\tA\tG\t.\tPASS\t." for name in ODD]
    path.write_text("\n".join(["##fileformat=VCFv4.2", *contigs, COLUMNS, *rows, ""]))
    for name in ODD:
        contigs_of = VcfContigs(open_variants(path))
        assert parse_region(name, contigs=contigs_of, source="").contig == name
        assert parse_region(f"{name}:400-600", contigs=contigs_of, source="") == (name, 399, 600)
        assert parse_region(f"{{{name}}}:400", contigs=contigs_of, source="") == (name, 399, 400)
        assert parse_region(f"{{{name}}}", contigs=contigs_of, source="").contig == name
    for text in ("HLA-A*01:01:01", "chr22", "chr22:5", "{chr22}", "a=b:x", "a=b:0", "a=b:" + "9" * 4400, "a=b:\u0665"):
        with pytest.raises(UsageError, match="--region"):
            parse_region(text, contigs=VcfContigs(open_variants(path)), source="")


@pytest.mark.parametrize("pos", ["-5", "1_00", "1e5", "", "\u0665", "9" * 4400, "²"])
def test_positions_are_whole_numbers(tmp_path: Path, pos: str) -> None:
    path = tmp_path / "in.vcf"
    path.write_text(f"{DECLARED}{COLUMNS}\nchr1\t{pos}\t.\tA\tC\t.\t.\t.\n")
    with pytest.raises(DataError, match=r"line 10: POS is '.*, not a non-negative integer"):
        list(open_variants(path).records())


def test_a_negative_position_in_bcf_is_refused(tmp_path: Path) -> None:
    """htslib reads it as one beyond 4,000,000,000."""
    rewritten(tmp_path, row(), kind="b")
    (written,) = tmp_path.glob("*out*")
    raw = gzip.decompress(written.read_bytes())
    place = raw.index(struct.pack("<ii", 0, 99))
    written.write_bytes(bgzf(raw[:place] + struct.pack("<ii", 0, -5) + raw[place + 8 :]))
    with pytest.raises(DataError, match="damaged or truncated after record 0"):
        list(open_variants(written).records())


@pytest.mark.parametrize("length", ["9" * 4400, "\u0665", "²", "-1", "x", ""])
def test_lengths_that_are_none_are_not_believed(tmp_path: Path, length: str) -> None:
    path = tmp_path / "in.vcf"
    path.write_text(f"##fileformat=VCFv4.2\n##contig=<ID=chr1,length={length}>\n{COLUMNS}\n{row()}\n")
    assert VcfContigs(open_variants(path)).names == {"chr1": 0}


def test_a_header_beyond_measure_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.bcf"
    path.write_bytes(bgzf(b"BCF\2\2" + struct.pack("<I", 1 << 30) + b"##fileformat=VCFv4.2\n"))
    message = r"x\.bcf: a header of 1,073,741,824 bytes; a BCF header has at most 268,435,456$"
    with pytest.raises(DataError, match=message):
        open_variants(path)
