"""Manifests: all that ship hold together, and a damaged one is refused by file and key."""

import re
from pathlib import Path

import pytest

from genoconv.contigs import match_contigs
from genoconv.digests import file_digest
from genoconv.errors import DataError, UsageError
from genoconv.genome.assemblies.demo import write_demo
from genoconv.genome.assemblies.manifest import (
    Manifest,
    check_name,
    find_manifest,
    list_manifests,
    read_manifest,
    unknown_genome,
)
from genoconv.genome.fasta.access import Fasta
from genoconv.pipelines.genomes.run import describe, overview
from support import DATA, ROOT, needs_data

SHIPPED = {manifest.name: manifest for manifest in list_manifests()}
MAIN = {"phix174": 1, "ecoli-k12": 1, "saccer3": 17, "hg38": 25, "chm13v2": 25, "mm39": 22}
# Totals that the makers of the assemblies publish: of the main sequences, and of all.
HUMAN = [*(f"chr{n}" for n in range(1, 23)), "chrX", "chrY", "chrM"]
TOTALS = {
    "phix174": (5_386, 5_386),
    "ecoli-k12": (4_641_652, 4_641_652),
    "saccer3": (12_157_105, 12_157_105),
    "hg38": (3_088_286_401, 3_099_922_541),
    "chm13v2": (3_117_292_070, 3_117_292_070),
    "mm39": (2_723_431_143, 2_728_222_451),
}


def test_the_promised_genomes_ship() -> None:
    assert {"demo", *MAIN} == set(SHIPPED)


@pytest.mark.parametrize("manifest", SHIPPED.values(), ids=SHIPPED)
def test_a_shipped_manifest_holds_together(manifest: Manifest) -> None:
    assert manifest.title
    assert manifest.licence
    assert manifest.source
    for remote in (manifest.fasta, manifest.annotation):
        if remote is None:
            assert manifest.generated
            continue
        assert all(url.startswith("https://") for url in (*remote.urls, remote.md5_list or "https://"))
        assert len(set(remote.urls)) == len(remote.urls)
        assert all(re.fullmatch("[0-9a-f]{32}", value) for value in (remote.md5,) if value)
        assert all(re.fullmatch("[0-9a-f]{64}", v) for v in (remote.sha256, remote.unpacked_sha256) if v)
        assert remote.name.endswith(".gz")
    text = manifest.path.read_text(encoding="utf-8")
    assert all(len(line) <= 120 or "https://" in line for line in text.splitlines())


@pytest.mark.parametrize("name", MAIN)
def test_shipped_sizes_add_up_to_what_is_published(name: str) -> None:
    manifest = SHIPPED[name]
    assert len(manifest.contigs) == MAIN[name]
    assert (sum(manifest.contigs.values()), manifest.total) == TOTALS[name]
    assert manifest.contigs.get("chrM") in (None, 16_569, 16_299, 85_779)


@pytest.mark.parametrize("name", ["hg38", "chm13v2"])
def test_human_chromosomes_are_all_there(name: str) -> None:
    assert list(SHIPPED[name].contigs) == HUMAN


@pytest.mark.parametrize("manifest", SHIPPED.values(), ids=SHIPPED)
def test_aliases_lead_to_contigs_one_by_one(manifest: Manifest) -> None:
    for alias, contig in manifest.aliases.items():
        assert match_contigs({alias: None}, manifest.contigs, aliases=manifest.aliases) == {alias: contig}
        assert alias not in manifest.contigs


@pytest.mark.parametrize("name", SHIPPED)
def test_show_prints_every_genome(name: str) -> None:
    text = "\n".join(describe(name))
    assert text.startswith(f"{name}: {SHIPPED[name].title}")
    assert SHIPPED[name].licence in text
    for contig, length in SHIPPED[name].contigs.items():
        assert f"contig       {contig} {length:,}" in text
    for url in SHIPPED[name].fasta.urls if SHIPPED[name].fasta else ():
        assert url in text
    assert f"genoconv genomes fetch {name}" in text.splitlines()[-1]


def test_the_list_has_a_line_for_each() -> None:
    assert [known.name for known in overview()] == sorted(SHIPPED)


@needs_data("genomes")
@pytest.mark.parametrize(
    ("name", "path"), [("phix174", "phix174/NC_001422.1.fa.gz"), ("ecoli-k12", "ecoli_k12/NC_000913.3.fa.gz")]
)
def test_pinned_sequences_are_those_of_the_real_genomes(name: str, path: str) -> None:
    fasta = Fasta(DATA / "genomes" / path)
    assert fasta.contigs == SHIPPED[name].contigs
    assert fasta.digests() == SHIPPED[name].md5


@needs_data("genomes/ecoli_k12")
def test_the_unpacked_checksum_of_ecoli_is_of_ncbis_layout(tmp_path: Path) -> None:
    """NCBI writes 80 columns under the definition line of the record."""
    fasta = Fasta(DATA / "genomes/ecoli_k12/NC_000913.3.fa.gz")
    sequence = fasta.sequence("NC_000913.3", 0, 4_641_652)
    path = tmp_path / "ncbi.fa"
    lines = (sequence[i : i + 80] for i in range(0, len(sequence), 80))
    header = ">NC_000913.3 Escherichia coli str. K-12 substr. MG1655, complete genome"
    path.write_text("\n".join([header, *lines]) + "\n")
    assert SHIPPED["ecoli-k12"].fasta
    assert file_digest(path) == SHIPPED["ecoli-k12"].fasta.unpacked_sha256


def test_the_demo_is_the_same_everywhere_and_says_what_it_is(tmp_path: Path) -> None:
    fasta, annotation = write_demo(tmp_path)
    assert file_digest(fasta) == "aff45122af672e33cab839d34d34b386d09e1db3e988b4cb40df3e49ea0caafd"
    assert file_digest(annotation) == "ffc73cc6261fc780e5addcc0186870a01c13507135b74153c1baf0f142af44fd"
    contigs = Fasta(fasta).contigs
    assert (len(contigs), sum(contigs.values())) == (SHIPPED["demo"].sequences, SHIPPED["demo"].total)
    headers = [line for line in fasta.read_text().splitlines() if line.startswith(">")]
    assert all("synthetic" in line for line in [*headers, annotation.read_text().splitlines()[1]])
    assert "synthetic" in next(known.title for known in overview() if known.name == "demo")
    assert "synthetic" in next(describe("demo"))


GOOD = """title = "t"
licence = "l"
source = "s"
sequences = 2
total = 30
[fasta]
urls = ["https://a.org/x/a.fa.gz"]
md5 = "0123456789abcdef0123456789abcdef"
[contigs]
a = 10
b = 20
[md5]
a = "0123456789abcdef0123456789abcdef"
[aliases]
one = "a"
"""

DAMAGED = {
    "not toml": ("title", "title =", "not TOML"),
    "missing": ('title = "t"\n', "", "the key 'title' is missing"),
    "unknown": ("sequences", "sequence", "unknown key 'sequence'"),
    "unknown inside": ('md5 = "0', 'sha1 = "0', r"unknown key 'fasta.sha1'"),
    "named": ('title = "t"', 'title = "t"\nname = "x"', "unknown key 'name'; a genome has the name of its file"),
    "no urls": ('["https://a.org/x/a.fa.gz"]', "[]", r"fasta.urls: "),
    "one url": ('["https://a.org/x/a.fa.gz"]', '"https://a.org/x/a.fa.gz"', r"fasta.urls: "),
    "file url": ("https://a.org/x/", "file:///etc/", r"fasta.urls.0: .* begins with https://"),
    "no host": ("https://a.org/x/", "https:///", r"fasta.urls.0: .* begins with https://"),
    "dots": ("x/a.fa.gz", "x/..", r"fasta.urls.0: .*does not end in a file name"),
    "hidden": ("x/a.fa.gz", "x/.receipt", r"fasta.urls.0: .*does not end in a file name"),
    "encoded": ("x/a.fa.gz", "x/%2e%2e%2fa", r"fasta.urls.0: .*does not end in a file name"),
    "folder": ("x/a.fa.gz", "x/", r"fasta.urls.0: .*does not end in a file name"),
    "short md5": ('md5 = "0123', 'md5 = "123', r"fasta.md5: "),
    "capital md5": ('md5 = "0123456789abc', 'md5 = "0123456789ABC', r"fasta.md5: "),
    "size as text": ("a = 10", 'a = "10"', r"contigs.a: "),
    "size of nothing": ("a = 10", "a = 0", r"contigs.a: "),
    "size true": ("a = 10", "a = true", r"contigs.a: "),
    "wrong total": ("total = 30", "total = 31", r"\[contigs\] has 30 bases, which does not fit total = 31"),
    "too many": ("sequences = 2", "sequences = 1", r"\[contigs\] has 2 sequences, more than sequences = 1"),
    "md5 of nothing": ('a = "0', 'c = "0', r"\[md5\] names 'c'"),
    "alias of nothing": ('one = "a"', 'one = "z"', r"\[aliases\] names 'z'"),
    "both": ('source = "s"', 'source = "s"\ngenerated = true', "a genome is either generated or has a"),
}


@pytest.mark.parametrize(("old", "new", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_manifest_is_refused_by_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: {message}") as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


def test_a_good_manifest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    manifest = read_manifest(path)
    assert manifest.name == "mine"
    assert manifest.fasta
    assert manifest.fasta.name == "a.fa.gz"
    assert manifest.contigs == {"a": 10, "b": 20}


def test_a_file_that_cannot_name_a_genome_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my genome.toml"
    path.write_text(GOOD)
    with pytest.raises(DataError, match="'my genome' cannot name a genome"):
        read_manifest(path)


def test_own_manifests_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENOCONV_MANIFESTS", str(tmp_path))
    (tmp_path / "hg38.toml").write_text(GOOD)
    (tmp_path / "mine.toml").write_text(GOOD)
    assert {"mine", *SHIPPED} == {manifest.name for manifest in list_manifests()}
    found = find_manifest("hg38")
    assert found
    assert found.title == "t"
    monkeypatch.setenv("GENOCONV_MANIFESTS", str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"GENOCONV_MANIFESTS=.*none: no such folder"):
        find_manifest("hg38")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc", "-x", ".hidden", "a b", "a\n", "é", "a\0"])
def test_a_name_cannot_leave_the_folder(name: str) -> None:
    with pytest.raises(UsageError, match="genome name"):
        check_name(name)
    with pytest.raises(UsageError, match="genome name"):
        find_manifest(name)


def test_a_mistyped_name_is_answered_with_the_nearest() -> None:
    assert "did you mean hg38?" in str(unknown_genome("HG-38", SHIPPED))
    assert "did you mean saccer3?" in str(unknown_genome("sacCer", SHIPPED))
    message = str(unknown_genome("hg19", SHIPPED))
    assert "known genomes: chm13v2, demo, ecoli-k12, hg38" in message
    assert "genoconv genomes add hg19 --fasta FILE" in message


def test_the_manifests_that_ship_are_those_of_the_repository() -> None:
    assert {path.stem for path in (ROOT / "data_manifests").glob("*.toml")} == set(SHIPPED)


def test_a_manifest_has_a_limit_of_bytes(tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    path.write_text("#" * ((1 << 20) + 1))
    with pytest.raises(DataError, match=r"big.toml: larger than 1,048,576 bytes, too large for a manifest"):
        read_manifest(path)
