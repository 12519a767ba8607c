"""Tables of SNVs."""

from pathlib import Path

import numpy as np
import pysam
import pytest

from genoconv.tracks.blocks import COLUMNS, Block
from genoconv.tracks.tables import write_vcf


def test_names_that_no_header_can_hold_leave_it_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Scores on such contigs stay, as those of score-variants do."""
    path = tmp_path / "x.vcf.gz"
    contigs = {'"quoted': 1, "a,b": 1, "c": 1}
    one = np.zeros((1, COLUMNS), np.float32)
    write_vcf(
        path,
        lambda _=None: (Block(name, 0, np.array([7], np.uint8), one) for name in contigs),
        notes={"note": "x"},
        contigs=contigs,
    )
    assert caplog.messages == ['2 contig names cannot be declared in a VCF: "quoted, a,b']
    with pysam.VariantFile(str(path)) as found:
        assert [record.key for record in found.header.records if record.type == "GENERIC"][-1] == "note"
        assert "GCONV_ENT" in found.header.info
    with pysam.TabixFile(str(path)) as rows:
        assert rows.contigs == list(contigs)
