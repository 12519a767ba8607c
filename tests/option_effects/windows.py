"""``genoconv windows``."""

import pytest
from fasta_files import write_fasta

from genoconv.errors import OutputError
from genoconv.genome.assemblies import store
from option_effects.bench import Bench, shows


@shows("windows", "fasta", "annotation")
def _(bench: Bench) -> None:
    assert {row[3] for row in bench.windows()} == {"a11", "a201", "b31"}


@shows("windows", "genome")
def _(bench: Bench) -> None:
    store.register("mine", fasta=bench.fasta, annotation=bench.genes, force=False)
    assert bench.windows("-g", "mine") == bench.windows()


@shows("windows", "flank", "long_genes", "min_length", "max_length", "biotypes", "step", "tiles", "max_unknown")
def _(bench: Bench) -> None:
    places = [row[:3] for row in bench.windows()]
    assert ["a", "10", "60"] in places
    assert ["a", "5", "65"] in [row[:3] for row in bench.windows("--flank", 5)]
    assert len(bench.windows("-l", 300)) == 4
    assert len(bench.windows("-l", 300, "--long-genes", "skip")) == 2
    assert len(bench.windows("--min-length", 51)) == 1
    assert {row[3] for row in bench.windows("--biotype", "x")} == {"a11"}
    tiles = ("-f", bench.fasta, "--tiles", "-l", 60, "--split-by", "chromosome", "--valid", "b")
    assert [row[1] for row in bench.windows(*tiles)][:3] == ["0", "60", "120"]
    assert [row[1] for row in bench.windows(*tiles, "--step", 30)][:3] == ["0", "30", "60"]
    write_fasta(bench.fasta, {**bench.sequences, "b": "N" * 60 + "ACGT" * 10}, width=60)
    assert len(bench.windows(*tiles, "--max-unknown", 1)) == len(bench.windows(*tiles)) + 1


@shows("windows", "split_by", "valid", "test", "valid_fraction", "test_fraction", "seed")
def _(bench: Bench) -> None:
    def sets(*words: object) -> dict[str, list[str]]:
        rows = bench.windows("-f", bench.fasta, "--tiles", "-l", 20, *words)
        return {split: [row[0] + row[1] for row in rows if row[6] == split] for split in ("train", "valid", "test")}

    named = sets("--valid", "b")
    assert (len(named["valid"]), named["test"]) == (4, [])
    assert set(sets("--test", "b")["test"]) == {"b0", "b20", "b40", "b60"}
    blocks = sets("--split-by", "block")
    assert blocks != sets("--split-by", "chromosome")
    assert blocks != sets("--split-by", "block", "--seed", 1)
    assert len(sets("--split-by", "block", "--valid-fraction", 0.4)["valid"]) > len(blocks["valid"])
    assert len(sets("--split-by", "block", "--test-fraction", 0.4)["test"]) > len(blocks["test"])


@shows("windows", "output", "format", "force")
def _(bench: Bench) -> None:
    out = bench.folder / "deep" / "out.bed"
    bench.windows("-o", out)
    assert out.read_text().splitlines() == ["\t".join(row) for row in bench.windows()]
    with pytest.raises(OutputError, match="exists already"):
        bench.windows("-o", out)
    bench.windows("-o", out, "--force")
    assert bench.windows("--format", "tsv")[0][:3] == ["contig", "start", "end"]


@shows("windows", "quiet")
def _(bench: Bench) -> None:
    words = ("windows", "-f", bench.fasta, "-a", bench.genes)
    assert set(bench.quiets("genoconv.pipelines.windows.run", *words)) == {False}
    assert set(bench.quiets("genoconv.pipelines.windows.run", *words, "-q")) == {True}
