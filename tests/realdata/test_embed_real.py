"""``genoconv embed`` on real sequence: imported models, stranded genes, interruptions, memory."""

import json
import subprocess
import sys
from pathlib import Path
from signal import SIGINT, SIGKILL

import numpy as np
import pytest
from embed_files import model_folder, places, rc, read_npz, states
from published_checkpoints import expected, golden

from genoconv.genome.annotation.genes import read_genes
from genoconv.genome.fasta.access import Fasta
from genoconv.models import load_model
from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.pipelines.embed.run import embed
from genoconv.pipelines.models.run import import_model
from genoconv.tokens import decode
from support import DATA, cli_environment, needs_data, run_until

CHR20 = DATA / "genomes/b37_chr20_1_2M/z.fa.gz"
PROMOTERS = DATA / "sequences/promoters_tata_human.fa.gz"
LOCI = DATA / "human_gene_loci"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return model_folder(tmp_path_factory.mktemp("models") / "small", max_length=512)


@pytest.mark.parametrize("layout", ["hf", "original"])
def test_an_imported_model_gives_the_published_states(tmp_path: Path, layout: str) -> None:
    """Against hidden states that the public implementation computed, base by base and pooled."""
    import_model(str(golden(layout, tmp_path)), tmp_path / "model")
    fasta = tmp_path / "in.fa"
    ids, truth = (expected()[f"{name}.256"].numpy() for name in ("input_ids", "hidden"))
    fasta.write_text("".join(f">r{n}\n{decode(row)}\n" for n, row in enumerate(ids)))
    for pool, vectors in (("none", np.concatenate(truth)), ("mean", truth.mean(1))):
        run = EmbedOptions(fasta=fasta, model=tmp_path / "model", output=tmp_path / f"{pool}.npz", pool=pool)
        embed(run)
        np.testing.assert_allclose(read_npz(run.output)["embeddings"], vectors, atol=2e-5)
        assert np.std(vectors) > 0.1


@needs_data("human_gene_loci")
def test_genes_are_read_on_their_strand(model: Path, tmp_path: Path) -> None:
    fasta = Fasta(LOCI / "human_gene_loci.A.fa.gz")
    genes = read_genes(LOCI / "human_gene_loci.A.gff3.gz", contigs=fasta.contigs)
    genes = genes[genes["end"] - genes["start"] < 12_000]
    rows = list(zip(genes["contig"], genes["start"], genes["end"], genes["strand"], genes["name"], strict=True))
    assert {strand for *_, strand, _ in rows} == {"+", "-"}
    bed = tmp_path / "genes.bed"
    bed.write_text("".join(f"{c}\t{s}\t{e}\t{name}\t0\t{strand}\n" for c, s, e, strand, name in rows))
    run = EmbedOptions(fasta=fasta.path, model=model, output=tmp_path / "genes.npz", bed=bed, pool="last")
    embed(run)
    found = read_npz(run.output)
    assert places(found) == [(name, s, e, strand) for _, s, e, strand, name in rows]
    network = load_model(model)
    for vector, (contig, start, end, strand, _) in zip(found["embeddings"], rows, strict=True):
        sequence = fasta.sequence(contig, start, end).upper()
        read = rc(sequence) if strand == "-" else sequence
        np.testing.assert_allclose(vector, states(network, read[-512:])[-1], atol=2e-5)


@needs_data("genomes/b37_chr20_1_2M")
def test_interrupted_and_resumed_equals_uninterrupted(model: Path, home: Path, tmp_path: Path) -> None:
    """Ctrl-C after the first of six pieces, kill -9 after two more, then to the end."""
    whole, out = tmp_path / "whole.npz", tmp_path / "out.npz"
    bed = tmp_path / "tiles.bed"
    bed.write_text("".join(f"z\t{start}\t{start + 16}\n" for start in range(0, 112_500, 40)))
    run = EmbedOptions(fasta=CHR20, model=model, output=out, bed=bed, chunk=8_192)
    embed(run.model_copy(update={"output": whole}))
    arguments = ["embed", CHR20, "-m", model, "--bed", bed, "-o", out, "--set", "chunk=8192"]
    assert run_until(arguments, home, SIGINT, 1) == 130
    assert not out.exists()
    assert len(list(tmp_path.glob(".out.npz.genoconv-*"))) == 4
    assert not list(tmp_path.glob(".genoconv-*"))
    assert run_until([*arguments, "--resume"], home, SIGKILL, 2) == -SIGKILL
    assert not out.exists()
    assert "from the interrupted run" in str(embed(run.model_copy(update={"resume": True})))
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*"))


MEASURE = r"""
import json, sys, tracemalloc
from pathlib import Path
from genoconv.pipelines import pieces
from genoconv.pipelines.embed.options import EmbedOptions
from genoconv.pipelines.embed.run import embed
pieces._WAITING = 1  # how much waits for the disk is not to depend on how slow it is
small, large, model, out = map(Path, sys.argv[1:])
run = EmbedOptions(fasta=small, model=model, output=out, pool="none", chunk=1 << 17, force=True, quiet=True)
peaks = []
embed(run)  # imports what it needs
tracemalloc.start()  # of arrays and bytes: what the system counts depends on the threads and on its libraries
for fasta in (small, large):
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    summary = embed(run.model_copy(update={"fasta": fasta}))
    peaks.append((tracemalloc.get_traced_memory()[1] - before) // 1024)
print(json.dumps([peaks, summary.rows]))
"""


@needs_data("sequences/promoters_tata_human.fa.gz")
def test_memory_does_not_grow_with_the_number_of_records(tmp_path: Path) -> None:
    """Peak memory of a run that embeds 80 records base by base, then of one that embeds 500."""
    model = model_folder(tmp_path / "wide", max_length=512, d_model=16)
    fasta = Fasta(PROMOTERS)
    names = list(fasta.contigs)
    for name, count in (("small", 80), ("large", 500)):
        records = (f">{n}\n{fasta.sequence(n, 0, 300)}\n" for n in names[:count])
        (tmp_path / f"{name}.fa").write_text("".join(records))
    arguments = [tmp_path / "small.fa", tmp_path / "large.fa", model, tmp_path / "out.npz"]
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], capture_output=True, check=True, env=cli_environment(tmp_path)
    )
    (before, after), rows = json.loads(result.stdout)
    assert rows == 150_000
    vectors = rows * 16 * 4 // 1024
    assert after - before < vectors / 2, f"{before} KiB, then {after} KiB; the vectors are {vectors} KiB"
