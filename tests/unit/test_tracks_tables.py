"""Tables of SNVs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pysam
import pytest

from genoconv.errors import OutputError
from genoconv.tracks.blocks import COLUMNS, Block
from genoconv.tracks.tables import write_tsv, write_vcf


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


@pytest.mark.parametrize("positions", [1, 20_000])
def test_a_full_disk_is_named_and_htslib_is_silent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], positions: int
) -> None:
    path = tmp_path / "x.tsv.gz"
    path.symlink_to("/dev/full")
    values = np.random.default_rng(0).normal(size=(positions, COLUMNS)).astype(np.float32)
    block = Block("c", 0, np.full(positions, 7, np.uint8), values)
    with pytest.raises(OSError, match=r"is the disk full\?.*x\.tsv\.gz") as error:
        write_tsv(path, lambda _=None: iter([block]), notes={})
    assert error.value.filename == str(path)
    assert capfd.readouterr() == ("", "")


def test_an_error_of_the_values_stays_what_it_is(tmp_path: Path) -> None:
    def fail(_: object = None) -> Iterator[Block]:
        raise OutputError("rows: cannot be read")
        yield

    with pytest.raises(OutputError, match="rows: cannot be read"):
        write_tsv(tmp_path / "x.tsv.gz", fail, notes={})
