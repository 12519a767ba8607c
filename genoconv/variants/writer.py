"""Write the records again with more in INFO, as VCF, BGZF-compressed VCF or BCF, and index them."""

import contextlib
import itertools
import os
import select
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from genoconv.errors import OutputError
from genoconv.formats import writing_stdout
from genoconv.variants.bcf_file import quiet_htslib
from genoconv.variants.bcf_limits import BcfCheck
from genoconv.variants.header import readable
from genoconv.variants.records import Record, decode, encode

Value = float | str | None
Put = Callable[[bytes], object]

# Bytes that are compressed together; a call of htslib costs as much as a record.
_AT_ONCE = 1 << 16


def format_value(value: Value) -> str:
    """A number with six significant digits, as htslib prints it; ``.`` for None."""
    if value is None:
        return "."
    return value if isinstance(value, str) else f"{value:.6g}"


class RecordText:
    """The records of a file with more in INFO, as lines; all else stays as it is, but for :func:`.header.readable`.

    Args:
        header: of the file, all lines.
        kind: of the file, as of :func:`open_writer`.
        replaced: INFO keys whose present values are dropped.
    """

    def __init__(self, header: Sequence[str], *, kind: str, replaced: frozenset[str] = frozenset()) -> None:
        self.replaced = replaced
        self._check = BcfCheck(header) if kind in "ub" else None
        # INFO without any of these, in semicolons, has no item to drop, which is seen faster than by dividing it.
        self._signs = (";;", ";.;", *([f";{os.path.commonprefix(sorted(replaced))}"] if replaced else []))

    def __call__(self, record: Record, added: str = "") -> bytes:
        """The record with ``added``, such as ``KEY=1;FLAG``, at the end of INFO.

        Raises:
            OutputError: BCF cannot hold it.
        """
        columns = readable(record.columns)
        if added or self.replaced:
            framed = f";{columns[7]};"
            if any(sign in framed for sign in self._signs):
                items = (item for item in columns[7].split(";") if item not in (".", ""))
                kept = [item for item in items if item.partition("=")[0] not in self.replaced]
                columns[7] = ";".join([*kept, added] if added else kept) or "."
            elif added:
                columns[7] += f";{added}"
        line = "\t".join(columns)
        if self._check:
            self._check(line)
        return encode(line)


@contextlib.contextmanager
def open_writer(path: Path | None, *, kind: str, header: Sequence[str]) -> Iterator[Put]:
    """Open an output and yield the function that writes records to it: lines from :class:`RecordText`.

    Args:
        path: the file to fill, or None for standard output.
        kind: ``v`` VCF, ``z`` BGZF-compressed VCF, ``u`` uncompressed BCF, ``b`` BCF (as in bcftools).
        header: all header lines.

    Raises:
        OutputError: BCF cannot hold a record.
    """
    with _sink(path, kind=kind) as put:
        put(b"".join(map(encode, header)))
        yield put


@contextlib.contextmanager
def _sink(path: Path | None, *, kind: str) -> Iterator[Put]:
    """What takes the text of a VCF and makes an output of this kind."""
    if kind in "ub":
        with _through_bcftools(path, kind) as text:
            yield text.write
    elif kind == "z":
        with _bgzf(path) as put:
            yield put
    elif path is None:
        yield _put_stdout
        with writing_stdout():
            sys.stdout.buffer.flush()
    else:
        with path.open("wb") as plain:
            yield plain.write


def _put_stdout(data: bytes) -> None:
    with writing_stdout():
        sys.stdout.buffer.write(data)


@contextlib.contextmanager
def _bgzf(path: Path | None) -> Iterator[Put]:
    import pysam

    def checked(work: Callable[..., object], *arguments: bytes) -> None:
        """Do it; htslib itself does not say why it cannot write."""
        try:
            with quiet_htslib():
                work(*arguments)
        except OSError as error:
            if path is None and _reader_left():
                raise BrokenPipeError from error
            raise OutputError(f"{path or 'standard output'}: cannot write; is the disk full?") from error

    stream = pysam.BGZFile("-" if path is None else str(path), "w")
    waiting: list[bytes] = []
    size = 0

    def put(data: bytes) -> None:
        nonlocal size
        waiting.append(data)
        size += len(data)
        if size >= _AT_ONCE:
            flush()

    def flush() -> None:
        nonlocal size
        checked(stream.write, b"".join(waiting))
        waiting.clear()
        size = 0

    try:
        yield put
        flush()
    except BaseException:
        with contextlib.suppress(OSError), quiet_htslib():
            stream.close()
        raise
    checked(stream.close)


def _reader_left() -> bool:
    """Whether nobody reads the other end of standard output any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


@contextlib.contextmanager
def _through_bcftools(path: Path | None, kind: str) -> Iterator[IO[bytes]]:
    """BCF by way of a temporary VCF and the bundled ``bcftools view``.

    pysam's own writer will not do: it adds END to symbolic alleles without one, after the header has gone out, and
    takes END away where it says what REF says already.
    """
    import pysam
    import pysam.bcftools

    folder = None if path is None else path.parent
    # Named after the output's own temporary file, so that they are found and removed after a kill.
    name = ".genoconv" if path is None else path.name
    with (
        tempfile.NamedTemporaryFile(prefix=f"{name}-", suffix=".vcf", dir=folder) as text,
        # A suffix that bcftools does not know: one that it knows would overrule -O.
        tempfile.NamedTemporaryFile(prefix=f"{name}-", suffix=".out", dir=folder) as binary,
    ):
        yield cast(IO[bytes], text)
        text.flush()
        target = binary.name if path is None else f"{path}-written.out"
        try:
            with quiet_htslib():
                pysam.bcftools.view("--no-version", f"-O{kind}", "-o", target, text.name, catch_stdout=False)
        except pysam.SamtoolsError as error:
            raise OutputError(
                f"{_refused(Path(text.name))} cannot be written as BCF, usually because a value does not have its "
                "declared type or a sample column is missing; write VCF instead: -O z"
            ) from error
        finally:
            if path is not None and Path(target).exists():
                os.replace(target, path)  # unfinished or not: it is the temporary file that the caller removes
        if path is None:
            with writing_stdout():
                shutil.copyfileobj(binary, sys.stdout.buffer, 1 << 20)
                sys.stdout.buffer.flush()


def _refused(vcf: Path) -> str:
    """Contig and position of the first record of ``vcf`` that htslib cannot read."""
    import pysam

    done = 0
    with contextlib.suppress(OSError, ValueError), quiet_htslib(), pysam.VariantFile(str(vcf)) as records:
        for _ in records:
            done += 1
    with vcf.open("rb") as lines:
        here = next(itertools.islice((line for line in lines if not line.startswith(b"#")), done, None), None)
    return "a record" if here is None else ":".join(decode(here).split("\t")[:2])


def write_index(path: Path, *, kind: str) -> Path | None:
    """Index a sorted ``.vcf.gz`` (.tbi, or .csi where a record reaches beyond 2^29 bases) or ``.bcf`` (.csi).

    Returns:
        The index beside ``path``; None for formats that have none.

    Raises:
        OSError: htslib cannot index these records.
    """
    import pysam
    import pysam.bcftools

    if kind not in "zb":
        return None
    problem = ""
    # Not pysam.tabix_index, which compresses what is not called .gz or .bcf once more.
    for suffix in (".tbi", ".csi") if kind == "z" else (".csi",):
        index = path.with_name(path.name + suffix)
        try:
            with quiet_htslib():
                pysam.bcftools.index("--force", f"--{suffix[1:]}", "-o", str(index), str(path), catch_stdout=False)
            return index
        except pysam.SamtoolsError as error:
            index.unlink(missing_ok=True)
            problem = str(error)
    raise OSError(" ".join(problem.split())[:200])


def install_index(index: Path, final: Path) -> None:
    """Move an index made for a temporary file beside ``final``."""
    os.replace(index, final.with_name(final.name + index.suffix))


def remove_indexes(final: Path) -> None:
    """Delete the indexes of a file that is about to be replaced; beside other records they would be wrong."""
    for suffix in (".tbi", ".csi", ".gzi"):
        final.with_name(final.name + suffix).unlink(missing_ok=True)


def output_kind(path: Path | None, wanted: str | None) -> str:
    """The format asked for, else the one that the file's name says, else plain VCF."""
    if wanted:
        return wanted
    name = "" if path is None else path.name.lower()
    if name.endswith((".vcf.gz", ".vcf.bgz")):
        return "z"
    return "b" if name.endswith(".bcf") else "v"
