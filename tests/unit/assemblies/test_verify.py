"""``genomes verify`` and ``genomes path`` of genomes that are damaged, or not here."""

from pathlib import Path

import pytest
from genome_manifests import write_manifest
from loopback import Loopback

from genoconv.errors import DataError, UsageError
from genoconv.genome.assemblies import store
from genoconv.genome.assemblies.fetch import fetch
from genoconv.pipelines.genomes import run


def test_verify_names_everything_that_is_wrong(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server)
    genome = fetch("phix")
    assert genome.annotation
    content = bytearray(genome.fasta.read_bytes())
    content[100] ^= 1
    genome.fasta.write_bytes(content)
    genome.annotation.unlink()
    with pytest.raises(
        DataError, match=r"phix.fa is damaged: expected sha256 .* is missing; run: genoconv genomes remove phix; gen"
    ):
        run.verify("phix")
    with pytest.raises(DataError, match="phix is incomplete or has changed; see: genoconv genomes verify phix"):
        run.path_of("phix", annotation=False)


def test_paths_of_what_is_not_here_say_how_to_get_it(server: Loopback, manifests: Path) -> None:
    write_manifest(manifests, server, genes=False)
    with pytest.raises(
        DataError, match="phix is not stored on this machine; fetch it with: genoconv genomes fetch phix"
    ):
        run.path_of("phix", annotation=False)
    with pytest.raises(UsageError, match="no genome named 'phixx': did you mean phix"):
        run.verify("phixx")
    with pytest.raises(UsageError, match=r"no genome named 'hg37'.*did you mean hg38"):
        fetch("hg37")
    fetch("phix")
    assert run.path_of("phix", annotation=False) == store.folder_of("phix") / "phix.fa"
    with pytest.raises(UsageError, match="phix has no annotation"):
        run.path_of("phix", annotation=True)
