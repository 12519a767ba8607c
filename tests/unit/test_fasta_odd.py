"""Odd FASTA files: read right, or refused with one line that names file and line."""

import gzip
import io
import sys
from pathlib import Path

import pytest

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
    "bom": (b"\xef\xbb\xbf>a\nACGT\n", "byte-order mark"),
    "genbank": (b"LOCUS       X 60 bp DNA\n", "not FASTA but GenBank"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer.*git lfs pull"),
    "2bit": (b"\x43\x27\x41\x1a\0\0\0\0", "UCSC 2bit"),
    "bigendian 2bit": (b"\x1a\x41\x27\x43\0\0\0\0", "UCSC 2bit"),
    "binary": (b"\x7fELF\0\0\0", "binary data"),
    "fastq": (b"@r\nACGT\n+\nIIII\n", "FASTQ"),
    "web page": (b"<!DOCTYPE html>\n", "a web page"),
}

# Sequence that can be streamed, but whose lines do not allow to compute where a base lies.
NOT_INDEXABLE = {
    "longer line": (b">a\nACGT\nACGTA\nACGT\n", "line 3, record 'a': 5 bases, where the lines before it have 4"),
    "short line inside": (
        b">b\nAC\n>a\nACGT\nAC\nACGT\n",
        "line 6, record 'a': sequence .* the shorter line 5",
    ),
    "blank line inside": (b">a\nACGT\n\nACGT\n", "line 4, record 'a': sequence goes on after the shorter line 3"),
    "mixed line ends": (b">a\nACGT\nACGT\r\nACGT\n", "line 3, record 'a': Windows and Unix line ends are mixed"),
    "blanks inside": (b">a\nAC GT\nAC GT\n", "line 2, record 'a': blanks inside the sequence"),
    "indented": (b">a\n  ACGT\n  ACGT\n", "line 2, record 'a': blanks inside the sequence"),
    "latin-1 name": (b">caf\xe9\nACGT\n", "line 1: the header is not UTF-8"),
    "no sequence": (b">a\nACGT\n>b\n", "line 3: record 'b' has no sequence"),
    "endless header": (b">a\nACGT\n>b" + b"x" * (1 << 20) + b"\nACGT\n", "line 3: a header of 1,048,579 bytes"),
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
    "blank at the end of every line": (b">a\nACGT \nACGT \nAC \n", {"a": "ACGTACGTAC"}),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("pack", [False, True], ids=["plain", "gzip"])
def test_both_readers_refuse(tmp_path: Path, name: str, pack: bool) -> None:
    content, message = REFUSED[name]
    path = tmp_path / "odd.fa"
    path.write_bytes(gzip.compress(content) if pack else content)
    with pytest.raises(DataError, match=message) as streamed:
        list(read_records(path))
    with pytest.raises(DataError, match=message) as indexed:
        Fasta(path)
    for error in (streamed, indexed):
        assert "odd" in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", NOT_INDEXABLE)
def test_lines_that_no_index_fits_are_named(tmp_path: Path, name: str) -> None:
    content, message = NOT_INDEXABLE[name]
    path = tmp_path / "odd.fa"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"odd.fa: {message}"):
        Fasta(path)
    assert not path.with_name("odd.fa.fai").exists()
    assert sum(len(record.sequence) for record in read_records(path)) == sum(
        len(line.replace(b" ", b"").strip()) for line in content.splitlines() if not line.startswith(b">")
    )


@pytest.mark.parametrize("name", READ)
def test_both_readers_read(tmp_path: Path, name: str) -> None:
    content, records = READ[name]
    path = tmp_path / "odd.fa"
    path.write_bytes(content)
    assert {record.name: record.sequence.decode() for record in read_records(path)} == records
    fasta = Fasta(path)
    assert {contig: fasta.sequence(contig, 0, length) for contig, length in fasta.contigs.items()} == records


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


def test_a_chromosome_on_one_broken_line_is_diagnosed_in_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "long.fa"
    path.write_bytes(b">a\n" + b"ACGT" * (1 << 21) + b"\nAC\nACGT\n")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="line 4, record 'a': sequence goes on after the shorter line 3"):
            Fasta(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
