"""Single-base substitutions that are planned together have the windows and the fit of those that are not."""

from pathlib import Path

import numpy as np
import pytest
from fasta_files import random_bases, write_fasta
from toy_scoring import record

from genoconv import tokens
from genoconv.genome.fasta.access import Fasta
from genoconv.tasks.substitutions import Substitutions, find_substitutions, fitting, windows_around
from genoconv.variants.reference import Reference
from genoconv.variants.windows import grid_window

CONTIG = random_bases(400, seed=3).upper()


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    return Reference(Fasta(write_fasta(tmp_path / "g.fa", {"c": CONTIG, "tiny": CONTIG[:20]})))


def places(some: Substitutions) -> list[tuple[int, int]]:
    """Record and ALT of each."""
    return list(zip(some.records.tolist(), some.alts.tolist(), strict=True))


@pytest.mark.parametrize(("contig", "grid"), [("c", 1), ("c", 16), ("tiny", 1), ("tiny", 16)])
def test_the_windows_are_those_of_single_positions(reference: Reference, contig: str, grid: int) -> None:
    length = reference.contigs[contig]
    starts = np.arange(length)
    found = windows_around(starts, contig=contig, reference=reference, width=64, grid=grid)
    assert found.inside
    for start, member, offset in zip(starts.tolist(), found.member, found.offsets, strict=True):
        window = grid_window(start, contig_length=length, width=64, grid=grid)
        assert tokens.decode(found.bases[member]) == CONTIG[window.start : window.end]
        assert window.start + offset == start
    assert len(found.bases) == len({found.bases[member].tobytes() for member in found.member})


def test_only_bases_by_other_bases_that_the_reference_has(reference: Reference) -> None:
    base = CONTIG[7]
    others = [letter for letter in "ACGT" if letter != base]
    records = [
        record("c", 7, base, others[0], base, "<DEL>", others[1] + "A", others[2]),
        record("c", 7, others[0], base),  # another REF than the FASTA's
        record("c", 400, "A", "C"),  # behind the end
        record("c", 9, CONTIG[9:11], "A"),
        record("x", 3, "A", "C"),  # not a contig of the FASTA
        record("chrTiny", 0, CONTIG[0], *(letter for letter in "ACGT" if letter != CONTIG[0])),
    ]
    found = find_substitutions(records, {"c": "c", "chrTiny": "tiny"})
    assert places(found["c"]) == [(0, 0), (0, 4), (1, 0), (2, 0)]
    assert places(found["tiny"]) == [(5, 0), (5, 1), (5, 2)]
    kept = fitting(found["c"], contig="c", reference=reference)
    assert places(kept) == [(0, 0), (0, 4)]
    assert kept.starts.tolist() == [7, 7]
    assert tokens.decode(kept.tokens) == others[0] + others[2]
