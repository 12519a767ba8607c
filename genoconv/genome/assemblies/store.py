"""The genomes on this machine: their folders, receipts and what was recorded of their downloads.

Layout, as genomepy's: ``<home>/genomes/<name>/<name>.fa``, its ``.fai`` and ``.sizes``, ``<name>.annotation.gtf.gz`` or
``.gff3.gz``. ``receipt.json`` is written last: a folder without it holds nothing that is believed.
"""

import datetime
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genoconv import __version__, atomic
from genoconv.digests import file_digest
from genoconv.errors import DataError, UsageError
from genoconv.genome.annotation.genes import read_genes
from genoconv.genome.assemblies.manifest import check_name
from genoconv.genome.cache import locked
from genoconv.genome.fasta.access import Fasta
from genoconv.paths import genomes_dir
from genoconv.progress import progress_bar
from genoconv.wording import count

log = logging.getLogger(__name__)

RECEIPT = "receipt.json"


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
    def of(
        cls,
        path: Path,
        *,
        url: str,
        download_sha256: str | None = None,
        where: Path | None = None,
        advance: Callable[[float], object] = lambda amount: None,
    ) -> "StoredFile":
        """Measure ``path``, which will lie at ``where``; ``advance`` receives the bytes read."""
        sha256 = file_digest(path, advance=advance)
        return cls(str(where or path), path.stat().st_size, sha256, url, download_sha256)


@dataclass(frozen=True)
class Genome:
    """A genome that is here.

    Attributes:
        name: of it.
        files: the FASTA, then the annotation if there is one.
        contigs: name -> length in bases.
        md5: contig -> MD5 of its upper-case sequence (SAM M5, refget).
        aliases: other name -> contig.
        genes: how many lie on its contigs; None without an annotation.
        date: when it was fetched or registered, ISO 8601, UTC.
        version: of genoconv then.
        registered: whether its files are the user's own, elsewhere.
    """

    name: str
    files: tuple[StoredFile, ...]
    contigs: Mapping[str, int]
    md5: Mapping[str, str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    genes: int | None = None
    date: str = ""
    version: str = __version__
    registered: bool = False

    @property
    def fasta(self) -> Path:
        """Of the sequence."""
        return Path(self.files[0].path)

    @property
    def annotation(self) -> Path | None:
        """Of the genes."""
        return Path(self.files[1].path) if len(self.files) > 1 else None

    def describe(self) -> str:
        """Sequences, bases and genes in words."""
        counts = {"sequence": len(self.contigs), "base": sum(self.contigs.values()), "gene": self.genes}
        return ", ".join(count(n, what) for what, n in counts.items() if n is not None)


def folder_of(name: str) -> Path:
    """Folder of a genome, which need not exist.

    Raises:
        UsageError: no genome can be called that.
    """
    check_name(name)
    return genomes_dir() / name


def write_receipt(genome: Genome) -> Genome:
    """Record a genome whose files are in place, as of now; from then on it is here.

    Files in the genome's folder are recorded by name, so that a cache may be moved, or be mounted elsewhere.
    """
    folder = folder_of(genome.name)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    record = {**asdict(genome), "date": now}
    for file in record["files"]:
        path = Path(file["path"])
        file["path"] = path.name if path.parent == folder else str(path)
    atomic.write_text(folder / RECEIPT, json.dumps(record, indent=2) + "\n")
    return _genome(record, folder)


def stored(name: str) -> Genome | None:
    """The genome called ``name`` if its receipt is here and its files still have the sizes in it.

    Raises:
        UsageError: no genome can be called that.
        DataError: the receipt is damaged.
    """
    genome = receipt(name)
    return genome if genome and all(_size(Path(file.path)) == file.bytes for file in genome.files) else None


def receipt(name: str) -> Genome | None:
    """The genome called ``name`` as its receipt has it, whatever has become of its files; None without one.

    Raises:
        UsageError: no genome can be called that.
        DataError: the receipt is damaged.
    """
    path = folder_of(name) / RECEIPT
    try:
        return _genome(json.loads(path.read_text(encoding="utf-8")), path.parent)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); delete it and fetch or add the genome again") from None


def receipts() -> Iterator[Genome]:
    """Every genome with a receipt, by name; a damaged receipt is logged and skipped."""
    for path in sorted(genomes_dir().glob(f"*/{RECEIPT}")):
        try:
            genome = receipt(path.parent.name)
        except (DataError, UsageError) as error:
            log.warning("%s", error)
            continue
        if genome is not None:
            yield genome


def damage(genome: Genome, *, advance: Callable[[float], object] = lambda amount: None) -> list[str]:
    """Everything that is not as the receipt says: missing, of another size, of another content.

    ``advance`` receives the bytes read.
    """
    problems = []
    for file in genome.files:
        path = Path(file.path)
        size = _size(path)
        if size is None:
            problems.append(f"{path} is missing")
        elif size != file.bytes:
            problems.append(f"{path}: expected {file.bytes:,} bytes, got {size:,}")
        elif (found := file_digest(path, advance=advance)) != file.sha256:
            problems.append(f"{path} is damaged: expected sha256 {file.sha256}, got {found}")
    return problems


def register(name: str, *, fasta: Path, annotation: Path | None, force: bool, quiet: bool = True) -> Genome:
    """Make a user's own files known by a name, without copying them. Everything is read before anything is written.

    Raises:
        UsageError: there is a genome of that name.
        DataError: not DNA FASTA, or genes that do not fit to it.
        OSError: a file cannot be read.
    """
    path = folder_of(name)
    if (path / RECEIPT).exists() and not force:
        raise UsageError(
            f"a genome named {name} already exists; choose another name, or pass --force to replace its entry"
        )
    opened = Fasta(fasta.resolve())
    genes = None if annotation is None else len(read_genes(annotation, contigs=opened.contigs, fasta=fasta))
    given = [file for file in (fasta, annotation) if file is not None]
    total = sum(opened.contigs.values()) + sum(file.stat().st_size for file in given)
    with progress_bar(f"Reading {name}", total=total, as_bytes=True, quiet=quiet) as advance:
        genome = Genome(
            name=name,
            files=tuple(StoredFile.of(file.resolve(), url=str(file), advance=advance) for file in given),
            contigs=opened.contigs,
            md5=sequence_digests(opened, advance=advance),
            genes=genes,
            registered=True,
        )
    with locked(path, waiting=f"another process is writing {name}; waiting for it"):
        return write_receipt(genome)


def sequence_digests(fasta: Fasta, *, advance: Callable[[float], object]) -> dict[str, str]:
    """:meth:`.Fasta.digests`; ``advance`` receives the bases read."""
    digests = {}
    for contig, length in fasta.contigs.items():
        digests[contig] = fasta.digest(contig)
        advance(length)
    return digests


def _genome(values: dict[str, Any], folder: Path) -> Genome:
    files = tuple(StoredFile(**{**file, "path": str(folder / file["path"])}) for file in values["files"])
    return Genome(**{**values, "files": files})


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
