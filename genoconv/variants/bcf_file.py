"""Read BCF through pysam; a record is carried as the text that htslib prints of it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from genoconv.errors import DataError
from genoconv.variants.records import Record, VariantFile
from genoconv.wording import printable

# POS of BCF is a signed 32-bit integer; a negative one reaches us as a large one.
_MOST_POSITIONS = 2**31
# What pysam raises on damaged BCF, beside text that is not UTF-8.
_HTSLIB_ERRORS = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, MemoryError,
    NotImplementedError,
)  # fmt: skip


class BcfFile(VariantFile):
    """A BCF."""

    is_bcf = True

    @contextmanager
    def _bcf(self) -> Iterator[Any]:
        import pysam

        with quiet_htslib(), warnings.catch_warnings():
            # A missing end-of-file marker is one of our notes.
            warnings.simplefilter("ignore")
            try:
                stream = pysam.VariantFile(str(self.path), ignore_truncation=True)
            except _HTSLIB_ERRORS as error:
                raise self._damaged_header(error) from error
        try:
            yield stream
        finally:
            # Closing repeats what went wrong while reading.
            with suppress(OSError):
                stream.close()

    def _damaged_header(self, error: Exception) -> DataError:
        return DataError(f"{self.name}: damaged in its header ({printable(str(error))}); copy the file again")

    def _read_header(self) -> list[str]:
        with self._bcf() as stream:
            try:
                return str(stream.header).rstrip("\n").split("\n")
            except _HTSLIB_ERRORS as error:
                raise self._damaged_header(error) from error

    def records(self) -> Iterator[Record]:
        done = 0
        with self._bcf() as stream:
            while True:
                try:
                    with quiet_htslib():
                        native = next(stream, None)
                    if native is None:
                        return
                    record = _of_native(native)
                    if not -1 <= record.start < _MOST_POSITIONS:
                        raise ValueError("a position beyond 32 bits")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{self.name}: record {done + 1} holds text that is not UTF-8; write it as VCF and convert"
                        " that, e.g. with `bcftools view` and `iconv -f latin1 -t utf-8`"
                    ) from error
                except _HTSLIB_ERRORS as error:
                    raise DataError(
                        f"{self.name}: damaged or truncated after record {done}; copy it again or download it again"
                    ) from error
                done += 1
                yield record


def _of_native(native: Any) -> Record:
    return Record(native.contig, native.start, native.ref, native.alts or (), str(native).rstrip("\n"))


@contextmanager
def quiet_htslib() -> Iterator[None]:
    """htslib's own complaints are replaced by ours."""
    import pysam

    level = pysam.set_verbosity(0)
    try:
        yield
    finally:
        pysam.set_verbosity(level)
