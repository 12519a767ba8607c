"""Write the records again with more in INFO, as VCF, BGZF-compressed VCF or BCF, and index them."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genoconv.variants.reader import Record, VariantFile, encode

Value = float | str | None
Write = Callable[[Record, Mapping[str, Sequence[Value]]], None]

TBI_LIMIT = 2**29
"""Positions beyond this cannot be held by a .tbi index; .csi takes them."""


def format_value(value: Value) -> str:
    """A number with six significant digits, as htslib prints it; ``.`` for None."""
    if value is None:
        return "."
    return value if isinstance(value, str) else f"{value:.6g}"


def annotated(record: Record, values: Mapping[str, Sequence[Value]], *, replaced: frozenset[str]) -> str:
    """The record's line with ``values`` at the end of INFO; all else untouched.

    Args:
        record: as read.
        values: INFO key -> its values; an empty mapping adds nothing.
        replaced: keys whose present values are dropped.
    """
    if not values and not replaced:
        return record.line
    columns = record.columns
    items = [item for item in columns[7].split(";") if item not in (".", "")]
    if replaced:
        items = [item for item in items if item.partition("=")[0] not in replaced]
    items += [f"{key}={','.join(map(format_value, value))}" for key, value in values.items()]
    columns[7] = ";".join(items) or "."
    return "\t".join(columns)


@contextlib.contextmanager
def open_writer(
    path: Path | None, *, kind: str, header: Sequence[str], source: VariantFile, replaced: frozenset[str]
) -> Iterator[Write]:
    """Open an output and yield the function that writes a record to it.

    Args:
        path: the file to fill, or None for standard output.
        kind: ``v`` VCF, ``z`` BGZF-compressed VCF, ``u`` uncompressed BCF, ``b`` BCF (as in bcftools).
        header: all header lines.
        source: where the records come from.
        replaced: INFO keys whose present values are dropped.
    """
    if kind in "ub":
        opened = _bcf_from_bcf if source.is_bcf else _bcf_from_text
        with opened(path, "wb" if kind == "b" else "wbu", header, source, replaced) as write:
            yield write
        return
    with _byte_stream(path, bgzf=kind == "z") as stream:
        for line in header:
            stream.write(encode(line))
        yield lambda record, values: _put(stream, annotated(record, values, replaced=replaced))


def _put(stream: Any, line: str) -> None:
    stream.write(encode(line))


@contextlib.contextmanager
def _byte_stream(path: Path | None, *, bgzf: bool) -> Iterator[Any]:
    if bgzf:
        import pysam

        stream = pysam.BGZFile("-" if path is None else str(path), "w")
        try:
            yield stream
        finally:
            stream.close()
    elif path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with path.open("wb") as plain:
            yield plain


@contextlib.contextmanager
def _bcf_from_text(
    path: Path | None, mode: str, header: Sequence[str], source: VariantFile, replaced: frozenset[str]
) -> Iterator[Write]:
    """Through a temporary VCF, because htslib parses records only from a file."""
    import pysam

    folder = None if path is None else path.parent
    with tempfile.NamedTemporaryFile(prefix=".genoconv-text-", suffix=".vcf", dir=folder) as text:
        for line in header:
            text.write(encode(line))
        yield lambda record, values: _put(text, annotated(record, values, replaced=replaced))
        text.flush()
        with (
            pysam.VariantFile(text.name) as records,
            pysam.VariantFile("-" if path is None else str(path), mode, header=records.header) as out,
        ):
            for record in records:
                out.write(record)


@contextlib.contextmanager
def _bcf_from_bcf(
    path: Path | None, mode: str, header: Sequence[str], source: VariantFile, replaced: frozenset[str]
) -> Iterator[Write]:
    """Record by record, so that binary values stay as they are."""
    import pysam

    with pysam.VariantFile(str(source.path)) as template:
        complete = template.header.copy()
    present = set(source.header)
    for line in header:
        if line.startswith("##") and line not in present:
            complete.add_line(line)

    with pysam.VariantFile("-" if path is None else str(path), mode, header=complete) as out:

        def write(record: Record, values: Mapping[str, Sequence[Value]]) -> None:
            native = record.native
            native.translate(complete)
            for key in replaced:
                if key in native.info:
                    del native.info[key]
            for key, value in values.items():
                # By way of six digits, so that VCF and BCF hold the same number.
                native.info[key] = tuple(float(format_value(v)) if isinstance(v, float) else v for v in value)
            out.write(native)

        yield write


def write_index(path: Path, *, kind: str, greatest_end: int) -> Path | None:
    """Index a sorted ``.vcf.gz`` (.tbi, or .csi beyond 2^29 bases) or ``.bcf`` (.csi).

    Returns:
        The index beside ``path``; None for formats that have none.
    """
    import pysam

    if kind not in "zb":
        return None
    csi = kind == "b" or greatest_end > TBI_LIMIT
    pysam.tabix_index(str(path), preset="bcf" if kind == "b" else "vcf", csi=csi, force=True, keep_original=True)
    return path.with_name(path.name + (".csi" if csi else ".tbi"))


def install_index(index: Path, final: Path) -> None:
    """Move an index made for a temporary file beside ``final``, and remove one of the other kind that is there."""
    for suffix in (".tbi", ".csi"):
        target = final.with_name(final.name + suffix)
        if index.suffix == suffix:
            os.replace(index, target)
        else:
            target.unlink(missing_ok=True)


def output_kind(path: Path | None, wanted: str | None) -> str:
    """The format asked for, else the one that the file's name says, else plain VCF."""
    if wanted:
        return wanted
    name = "" if path is None else path.name.lower()
    if name.endswith((".vcf.gz", ".vcf.bgz")):
        return "z"
    return "b" if name.endswith(".bcf") else "v"
