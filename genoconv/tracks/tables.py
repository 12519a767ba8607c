"""Tables of SNVs: tab-separated text and VCF, BGZF-compressed and indexed, and Parquet."""

import errno
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from genoconv.contigs import UNDECLARABLE
from genoconv.tracks.blocks import Blocks, Snv, snvs
from genoconv.wording import count, listed

log = logging.getLogger(__name__)

TSV_COLUMNS = ("chrom", "pos", "ref", "alt", "score", "forward", "reverse", "ref_log_p", "entropy")
RANK_COLUMNS = ("pct", "z")
"""Behind the others where the model is calibrated."""
_ROW_GROUP = 1 << 16
_INFO = (
    ("LLR", "A", "mean of both strands; negative = less likely than REF"),
    ("FWD", "A", "forward strand"),
    ("REV", "A", "reverse strand"),
)
_RANKS = (
    ("PCT", "genoconv: percentile of the score among like variants, 0 to 100; low = unexpected"),
    ("Z", "genoconv: standard deviations of the score from the mean of its kind"),
)


def write_tsv(path: Path, blocks: Blocks, *, notes: Mapping[str, str], ranked: bool = False) -> None:
    """A row per SNV (POS 1-based) under a header line; ``path`` gets a ``.tbi`` or, far out, a ``.csi`` beside it."""
    with _bgzf(path) as out:
        for key, value in notes.items():
            out.write(f"##{key}={value}\n".encode())
        out.write(("#" + "\t".join(TSV_COLUMNS + (RANK_COLUMNS if ranked else ())) + "\n").encode())
        for block in blocks():
            out.write("".join(map(_tsv_rows, snvs(block))).encode())
    _index(path, preset=None)


def _tsv_rows(snv: Snv) -> str:
    place = f"{snv.contig}\t{snv.start + 1}\t{snv.ref}\t"
    tail = f"\t{_text(snv.ref_log_p)}\t{_text(snv.entropy)}"
    ranks = [""] * len(snv.alts)
    if snv.ranks is not None:
        ranks = [f"\t{_text(percentile)}\t{_text(z)}" for percentile, z in zip(*snv.ranks, strict=True)]
    return "".join(
        f"{place}{alt}\t{_text(score)}\t{_text(forward)}\t{_text(reverse)}{tail}{rank}\n"
        for alt, score, forward, reverse, rank in zip(
            snv.alts, snv.scores, snv.forward, snv.reverse, ranks, strict=True
        )
    )


def write_vcf(
    path: Path,
    blocks: Blocks,
    *,
    notes: Mapping[str, str],
    contigs: Mapping[str, int],
    ranked: bool = False,
) -> None:
    """A record per position with its three SNVs as ALT; ``path`` gets an index beside it."""
    with _bgzf(path) as out:
        odd = [name for name in contigs if UNDECLARABLE.search(name)]
        if odd:
            log.warning("%s cannot be declared in a VCF: %s", count(len(odd), "contig name"), listed(odd))
        named = [f"##contig=<ID={name},length={n}>" for name, n in contigs.items() if name not in odd]
        header = ["##fileformat=VCFv4.2", *named]
        what = "genoconv: ln P(alt) - ln P(ref) at the base"
        header += [
            f'##INFO=<ID=GCONV_{name},Number={number},Type=Float,Description="{what}, {text}">'
            for name, number, text in _INFO
        ]
        header += [
            '##INFO=<ID=GCONV_REF,Number=1,Type=Float,Description="genoconv: ln P(ref), mean of both strands">',
            '##INFO=<ID=GCONV_ENT,Number=1,Type=Float,Description="genoconv: entropy of the prediction in bits">',
            *(
                f'##INFO=<ID=GCONV_{name},Number=A,Type=Float,Description="{text}">'
                for name, text in (_RANKS if ranked else ())
            ),
            *(f"##{key}={value}" for key, value in notes.items()),
            "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO",
        ]
        out.write(("\n".join(header) + "\n").encode())
        for block in blocks():
            out.write("".join(_vcf_row(snv) for snv in snvs(block)).encode())
    _index(path, preset="vcf")


def _vcf_row(snv: Snv) -> str:
    score, forward, reverse = (",".join(map(_text, values)) for values in (snv.scores, snv.forward, snv.reverse))
    ranks = ""
    if snv.ranks is not None:
        percentile, z = (",".join(map(_text, values)) for values in snv.ranks)
        ranks = f";GCONV_PCT={percentile};GCONV_Z={z}"
    return (
        f"{snv.contig}\t{snv.start + 1}\t.\t{snv.ref}\t{','.join(snv.alts)}\t.\t.\tGCONV_LLR={score};"
        f"GCONV_FWD={forward};GCONV_REV={reverse};GCONV_REF={_text(snv.ref_log_p)};"
        f"GCONV_ENT={_text(snv.entropy)}{ranks}\n"
    )


def _text(value: float) -> str:
    """Six significant digits; ``.`` where a strand has no value."""
    return f"{value + 0.0:.6g}" if value == value else "."


def write_parquet(path: Path, blocks: Blocks, *, notes: Mapping[str, str], ranked: bool = False) -> None:
    """Columns of :data:`TSV_COLUMNS` and, if ``ranked``, :data:`RANK_COLUMNS`; a row per SNV, POS 1-based.

    Values are float32, null where a strand has none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = TSV_COLUMNS + (RANK_COLUMNS if ranked else ())
    types = (pa.string(), pa.int64(), pa.string(), pa.string(), *(pa.float32(),) * (len(names) - 4))
    schema = pa.schema(list(zip(names, types, strict=True)), metadata=dict(notes))
    # A stream: pyarrow takes no path that is not UTF-8.
    with path.open("wb") as sink, pq.ParquetWriter(sink, schema) as writer:
        rows = (row for block in blocks() for snv in snvs(block) for row in _rows(snv))
        while group := list(islice(rows, _ROW_GROUP)):
            columns = zip(*group, strict=True)
            arrays = [pa.array(column, type_) for column, type_ in zip(columns, types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _rows(snv: Snv) -> Iterator[tuple[object, ...]]:
    for at, alt in enumerate(snv.alts):
        values = (snv.scores[at], snv.forward[at], snv.reverse[at], snv.ref_log_p, snv.entropy)
        ranks = () if snv.ranks is None else tuple(column[at] for column in snv.ranks)
        numbers = [value if value == value else None for value in (*values, *ranks)]
        yield (snv.contig, snv.start + 1, snv.ref, alt, *numbers)


@contextmanager
def _bgzf(path: Path) -> Iterator[Any]:
    """A BGZF file to write; htslib does not say why it cannot, and prints its complaints."""
    import pysam

    level = pysam.set_verbosity(0)
    try:
        with pysam.BGZFile(str(path), "w") as out:
            yield out
    except OSError as error:
        if type(error) is not OSError or error.filename is not None:  # of what is to be written
            raise
        raise OSError(errno.EIO, "htslib failed; is the disk full?", str(path)) from error
    finally:
        pysam.set_verbosity(level)


def _index(path: Path, *, preset: str | None) -> None:
    import pysam

    columns: dict[str, Any] = (
        {"preset": preset} if preset else {"seq_col": 0, "start_col": 1, "end_col": 1, "meta_char": "#"}
    )
    try:
        pysam.tabix_index(str(path), force=True, keep_original=True, **columns)
    except OSError:  # beyond 2^29
        pysam.tabix_index(str(path), force=True, keep_original=True, csi=True, **columns)
