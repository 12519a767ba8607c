"""The genomes on this machine: their folders, receipts and what was recorded of their downloads.

Layout, as genomepy's: ``<home>/genomes/<name>/<name>.fa``, its ``.fai`` and ``.sizes``, ``<name>.annotation.gtf.gz`` or
``.gff3.gz``. ``receipt.json`` is written last: a folder without it holds nothing that is believed.
"""

import datetime
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genoconv import __version__, atomic
from genoconv.errors import DataError, UsageError
from genoconv.genome.fasta import Fasta
from genoconv.genome.manifest import check_name
from genoconv.paths import genomes_dir

RECEIPT = "receipt.json"
_RECORDED = "recorded-checksums.json"


@dataclass(frozen=True)
class StoredFile:
    """A file of a genome.

    Attributes:
        path: where it is.
        bytes, sha256: of it.
        url: where it came from; the user's own path for a registered file.
        download_sha256: of what was downloaded, if it was unpacked since.
    """

    path: str
    bytes: int
    sha256: str
    url: str
    download_sha256: str | None = None

    @classmethod
    def of(cls, path: Path, *, url: str, download_sha256: str | None = None, where: Path | None = None) -> "StoredFile":
        """Measure ``path``, which will lie at ``where``."""
        return cls(str(where or path), path.stat().st_size, sha256_of(path), url, download_sha256)


@dataclass(frozen=True)
class Genome:
    """A genome that is here.

    Attributes:
        name: of it.
        fasta, annotation: files; ``annotation`` is None where there is none.
        contigs: name -> length in bases.
        md5: contig -> MD5 of its upper-case sequence (SAM M5, refget).
        date: when it was fetched or registered, ISO 8601, UTC.
        version: of genoconv then.
        registered: whether its files are the user's own, elsewhere.
    """

    name: str
    fasta: Path
    annotation: Path | None
    files: tuple[StoredFile, ...]
    contigs: dict[str, int] = field(default_factory=dict)
    md5: dict[str, str] = field(default_factory=dict)
    date: str = ""
    version: str = __version__
    registered: bool = False


def folder_of(name: str) -> Path:
    """Folder of a genome, which need not exist."""
    check_name(name)
    return genomes_dir() / name


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_receipt(name: str, files: list[StoredFile], *, fasta: Fasta, registered: bool = False) -> Genome:
    """Record a genome whose files are in place; from now on it is here.

    Args:
        name: of the genome.
        files: the FASTA first, then the annotation if there is one.
        fasta: the FASTA, opened.
        registered: whether they are the user's own.
    """
    genome = Genome(
        name=name,
        fasta=Path(files[0].path),
        annotation=Path(files[1].path) if len(files) > 1 else None,
        files=tuple(files),
        contigs=dict(fasta.contigs),
        md5=fasta.digests(),
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        registered=registered,
    )
    record = {**asdict(genome), "fasta": files[0].path, "annotation": files[1].path if len(files) > 1 else None}
    atomic.write_text(folder_of(name) / RECEIPT, json.dumps(record, indent=2) + "\n")
    return genome


def stored(name: str) -> Genome | None:
    """The genome called ``name`` if its receipt is here and its files still have the sizes in it."""
    genome = _read(folder_of(name) / RECEIPT)
    if genome is None or any(_size(Path(file.path)) != file.bytes for file in genome.files):
        return None
    return genome


def receipts() -> Iterator[Genome]:
    """Every genome with a receipt, by name."""
    for path in sorted(genomes_dir().glob(f"*/{RECEIPT}")):
        genome = _read(path)
        if genome is not None:
            yield genome


def damage(genome: Genome) -> list[str]:
    """Everything that is not as the receipt says: missing, of another size, of another content."""
    problems = []
    for file in genome.files:
        path = Path(file.path)
        size = _size(path)
        if size is None:
            problems.append(f"{path} is missing")
        elif size != file.bytes:
            problems.append(f"{path} has {size:,} bytes, {file.bytes:,} are right")
        elif (found := sha256_of(path)) != file.sha256:
            problems.append(f"{path} is damaged: its sha256 is {found}, {file.sha256} is right")
    return problems


def register(name: str, *, fasta: Path, annotation: Path | None, force: bool) -> Genome:
    """Make a user's own files known by a name, without copying them.

    Raises:
        UsageError: there is a genome of that name.
        DataError: not DNA FASTA.
    """
    path = folder_of(name)
    if (path / RECEIPT).exists() and not force:
        raise UsageError(f"a genome {name} is here already; choose another name, or --force to replace its entry")
    opened = Fasta(fasta.resolve())
    files = [StoredFile.of(file.resolve(), url=str(file)) for file in (fasta, annotation) if file is not None]
    path.mkdir(parents=True, exist_ok=True)
    return write_receipt(name, files, fasta=opened, registered=True)


def recorded_checksum(url: str) -> str | None:
    """SHA-256 of what a url served at its first download from here."""
    value = _records().get(url)
    return value if isinstance(value, str) else None


def record_checksum(url: str, sha256: str) -> None:
    """Remember what a url served."""
    atomic.write_text(genomes_dir() / _RECORDED, json.dumps({**_records(), url: sha256}, indent=2) + "\n")


def _records() -> dict[str, Any]:
    try:
        values = json.loads((genomes_dir() / _RECORDED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _read(path: Path) -> Genome | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        files = tuple(StoredFile(**file) for file in values.pop("files"))
        fasta, annotation = Path(values.pop("fasta")), values.pop("annotation")
        return Genome(fasta=fasta, annotation=None if annotation is None else Path(annotation), files=files, **values)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); delete it and fetch or add the genome again") from None


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
