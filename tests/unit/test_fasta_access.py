"""Random access gives the bases that are in the file, whatever its shape, and says so where it cannot."""

import errno
import gzip
import hashlib
import logging
import os
import pickle
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyfaidx
import pysam
import pytest
from fasta_files import bgzipped, random_bases, write_fasta
from hypothesis import given, settings
from hypothesis import strategies as st

from genoconv import tokens as tokenizer
from genoconv.errors import DataError, OutputError
from genoconv.genome.fasta import index, scratch
from genoconv.genome.fasta.access import Fasta, read_records
from genoconv.genome.fasta.scan import only_letters, upper

RECORDS = {"chr1 first": random_bases(1000, seed=1), "chr2": random_bases(61, seed=2), "MT": random_bases(7, seed=3)}
TRUTH = {name.split()[0]: sequence for name, sequence in RECORDS.items()}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write_fasta(tmp_path / "genome.fa", RECORDS)


@settings(max_examples=60, deadline=None)
@given(
    sequences=st.lists(st.text("ACGTNacgtnRY.", min_size=1, max_size=90), min_size=1, max_size=4),
    width=st.integers(1, 40),
    end=st.sampled_from(["\n", "\r\n"]),
    packed=st.booleans(),
    data=st.data(),
)
def test_every_slice_of_every_shape(
    tmp_path_factory: pytest.TempPathFactory,
    sequences: list[str],
    width: int,
    end: str,
    packed: bool,
    data: st.DataObject,
) -> None:
    records = {f"c{number}": sequence for number, sequence in enumerate(sequences)}
    path = write_fasta(tmp_path_factory.mktemp("shape") / "x.fa", records, width=width, end=end)
    fasta = Fasta(bgzipped(path) if packed else path)
    assert fasta.contigs == {name: len(sequence) for name, sequence in records.items()}
    for name, sequence in records.items():
        start = data.draw(st.integers(0, len(sequence)))
        stop = data.draw(st.integers(start, len(sequence)))
        assert fasta.sequence(name, start, stop) == sequence[start:stop]
        np.testing.assert_array_equal(fasta.tokens(name, start, stop), tokenizer.encode(sequence[start:stop]))
    streamed = {record.name: record.sequence.decode() for record in read_records(path)}
    assert streamed == records


def test_tokens_are_writable_uint8_and_the_mask_marks_lower_case(plain: Path) -> None:
    fasta = Fasta(plain)
    tokens, mask = fasta.tokens_and_mask("chr1", 10, 300)
    assert tokens.dtype == np.uint8
    assert tokens.flags.writeable
    lower = [letter.islower() for letter in TRUTH["chr1"][10:300]]
    assert mask.tolist() == lower
    assert fasta.soft_mask("chr1", 10, 300).tolist() == lower
    np.testing.assert_array_equal(tokens, tokenizer.encode(TRUTH["chr1"][10:300]))


@pytest.mark.parametrize("packed", [False, True])
def test_bases_outside_a_contig_are_refused(plain: Path, packed: bool) -> None:
    fasta = Fasta(bgzipped(plain) if packed else plain)
    for start, end in [(0, 62), (-1, 5), (5, 4), (62, 62)]:
        with pytest.raises(DataError, match=rf"chr2:{start}-{end} \(0-based\) is outside .* has 61 bases"):
            fasta.tokens("chr2", start, end)
    with pytest.raises(DataError, match="no contig 'chr3'; it has chr1, chr2, MT"):
        fasta.sequence("chr3", 0, 1)
    assert fasta.tokens("chr2", 61, 61).tolist() == []


def test_a_genome_does_not_come_from_a_pipe() -> None:
    with pytest.raises(DataError, match="cannot be read from standard input: use a file"):
        Fasta("-")


@pytest.mark.parametrize("packed", [False, True])
def test_digests_are_those_of_samtools_dict(plain: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genoconv.genome.fasta.access._CHUNK", 64)  # several reads a contig
    lines = pysam.samtools.dict(str(plain)).splitlines()[1:]
    fields = [dict(field.split(":", 1) for field in line.split("\t")[1:]) for line in lines]
    assert Fasta(bgzipped(plain) if packed else plain).digests() == {field["SN"]: field["M5"] for field in fields}
    assert Fasta(plain).digest("MT") == hashlib.md5(TRUTH["MT"].upper().encode()).hexdigest()


def test_letters_and_upper_case_are_what_bytes_say() -> None:
    every = bytes(range(256))
    assert [only_letters(b"Az" + every[n : n + 1]) for n in range(256)] == [
        every[n : n + 1].isalpha() for n in range(256)
    ]
    assert only_letters(b"")
    assert upper(every).tobytes() == every.upper()
    assert upper(every[:91]).tobytes() == every[:91]
    assert upper(b"").tobytes() == b""


@pytest.mark.parametrize("odd", [b"\x01", b"3", b">", b"\xff"])
def test_a_digest_is_of_letters_alone(tmp_path: Path, odd: bytes) -> None:
    path = write_fasta(tmp_path / "g.fa", {"a": "ACGT" * 50, "b": "acgt.-*~" * 5})
    fasta = Fasta(path)
    assert fasta.digest("b") == hashlib.md5(b"ACGT.-*~" * 5).hexdigest()
    text = path.read_bytes()
    with path.open("r+b") as stream:  # behind the index
        stream.seek(text.index(b"ACGT") + 130)
        stream.write(odd)
    with pytest.raises(DataError, match=r"a:\d+ \(1-based\) is"):
        fasta.digest("a")


def test_the_index_is_the_one_that_pyfaidx_makes(plain: Path) -> None:
    Fasta(plain)
    ours = plain.with_name("genome.fa.fai").read_text()
    pyfaidx.Faidx(plain, indexname=plain.with_name("theirs.fai")).close()
    assert ours == plain.with_name("theirs.fai").read_text()


@pytest.mark.parametrize("kind", ["plain", "bgzip", "gzip"])
def test_the_reader_of_pyfaidx_reads_every_kind_even_in_a_read_only_folder(plain: Path, kind: str) -> None:
    path = plain
    if kind == "bgzip":
        path = bgzipped(plain)
    elif kind == "gzip":
        path = plain.with_name("genome.fa.gz")
        path.write_bytes(gzip.compress(plain.read_bytes()))
    before = sorted(plain.parent.iterdir())
    plain.parent.chmod(0o555)
    try:
        reader = Fasta(path).reader()
        assert list(reader.keys()) == list(TRUTH)
        assert str(reader["chr1"][3:70]) == TRUTH["chr1"][3:70]
        assert sorted(plain.parent.iterdir()) == before  # root may write there, and must not
    finally:
        plain.parent.chmod(0o755)


def test_an_index_older_than_the_file_is_made_again(plain: Path) -> None:
    Fasta(plain)
    write_fasta(plain, {"chr1": "GG" + TRUTH["chr1"]})
    later = plain.stat().st_mtime + 10
    os.utime(plain, (later, later))
    assert Fasta(plain).sequence("chr1", 0, 10) == "GG" + TRUTH["chr1"][:8]


@pytest.mark.parametrize("packed", [False, True])
def test_an_index_of_another_file_is_found_out_though_it_is_newer(plain: Path, tmp_path: Path, packed: bool) -> None:
    other = write_fasta(tmp_path / "other.fa", {"chr9": TRUTH["chr1"], "chr2": TRUTH["chr2"]}, width=50)
    target = bgzipped(plain) if packed else plain
    Fasta(target)
    Fasta(other)
    shutil.copyfile(tmp_path / "other.fa.fai", target.with_name(target.name + ".fai"))
    assert Fasta(target).sequence("chr1", 55, 65) == TRUTH["chr1"][55:65]


@pytest.mark.parametrize("packed", [False, True])
def test_an_index_cut_short_loses_no_contig(plain: Path, packed: bool) -> None:
    target = bgzipped(plain) if packed else plain
    Fasta(target)
    fai = target.with_name(target.name + ".fai")
    fai.write_text("".join(fai.read_text().splitlines(True)[:2]))
    assert list(Fasta(target).contigs) == ["chr1", "chr2", "MT"]


DAMAGE = {
    "cut": lambda gzi: gzi[:20],
    "of other blocks": lambda gzi: gzi[:-16] + b"\1" + gzi[-15:],
    "empty": lambda gzi: bytes(8),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_block_index_that_does_not_fit_is_made_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    sequence = random_bases(200_000, seed=4)  # blocks of 64 kB: there are several
    target = bgzipped(write_fasta(tmp_path / "long.fa", {"a": sequence, "b": TRUTH["chr1"]}))
    Fasta(target)
    gzi = target.with_name("long.fa.gz.gzi")
    right = gzi.read_bytes()
    gzi.write_bytes(damage(right))
    fasta = Fasta(target)
    assert gzi.read_bytes() == right
    assert fasta.sequence("a", 150_000, 150_100) == sequence[150_000:150_100]


@pytest.mark.parametrize("content", ["", "chr1\t5\n", "chr1\tx\t1\t2\t3\n", "chr1\t1000\t12\t60\t61\n" * 2])
def test_a_damaged_index_is_made_again(plain: Path, content: str) -> None:
    plain.with_name("genome.fa.fai").write_text(content)
    assert Fasta(plain).sequence("chr2", 0, 61) == TRUTH["chr2"]


@pytest.mark.parametrize("packed", [False, True])
def test_beside_a_read_only_file_the_index_goes_to_the_cache(
    plain: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = bgzipped(plain) if packed else plain
    monkeypatch.setattr(index.os, "access", lambda path, mode: False)
    assert Fasta(target).sequence("chr1", 100, 200) == TRUTH["chr1"][100:200]
    assert not target.with_name(target.name + ".fai").exists()
    monkeypatch.setattr(index, "_built", lambda *_: pytest.fail("the index in the cache was not found again"))
    assert Fasta(target).sequence("chr1", 100, 200) == TRUTH["chr1"][100:200]


def test_plain_gzip_is_decompressed_once_and_said_once(plain: Path, caplog: pytest.LogCaptureFixture) -> None:
    packed = plain.with_name("genome.fa.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    with caplog.at_level(logging.INFO, "genoconv"):
        for _ in range(2):
            assert Fasta(packed).sequence("chr1", 3, 99) == TRUTH["chr1"][3:99]
    assert [r.message for r in caplog.records if "plain gzip" in r.message] == [caplog.records[0].message]


def test_two_threads_that_meet_a_plain_gzip_file_decompress_it_once(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = plain.with_name("genome.fa.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    copies: list[object] = []
    copy = scratch._unwrap
    monkeypatch.setattr(scratch, "_unwrap", lambda *args: (copies.append(args), copy(*args)))
    threads = [threading.Thread(target=scratch.plain_copy, args=(packed,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(copies) == 1


def test_a_cut_gzip_file_leaves_nothing_behind(plain: Path) -> None:
    packed = plain.with_name("genome.fa.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes())[:-40])
    with pytest.raises(DataError, match=r"genome.fa.gz: the compressed data is damaged or truncated"):
        Fasta(packed)
    folder = scratch.scratch_folder(packed)
    assert [path.name for path in folder.iterdir() if path.name != ".lock"] == []


def test_the_cache_keeps_no_leftovers_of_plain_gzip(plain: Path) -> None:
    packed = plain.with_name("genome.fa.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    before = scratch.make_folder(packed)
    killed = before / ".genome.fa.plain.fa.genoconv-tmp-killed.fa"
    killed.write_text("half a copy")
    Fasta(packed)
    assert not killed.exists()
    packed.write_bytes(gzip.compress(b">chr1\nGGGG\n"))
    assert Fasta(packed).sequence("chr1", 0, 4) == "GGGG"
    assert not before.exists()


def test_a_full_disk_is_said_and_leaves_nothing(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = plain.with_name("genome.fa.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(scratch, "_unwrap", full)
        with pytest.raises(OutputError, match="No space left on device"):
            Fasta(packed)
    assert [path.name for path in scratch.scratch_folder(packed).iterdir()] == [".lock"]
    assert Fasta(packed).sequence("chr1", 3, 99) == TRUTH["chr1"][3:99]


def test_a_pickle_refuses_a_file_that_has_changed(plain: Path) -> None:
    pickled = pickle.dumps(Fasta(plain))
    assert pickle.loads(pickled).sequence("chr2", 0, 61) == TRUTH["chr2"]
    plain.write_text(">chr1\nACGT\n")
    with pytest.raises(DataError, match="the file has changed since it was indexed"):
        pickle.loads(pickled)


def test_a_file_cut_after_it_was_opened_is_an_error_not_short_tokens(plain: Path) -> None:
    fasta = Fasta(plain)
    os.truncate(plain, 500)
    with pytest.raises(DataError, match=r"chr1:400-1000 gave \d+ bases"):
        fasta.tokens("chr1", 400, 1000)
    with pytest.raises(DataError, match=r"chr1:400-1000 gave \d+ bases"):
        fasta.sequence("chr1", 400, 1000)


def test_missing_files_and_folders_speak_for_themselves(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Fasta(tmp_path / "absent.fa")
    with pytest.raises(IsADirectoryError):
        Fasta(tmp_path)


def test_pipes_are_refused_because_they_cannot_be_entered_in_the_middle(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        Fasta(tmp_path / "pipe")
