"""Open a VCF, a BCF or standard input: what it is, by its content, and whether it is complete."""

import shutil
import sys
import tempfile
import weakref
from pathlib import Path

from genoconv.errors import DataError, OutputError
from genoconv.formats import STDIN, compression, compression_of, lacks_bgzf_end, open_binary
from genoconv.variants.bcf_file import BcfFile
from genoconv.variants.records import VariantFile
from genoconv.variants.vcf_text import LONGEST_LINE, VcfText
from genoconv.workfiles import temporary_prefix


def open_variants(path: Path, *, spool_for: Path | None = None) -> VariantFile:
    """Open a VCF, VCF.gz or BCF, or standard input for ``-``.

    A stream (standard input, a named pipe) is copied to an unnamed place first, because the header must be complete
    before the first record can be written, and what it lacks is known only after the last.

    Args:
        path: the file, or ``-``.
        spool_for: the output, beside which that copy is kept; the system's temporary folder (``TMPDIR``) if None.

    Raises:
        DataError: empty, a git-lfs pointer, not a VCF, damaged.
        OutputError: a stream cannot be copied: no space.
        OSError: the file cannot be opened.
    """
    name = STDIN if str(path) == "-" else str(path)
    spool = None
    if str(path) == "-" or path.is_fifo() or path.is_char_device():
        if str(path) == "-" and sys.stdin is None:
            raise DataError(f"{STDIN} is closed; use a file, or pipe data into it")
        prefix, folder = (".genoconv-", None) if spool_for is None else (temporary_prefix(spool_for), spool_for.parent)
        spool = tempfile.NamedTemporaryFile(prefix=prefix, dir=folder)  # noqa: SIM115 (lives on below)
        try:
            with sys.stdin.buffer if str(path) == "-" else path.open("rb") as source:
                shutil.copyfileobj(source, spool, 1 << 20)
            spool.flush()
        except OSError as error:
            where, rest = Path(spool.name).parent, "" if folder else "set TMPDIR to another folder, or "
            raise OutputError(
                f"{name}: cannot be copied to {where}: {error.strerror}; {rest}use a file, which is not copied"
            ) from error
        path = Path(spool.name)
    file = BcfFile(path, name=name) if _is_bcf(path, name) else VcfText(path, name=name)
    if spool is not None:
        weakref.finalize(file, spool.close)  # the copy goes with the file, at the latest when the process ends
    if compression(path) == "bgzip" and lacks_bgzf_end(path):
        file.notes.append("no BGZF end-of-file marker: the file may be truncated; every record found is processed")
    return file


def _is_bcf(path: Path, name: str) -> bool:
    """Whether a file is BCF rather than text, by its content."""
    with path.open("rb") as stream:
        start = stream.read(18)
    if not start:
        raise DataError(f"{name}: the file is empty (0 bytes); a VCF has at least a header line")
    with open_binary(path) as unpacked:
        head = unpacked.peek(9)[:9]
    if not head.startswith(b"BCF\x02"):
        return False
    if compression_of(start) == "gzip":
        raise DataError(
            f"{name}: BCF compressed with plain gzip instead of bgzip; unpack it with `gunzip`, which makes it readable"
        )
    size = int.from_bytes(head[5:], "little")
    if size > LONGEST_LINE:  # htslib would take as much memory
        raise DataError(f"{name}: a header of {size:,} bytes; a BCF header has at most {LONGEST_LINE:,}")
    return True
