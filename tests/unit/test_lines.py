"""Text is text: line ends, marks, damage and limits get one verdict and one wording from every reader."""

import errno
import gzip
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fasta_files import bgzf

from genoconv import formats, lines
from genoconv.errors import DataError, OutputError
from genoconv.genome.annotation.genes import read_genes
from genoconv.genome.fasta.access import Fasta, read_records
from genoconv.genome.windows.intervals import read_bed
from genoconv.pipelines.records.tables import open_table
from genoconv.variants import records, vcf_text
from genoconv.variants.reader import open_variants

BED = b"#c\nchr1\t0\t5\tone\nchr1\t7\t9\ttwo\n"
GTF = b'#c\nchr1\tx\tgene\t1\t5\t.\t+\t.\tgene_id "one";\nchr1\tx\tgene\t7\t9\t.\t+\t.\tgene_id "two";\n'
GFF = b"##gff-version 3\nchr1\tx\tgene\t1\t5\t.\t+\t.\tID=one\nchr1\tx\tgene\t7\t9\t.\t+\t.\tID=two\n"
VCF = (
    b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    b"chr1\t5\tone\tA\tG\t.\t.\tX=1\nchr1\t9\ttwo\tC\tT\t.\t.\tX=2\n"
)
FASTA = b">one\nACGT\nAC\n>two\nACGT\nAC\n"


def vcf_ids(path: Path) -> list[str]:
    return [record.columns[2] for record in open_variants(path).records()]


READERS: dict[str, tuple[bytes, Callable[[Path], list[str]]]] = {
    "bed": (BED, lambda path: read_bed(path)["name"].tolist()),
    "gtf": (GTF, lambda path: read_genes(path)["gene_id"].tolist()),
    "gff3": (GFF, lambda path: read_genes(path)["gene_id"].tolist()),
    "vcf": (VCF, vcf_ids),
    "fasta stream": (FASTA, lambda path: [record.name for record in read_records(path)]),
    "fasta index": (FASTA, lambda path: list(Fasta(path).contigs)),
}
PACKED: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "gzip": gzip.compress, "bgzip": bgzf}


def last_line_mixed(content: bytes) -> bytes:
    return b"\r\n".join(content.rsplit(b"\n", 2)[:2]) + b"\n" + content.rsplit(b"\n", 2)[2]


READ: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "windows line ends": lambda content: content.replace(b"\n", b"\r\n"),
    "mixed line ends": lambda content: content.replace(b"\n", b"\r\n", 2),
    "no end of the last line": lambda content: content[:-1],
    "windows line ends, half of the last": lambda content: content.replace(b"\n", b"\r\n")[:-1],
    "byte-order mark": lambda content: b"\xef\xbb\xbf" + content,
    "byte-order mark and windows line ends": lambda content: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"),
    "blank lines at the end": lambda content: content + b"\n\n",
}
REFUSED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "old line ends": (lambda content: content.replace(b"\n", b"\r"), r": line 1: old Macintosh line ends \(CR\)"),
    "one old line end": (
        lambda content: content[: content.rindex(b"\n", 0, -1)]
        + content[content.rindex(b"\n", 0, -1) :].replace(b"\n", b"\r", 1),
        r": line \d.*: old Macintosh line ends \(CR\); convert them",
    ),
    "NUL": (
        lambda content: content[:-2] + b"\0" + content[-1:],
        r": line \d.*: a NUL byte; the file is damaged, copy it",
    ),
    "git-lfs": (
        lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
        r": not [\w ]+ but a git-lfs pointer, not the file itself; run `git lfs pull`",
    ),
    "utf-16": (lambda content: content.decode().encode("utf-16"), r": not [\w ]+ but UTF-16 text; save it as UTF-8"),
    "web page": (lambda content: b"<!DOCTYPE html>\n<html>", r": not [\w ]+ but a web page"),
    "byte-order mark inside": (
        lambda content: content[: content.rindex(b"\n", 0, -1) + 1]
        + b"\xef\xbb\xbf"
        + content[content.rindex(b"\n", 0, -1) + 1 :],
        r": line \d.*: a byte-order mark inside the file, probably because files were joined; remove it",
    ),
    "two byte-order marks": (lambda content: b"\xef\xbb\xbf" * 2 + content, r": (not FASTA: )?line 1[: ]"),
    "gzip in gzip": (lambda content: gzip.compress(gzip.compress(content)), ": compressed twice with gzip; unpack it"),
    "cut gzip": (lambda content: gzip.compress(content * 99)[:-9], ": the compressed data is damaged or truncated"),
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("pack", PACKED)
def test_read_by_all(tmp_path: Path, kind: str, name: str, pack: str) -> None:
    content, read = READERS[kind]
    path = tmp_path / "file"
    path.write_bytes(PACKED[pack](READ[name](content)))
    assert read(path) == ["one", "two"]


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("kind", READERS)
def test_refused_by_all_in_the_same_words(tmp_path: Path, kind: str, name: str) -> None:
    content, read = READERS[kind]
    damage, message = REFUSED[name]
    path = tmp_path / "file"
    path.write_bytes(damage(content))
    with pytest.raises(DataError, match=re.escape(str(path)) + message) as error:
        read(path)
    assert "\n" not in str(error.value)


TABLES = [kind for kind in READERS if not kind.startswith("fasta")]


@pytest.mark.parametrize("kind", TABLES)
def test_blanks_for_tabs_are_read(tmp_path: Path, kind: str) -> None:
    content, read = READERS[kind]
    path = tmp_path / "file"
    path.write_bytes(content.replace(b"\t", b"  "))
    assert read(path) == ["one", "two"]


def rows(content: bytes) -> bytes:
    return b"".join(line for line in content.splitlines(True) if not line.startswith(b"#"))


@pytest.mark.parametrize("columns", ["as written", "few"])
@pytest.mark.parametrize("kind", TABLES)
def test_rows_that_were_joined_are_refused(tmp_path: Path, kind: str, columns: str) -> None:
    """``cat`` of two files of which the first has no newline at its end."""
    content, read = READERS[kind]
    path = tmp_path / "file"
    more = rows(content).replace(b"one", b"three").replace(b"two", b"four")
    if columns == "few":  # the first row of the file is the joined one
        content = content[: content.index(rows(content))] + rows(content).splitlines(True)[0]
    path.write_bytes(content[:-1] + more)
    line = content.count(b"\n")
    with pytest.raises(DataError, match=f"file: line {line}: two rows in one line, probably because files were joined"):
        read(path)
    path.write_bytes(content + more)
    assert read(path)[-2:] == ["three", "four"]


def test_a_header_that_was_joined_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.vcf"
    samples = (
        VCF.replace(b"INFO", b"INFO\tFORMAT\ts1\t2").replace(b"X=1", b"X=1\tGT\t1\t0").replace(b"X=2", b"X=2\tGT\t1\t0")
    )
    for whole, line in (
        (VCF[:-1] + VCF, 4),
        (samples[:-1] + samples, 4),
        (samples.replace(b"s1\t2\n", b"s1\t2"), 2),
        (VCF.replace(b"INFO\n", b"INFO"), 2),
    ):
        path.write_bytes(whole)
        with pytest.raises(DataError, match=rf"file.vcf: line {line}[: ]"):
            vcf_ids(path)
    path.write_bytes(samples + samples)
    assert vcf_ids(path) == ["one", "two"] * 2
    for other in (samples.replace(b"s1\t2\n", b"2\ts1\n"), VCF):
        path.write_bytes(samples + other)
        with pytest.raises(DataError, match=r"line 6: a second header, of other samples \((2, s1|none); the first has"):
            vcf_ids(path)


def test_a_stream_that_does_not_fit_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.vcf").write_bytes(VCF)
    with (tmp_path / "x.vcf").open() as stdin, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        patch.setattr(shutil, "copyfileobj", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "disk full")))
        patch.setattr(tempfile, "tempdir", str(tmp_path))
        with pytest.raises(OutputError, match=f"standard input: cannot be copied to {tmp_path}: disk full; set TMPDIR"):
            open_variants(Path("-"))


@pytest.mark.parametrize("shift", [(b"\tx\t", b" x\t"), (b"\tx\t", b"\t\tx\t")])
def test_rows_of_an_annotation_whose_columns_have_moved_are_refused(tmp_path: Path, shift: tuple[bytes, bytes]) -> None:
    path = tmp_path / "file.gff3"
    for line in (1, 2):
        moved = GFF.splitlines(True)
        moved[line] = moved[line].replace(*shift)
        path.write_bytes(b"".join(moved))
        with pytest.raises(
            DataError, match=rf"file.gff3: line {line + 1}: column 3 is '.*' and .*: a tab is missing, or"
        ):
            read_genes(path)


@pytest.mark.parametrize("kind", [kind for kind in TABLES if kind != "vcf"])
def test_what_is_not_utf8_is_named(tmp_path: Path, kind: str) -> None:
    content, read = READERS[kind]
    path = tmp_path / "file"
    path.write_bytes(content.replace(b"two", b"tw\xf6"))
    with pytest.raises(
        DataError, match=r"line 3: not UTF-8 \(byte 0xf6 at column \d+\); convert the file, e.g. with `iconv"
    ):
        read(path)


def test_a_vcf_carries_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(VCF.replace(b"X=2", b"X=\xf6"))
    assert [records.encode(record.line) for record in open_variants(path).records()][1].endswith(b"X=\xf6\n")


@pytest.mark.parametrize("kind", TABLES)
def test_lines_have_a_limit(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vcf_text, "LONGEST_LINE", lines.LONGEST_LINE)
    content, read = READERS[kind]
    path = tmp_path / "file"
    path.write_bytes(content + b"x" * (lines.LONGEST_LINE + (1 << 20)))
    with pytest.raises(DataError, match=r"file: line \d has more than 16,777,216 bytes; is this [\w ]+\?"):
        read(path)


TABLE_READERS: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    **{kind: READERS[kind] for kind in TABLES if kind != "vcf"},
    "csv": (b"sequence,label\nACGT,1\n", lambda path: list(open_table(path).rows())),
}


@pytest.mark.parametrize("kind", TABLE_READERS)
def test_tables_that_unpack_beyond_measure_are_refused(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "_TABLE_ALLOWED", 1 << 16)
    content, read = TABLE_READERS[kind]
    path = tmp_path / "file"
    last = content.splitlines(True)[-1]
    path.write_bytes(gzip.compress(content + last * ((1 << 20) // len(last)), 9))
    with pytest.raises(DataError, match=r"file: the first [\d,]+ compressed bytes unpack to more than 100 times"):
        read(path)


@pytest.mark.parametrize("kind", ["bed", "csv"])
def test_tables_have_a_limit_of_lines(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content, read = TABLE_READERS[kind]
    path = tmp_path / "file"
    path.write_bytes(content)
    monkeypatch.setattr(lines, "MOST_ROWS", content.count(b"\n"))
    read(path)
    monkeypatch.setattr(lines, "MOST_ROWS", content.count(b"\n") - 1)
    with pytest.raises(DataError, match=r"file: more than [1-3] lines; divide the file"):
        read(path)


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("filler", [b"\n", b"##x\n"])
def test_runs_of_comments_and_blank_lines_have_a_limit(
    tmp_path: Path, kind: str, filler: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 1 << 19
    monkeypatch.setattr(vcf_text, "LONGEST_LINE", most)
    monkeypatch.setitem(lines.numbered_lines.__kwdefaults__, "most_idle", most)
    content, read = READERS[kind]
    path = tmp_path / "file"
    first, rest = content.split(b"\n", 1)
    path.write_bytes(first + b"\n" + filler * (2 * most // len(filler)) + rest)
    with pytest.raises(DataError, match="more than 524,288 bytes of comments and blank lines in a row; is this"):
        read(path)


def test_values_are_shown_escaped_and_short() -> None:
    assert lines.shortened("a\x1b[31m") == "'a\\x1b[31m'"
    assert lines.shortened("9" * 4400) == f"'{'9' * 60}'... of 4,400 characters"
