"""Odd FASTA files: read right, or refused with one line that names file and line."""

import gzip
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fasta_files import bgzf, random_bases
from odd_files import Odd

from genoconv import formats
from genoconv.errors import DataError
from genoconv.genome.fasta.access import Fasta, read_records

REFUSED = {
    "empty": (b"", "the file is empty"),
    "blank": (b"\n \n", "only blank lines"),
    "text": (b"hello\n", "not FASTA: line 1 is 'hello'"),
    "text later": (b"\n\nhello\n", "not FASTA: line 3 is 'hello'"),
    "duplicate": (b">a\nACGT\n\n>b\nAC\n>a again\nGG\n", "two records are named 'a', on lines 1 and 6"),
    "nameless": (b">\nACGT\n", "line 1: a header without a name"),
    "blank name": (b">b\nACGT\n> late\nACGT\n", "line 3: a header without a name"),
    "protein": (b">p\nMKLVINPEQFWYHKLE\nDEILPQ\n", "record 'p' is not DNA: .* of its letters"),
    "rna": (b">r\nACGUUUGCAU\n", "record 'r' is RNA"),
    "mac": (b">a\rACGT\rAC\r", "line 1: old Macintosh line ends"),
    "mac, one line": (b">a\nACGT\rACGT\n", "line 2, record 'a': old Macintosh line ends"),
    "utf-16": (b"\xff\xfe>\0a\0\n\0", "UTF-16 text; save it as UTF-8"),
    "joined": (b">a\nACGT\nACGT>b\nACGT\n", "line 3, record 'a': a '>' inside a line .* files were joined"),
    "joined, one line a record": (b">a\nACGT>b\nACGT\n", "line 2, record 'a': a '>' inside a line"),
    "nul": (b">a\nACGT\nAC\0\0\nACGT\n", "line 3, record 'a': a NUL byte"),
    "nul in a header": (b">a\nACGT\n>b\0\nACGT\n", "line 3: a NUL byte"),
    "positions": (b">a\n  1 ACGT ACGT\n  9 ACGT ACGT\n", "line 2, record 'a': a digit inside the sequence"),
    "comment": (b">a\nACGT\n; note\n>b\nACGT\n", "line 3, record 'a': a ';', as begins a comment"),
    "comment of another kind": (b">a\nACGT\n# note\n", "line 3, record 'a': a '#', as begins a comment"),
    "escape sequence": (b">a\nACGT\n\x1b[31mACGT\n", r"line 3, record 'a': '\\x1b', which is not a letter"),
    "not ASCII": (b">a\nAC\xc3\xa9GT\n", "line 2, record 'a': byte 0xc3, which is not a letter"),
    "protein in the second record": (b">a\nACGT\n>p\nMKLVINPEQFWYHKLE\n", "record 'p' is not DNA"),
    "latin-1 name": (b">caf\xe9\nACGT\n", "line 1: the name is not UTF-8"),
    "endless header": (b">a\nACGT\n>b" + b"x" * (1 << 20) + b"\nACGT\n", "line 3: a header of more than 1,048,576"),
    "endless blank lines": (b">a\n" + b"\n" * (19 << 20), "more than 16,777,216 bytes of blank lines in a row"),
    "header never ends": (b">a\nACGT\n>" + b"b" * (1 << 22), "line 3: a header of more than 1,048,576 bytes"),
    "genbank": (b"LOCUS       X 60 bp DNA\n", "not FASTA but GenBank"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer.*git lfs pull"),
    "2bit": (b"\x43\x27\x41\x1a\0\0\0\0", "UCSC 2bit"),
    "bigendian 2bit": (b"\x1a\x41\x27\x43\0\0\0\0", "UCSC 2bit"),
    "binary": (b"\x7fELF\0\0\0", "binary data"),
    "fastq": (b"@r\nACGT\n+\nIIII\n", "FASTQ"),
    "web page": (b"<!DOCTYPE html>\n", "a web page"),
}

# Sequence whose lines do not tell where a base lies: it is copied into the cache once.
UNEVEN = {
    "longer line": (b">a\nACGT\nACGTA\nACGT\n", {"a": "ACGTACGTAACGT"}),
    "longer last line, no newline": (b">a\nAC\nACGT", {"a": "ACACGT"}),
    "short line inside": (b">b\nAC\n>a\nACGT\nAC\nACGT\n", {"b": "AC", "a": "ACGTACACGT"}),
    "blank line inside": (b">a\nACGT\n\nACGT\n", {"a": "ACGTACGT"}),
    "blank line first": (b">a\n\nACGT\n", {"a": "ACGT"}),
    "mixed line ends": (b">a\nACGT\nACGT\r\nACGT\n", {"a": "ACGTACGTACGT"}),
    "mixed line ends of one width": (b">a\r\nACG\r\nACGT\nACG\r\n", {"a": "ACGACGTACG"}),
    "blanks inside": (b">a\nAC GT\nAC GT\n", {"a": "ACGTACGT"}),
    "blanks inside that add up": (b">a\nAC GT\nACGT\n>b\nAC\n", {"a": "ACGTACGT", "b": "AC"}),
    "indented": (b">a\n  ACGT\n\tACGT\n", {"a": "ACGTACGT"}),
    "blank at the end of every line": (b">a\nACGT \nACGT \nAC \n", {"a": "ACGTACGTAC"}),
}

READ = {
    "no final newline": (b">a\nACGT\nAC", {"a": "ACGTAC"}),
    "crlf, blank lines": (b">a\r\nACGT\r\nAC\r\n\r\n>b\r\nAC\r\n\r\n", {"a": "ACGTAC", "b": "AC"}),
    "one line a record": (b">a\nACGTACGT\n>b\nACG\n", {"a": "ACGTACGT", "b": "ACG"}),
    "blank lines at the start": (b"\n\n>a\nACGT\n", {"a": "ACGT"}),
    "name with > and |": (b">gi|1|x>y more > text\nACGT\n", {"gi|1|x>y": "ACGT"}),
    "tab after the name": (b">a\tb\nACGT\n", {"a": "ACGT"}),
    "names beyond ASCII": (">Evo-φ4 G1\nacgt\n".encode(), {"Evo-φ4": "acgt"}),
    "gap characters": (b">a\nAC..-*NN\nACGT\n", {"a": "AC..-*NNACGT"}),
    "gaps alone": (b">a\n........\n", {"a": "........"}),
    "byte-order mark": (b"\xef\xbb\xbf>a\nACGT\nACGT\n>b\nAC\n", {"a": "ACGTACGT", "b": "AC"}),
    "a record without sequence": (
        b">a\nACGT\n>b\n>c\n\n>d\nAC\n>e",
        {"a": "ACGT", "b": "", "c": "", "d": "AC", "e": ""},
    ),
    "line ends that differ by record": (b">a\nACGT\nAC\n>b\r\nACG\r\nAC\r\n", {"a": "ACGTAC", "b": "ACGAC"}),
    "CR at the very end": (b">a\r\nACGT\r\nAC\r", {"a": "ACGTAC"}),
    "latin-1 in a description": (b">a caf\xe9\nACGT\n", {"a": "ACGT"}),
}


PACKED: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "gzip": gzip.compress, "bgzip": bgzf}


def both_readers(path: Path) -> dict[str, str]:
    """What a FASTA holds, on which both readers must agree."""
    streamed = {record.name: record.sequence.decode() for record in read_records(path)}
    fasta = Fasta(path)
    assert {contig: fasta.sequence(contig, 0, length) for contig, length in fasta.contigs.items()} == streamed
    for contig, length in fasta.contigs.items():
        for start in range(min(length, 9)):
            assert fasta.sequence(contig, start, length) == streamed[contig][start:]
    return streamed


def both_refuse(path: Path, message: str) -> None:
    """One line that names the file, the same from both readers."""
    with pytest.raises(DataError, match=message) as streamed:
        list(read_records(path))
    with pytest.raises(DataError, match=message) as indexed:
        Fasta(path)
    assert path.name in str(streamed.value)
    assert "\n" not in str(streamed.value)
    assert str(streamed.value) == str(indexed.value)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_both_readers_refuse(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    content, message = REFUSED[name]
    path = tmp_path / "odd.fa"
    path.write_bytes(pack(content))
    both_refuse(path, message)


# Records and bases in the files that the tests write and in those of public projects, or why they are refused.
FILES = {
    "fa_dup_ids.fasta": "two records are named 'alpha', on lines 1 and 10",
    "fa_iupac_50bp.fa": ((1, 50), (1, 50)),
    "fa_crlf_nofinalnl.fa": ((1, 550), (1, 550)),
    "fa_protein_crlf.fasta": "is not DNA",
    "fa_blank_between_records.fasta": ((2, 179), (2, 179)),
    "fa_dots_mixed_case.fa": ((2, 300), (8, 1_058)),
    "fa_unicode_header_lowercase.fasta": ((2, 300), (16, 87_066)),
    "fa_plain_gzip_chrI.fa.gz": ((1, 1_050), (1, 230_208)),
    "fa_bigendian.2bit": "not FASTA but UCSC 2bit (big-endian)",
    "fa_softmask_40kb.fa": ((1, 40_000), (1, 40_000)),
    "vcf_is_git_lfs_pointer.vcf.gz": "a git-lfs pointer, not the file itself; run `git lfs pull`",
    "gb_features_without_sequence.gbk": "not FASTA but GenBank",
    "gb_protein_record.gb": "not FASTA but GenBank",
    "vcf_zero_bytes.vcf": "the file is empty",
    "bed_two_columns.bed": "not FASTA: line 1 is",
}


@pytest.mark.parametrize("name", FILES)
def test_both_readers_of_odd_files(odd: Odd, name: str) -> None:
    expected = FILES[name]
    if isinstance(expected, str):
        both_refuse(odd / name, re.escape(expected))
    else:
        records = both_readers(odd / name)
        assert (len(records), sum(map(len, records.values()))) == expected[0 if odd.written else 1]


@pytest.mark.parametrize("name", UNEVEN)
@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_uneven_lines_are_copied_once(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    content, records = UNEVEN[name]
    path = tmp_path / "odd.fa"
    path.write_bytes(pack(content))
    caplog.set_level("INFO", "genoconv")
    for _ in range(2):
        assert both_readers(path) == records
    assert caplog.text.count("so it is copied once to") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["odd.fa"]


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_both_readers_read(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    content, records = READ[name]
    path = tmp_path / "odd.fa"
    path.write_bytes(pack(content))
    assert both_readers(path) == records


LAYOUTS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "even": lambda lines: lines,
    "short": lambda lines: [line[:20] for line in lines],
    "one": lambda lines: [b"".join(lines)],
    "a long one at the end": lambda lines: [*lines[:900], b"".join(lines[900:])],
    "CRLF": lambda lines: [line + b"\r" for line in lines],
    "one CRLF": lambda lines: [*lines[:900], lines[900] + b"\r", *lines[901:]],
    "a shorter line": lambda lines: [*lines[:900], lines[900][:59], *lines[901:]],
    "a longer line": lambda lines: [*lines[:900], lines[900] + b"A", *lines[901:]],
    "two for one": lambda lines: [*lines[:900], lines[900][:30], lines[900][:29], *lines[901:]],
    "a blank line": lambda lines: [*lines[:900], b"", *lines[900:]],
    "blank lines at the end": lambda lines: [*lines, lines[0][:7], b"", b""],
    "gaps": lambda lines: [*lines[:900], b"-" * 60, *lines[900:]],
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_lines_of_long_records_are_joined_and_counted(tmp_path: Path, name: str) -> None:
    bases = random_bases(60 * 2000, seed=4).encode()
    lines = LAYOUTS[name]([bases[first : first + 60] for first in range(0, len(bases), 60)])
    path = tmp_path / "long.fa"
    path.write_bytes(b">a\n" + b"\n".join(lines) + b"\n>b\nACGT\n!\n")
    records = read_records(path)
    assert next(records).sequence == b"".join(lines).replace(b"\r", b"")
    with pytest.raises(DataError, match=f"line {len(lines) + 4}, record 'b': '!'"):
        next(records)


@pytest.mark.parametrize("pack", [gzip.compress, bgzf], ids=["gzip", "bgzip"])
def test_gzip_in_gzip_is_named(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "odd.fa.gz"
    path.write_bytes(pack(gzip.compress(b">a\nACGT\n")))
    for read in (lambda: list(read_records(path)), lambda: Fasta(path)):
        with pytest.raises(DataError, match=r"odd.fa.gz: compressed twice with gzip; unpack it once"):
            read()


def test_a_decompression_bomb_does_not_fill_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_ALWAYS_ALLOWED", 1 << 20)
    path = tmp_path / "bomb.fa.gz"
    path.write_bytes(gzip.compress(b">a\n" + b"A" * (1 << 23)))
    with pytest.raises(DataError, match=r"bomb.fa.gz: unpacks to more than [\d,]+ bytes, far more than a FASTA"):
        Fasta(path)


def test_records_come_from_standard_input_packed_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b">a first one\nACGT\nAC\n>b\nGG\n"
    for content in (text, gzip.compress(text)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
        found = [(r.name, r.description, r.sequence, r.line) for r in read_records("-")]
        assert found == [("a", "first one", b"ACGTAC", 1), ("b", "", b"GG", 4)]


def test_records_are_streamed(tmp_path: Path) -> None:
    path = tmp_path / "late.fa"
    path.write_bytes(b">a\nACGT\n>a\nACGT\n")
    records = read_records(path)
    with pytest.raises(DataError, match="on lines 1 and 3"):
        [next(records), next(records)]


def test_a_chromosome_on_one_line_is_checked_in_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "long.fa"
    path.write_bytes(b">a\n" + b"ACGT" * (1 << 22) + b"\nAC1\nACGT\n")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="line 3, record 'a': a digit inside the sequence"):
            Fasta(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
