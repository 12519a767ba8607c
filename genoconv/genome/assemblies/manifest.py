"""What genoconv knows of a genome before it has it: one TOML file each, shipped or the user's own."""

import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from genoconv.errors import DataError, UsageError
from genoconv.paths import shipped
from genoconv.wording import nearest, printable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LARGEST = 1 << 20
"""Bytes of a manifest."""
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"{url!r} is not an address that begins with https:// or http://")
    if not _FILE_NAME.fullmatch(name_in_url(url)):
        raise ValueError(f"{url!r} does not end in a file name of letters, digits, '.', '_', '+' and '-'")
    return url


def name_in_url(url: str) -> str:
    """Last part of a url's path, undecoded."""
    return urlsplit(url).path.rpartition("/")[2]


Url = Annotated[str, AfterValidator(_check_url)]
Count = Annotated[int, Field(strict=True, gt=0)]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class RemoteFile(BaseModel):
    """A file to download.

    Attributes:
        urls: where from, best first; all serve the same bytes.
        bytes: size as served; None where unknown.
        md5, sha256: hexadecimal, of the file as served.
        unpacked_sha256: of the decompressed content. Where none of the three is known, the first download is recorded
            and later ones are held against it.
        md5_list: the provider's own list of MD5 sums (``md5  name`` lines), asked where none of the three is known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    urls: tuple[Url, ...] = Field(min_length=1)
    bytes: Count | None = None
    md5: Md5 | None = None
    sha256: Sha256 | None = None
    unpacked_sha256: Sha256 | None = None
    md5_list: Url | None = None

    @property
    def name(self) -> str:
        """What the file is called on disk: the last part of the first url, which cannot leave a folder."""
        return name_in_url(self.urls[0])

    @property
    def pinned(self) -> bool:
        """Whether the manifest knows a checksum of it as it is served."""
        return self.md5 is not None or self.sha256 is not None

    @property
    def known(self) -> bool:
        """Whether the manifest knows a checksum of it, as it is served or unpacked."""
        return self.pinned or self.unpacked_sha256 is not None


class Manifest(BaseModel):
    """One genome.

    Attributes:
        name: what it is called here: the manifest's file name.
        path: the manifest.
        title, licence, source: for people.
        generated: whether genoconv makes it itself (the demo) instead of downloading it.
        fasta: None for a generated genome alone.
        annotation: genes, GTF or GFF3; None where there is none.
        sequences, total: how many sequences the FASTA has and their bases together; None where unknown.
        contigs: name -> length in bases of the main sequences; a fetched FASTA must have them.
        md5: contig -> MD5 of its upper-case sequence (refget), where known.
        aliases: other name -> contig name, beyond what every genome's contigs answer to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    path: Path
    title: str
    licence: str
    source: str
    generated: bool = False
    fasta: RemoteFile | None = None
    annotation: RemoteFile | None = None
    sequences: Count | None = None
    total: Count | None = None
    contigs: dict[str, Count] = {}
    md5: dict[str, Md5] = {}
    aliases: dict[str, str] = {}

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "Manifest":
        if self.generated == (self.fasta is not None):
            raise ValueError("a genome is either generated or has a [fasta] table with urls")
        for table, names in (("md5", self.md5), ("aliases", self.aliases.values())):
            if strange := [name for name in names if name not in self.contigs]:
                raise ValueError(f"[{table}] names {strange[0]!r}, which [contigs] lacks")
        bases = sum(self.contigs.values())
        whole = self.sequences == len(self.contigs)
        if self.sequences is not None and self.sequences < len(self.contigs):
            raise ValueError(f"[contigs] has {len(self.contigs)} sequences, more than sequences = {self.sequences}")
        if self.total is not None and (bases > self.total or (whole and bases != self.total)):
            raise ValueError(f"[contigs] has {bases:,} bases, which does not fit total = {self.total:,}")
        return self


def manifest_folders() -> list[Path]:
    """Where manifests are: the user's folder (``GENOCONV_MANIFESTS``) first, then those that ship.

    Raises:
        UsageError: ``GENOCONV_MANIFESTS`` names no folder.
    """
    own = os.environ.get("GENOCONV_MANIFESTS")
    if own and not Path(own).is_dir():
        raise UsageError(f"GENOCONV_MANIFESTS={own}: no such folder; create it or unset the variable")
    return [*([Path(own)] if own else []), shipped("data_manifests")]


def list_manifests() -> list[Manifest]:
    """Every manifest, by name; the user's hide shipped ones of the same name.

    Raises:
        DataError: one is damaged; the file and the key are named.
    """
    paths: dict[str, Path] = {}
    for folder in reversed(manifest_folders()):
        paths.update({path.stem: path for path in folder.glob("*.toml")})
    return [read_manifest(paths[name]) for name in sorted(paths)]


def find_manifest(name: str) -> Manifest | None:
    """The manifest called ``name``, None if there is none.

    Raises:
        UsageError: no genome can be called that.
        DataError: it is damaged.
    """
    check_name(name)
    path = next((p for folder in manifest_folders() if (p := folder / f"{name}.toml").is_file()), None)
    return None if path is None else read_manifest(path)


def unknown_genome(name: str, known: Iterable[str]) -> UsageError:
    """The error for a genome that is neither known nor here; suggests the nearest name."""
    names = sorted(known)
    near = nearest(name.lower(), names)
    hint = f"did you mean {near}?" if near else f"known genomes: {', '.join(names)};"
    return UsageError(
        f"no genome named {name!r}: {hint} to register your own, run: genoconv genomes add {name} --fasta FILE"
    )


def check_name(name: str) -> None:
    """Raise :class:`UsageError` unless ``name`` can name a genome, and so a folder."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"genome name {name!r}: use letters, digits, '.', '_' and '-', beginning with a letter or digit"
        )


def read_manifest(path: Path) -> Manifest:
    """Read one manifest file.

    Raises:
        DataError: not TOML; a key is missing, unknown or of the wrong kind; numbers that contradict each other.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise DataError(f"{path}: larger than {_LARGEST:,} bytes, too large for a manifest")
        values = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # bytes, syntax, numbers without end
        raise DataError(f"{path}: not TOML: {printable(str(error))}") from None
    if not _NAME.fullmatch(path.stem):
        raise DataError(f"{path}: {path.stem!r} cannot name a genome; rename the file")
    for key in ("name", "path"):
        if key in values:
            raise DataError(f"{path}: unknown key {key!r}; a genome has the name of its file")
    try:
        return Manifest.model_validate({**values, "name": path.stem, "path": path})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise DataError(f"{path}: unknown key {key!r}") from None
        if first["type"] == "missing":
            raise DataError(f"{path}: the key {key!r} is missing") from None
        what = first["msg"].removeprefix("Value error, ")
        raise DataError(f"{path}: {key}: {what}" if key else f"{path}: {what}") from None
