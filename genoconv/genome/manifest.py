"""What genoconv knows of a genome before it has it: one TOML file each, shipped or the user's own."""

import difflib
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genoconv.errors import DataError, UsageError
from genoconv.paths import shipped

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes:
        urls: where from, best first; all serve the same bytes.
        bytes: size as served; None where unknown.
        md5, sha256: hexadecimal, of the file as served; None where unknown: then the first download is recorded and
            later ones are held against it.
        unpacked_sha256: of the decompressed content.
    """

    urls: tuple[str, ...]
    bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None
    unpacked_sha256: str | None = None

    @property
    def name(self) -> str:
        """Last part of the first url."""
        return self.urls[0].rstrip("/").rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Manifest:
    """One genome.

    Attributes:
        name: what it is called here.
        title, licence, source: for people.
        fasta: None for a genome that genoconv makes itself.
        annotation: genes, GTF or GFF3; None where there is none.
        contigs: name -> length in bases of the main sequences; a fetched FASTA must have them.
        sequences, total: how many sequences the FASTA has and their bases together; None where unknown.
        md5: contig -> MD5 of its upper-case sequence (refget), where known.
        aliases: other name -> contig name, beyond what every genome's contigs answer to.
        path: the file that said so.
    """

    name: str
    title: str
    licence: str
    source: str
    fasta: RemoteFile | None
    annotation: RemoteFile | None
    path: Path
    contigs: dict[str, int] = field(default_factory=dict)
    sequences: int | None = None
    total: int | None = None
    md5: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)


def manifest_folders() -> list[Path]:
    """Where manifests are: the user's folder (``GENOCONV_MANIFESTS``) first, then those that ship."""
    own = os.environ.get("GENOCONV_MANIFESTS")
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


def load_manifest(name: str) -> Manifest:
    """The manifest called ``name``.

    Raises:
        UsageError: there is none; the nearest name is suggested.
        DataError: it is damaged.
    """
    check_name(name)
    for folder in manifest_folders():
        path = folder / f"{name}.toml"
        if path.is_file():
            return read_manifest(path)
    raise UsageError(unknown_genome(name, (manifest.name for manifest in list_manifests())))


def unknown_genome(name: str, known: Any) -> str:
    """The message for a genome that is not there."""
    names = list(known)
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
    return f"no genome {name!r}: {hint} Your own: genoconv genomes add {name} --fasta FILE"


def check_name(name: str) -> None:
    """Raise :class:`UsageError` unless ``name`` can name a genome, and so a folder."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"genome name {name!r}: use letters, digits, '.', '_' and '-', beginning with a letter or digit"
        )


def read_manifest(path: Path) -> Manifest:
    """Read one manifest file.

    Raises:
        DataError: not TOML, a key is missing, unknown or of the wrong kind.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not TOML: {error}") from None
    try:
        known = {name: values.pop(name) for name in ("title", "licence", "source")}
        fasta, annotation = (values.pop(name, None) for name in ("fasta", "annotation"))
        tables = {name: values.pop(name, {}) for name in ("contigs", "md5", "aliases")}
        sums = {name: values.pop(name, None) for name in ("sequences", "total")}
        if values:
            raise DataError(f"{path}: unknown key {next(iter(values))!r}")
        return Manifest(
            name=path.stem,
            fasta=None if fasta is None else _remote(fasta),
            annotation=None if annotation is None else _remote(annotation),
            path=path,
            **known,
            **tables,
            **sums,
        )
    except KeyError as error:
        raise DataError(f"{path}: the key {error.args[0]!r} is missing") from None
    except (TypeError, AttributeError) as error:
        raise DataError(f"{path}: {error}") from None


def _remote(values: dict[str, Any]) -> RemoteFile:
    urls = values.pop("urls")
    if not isinstance(urls, list) or not urls or not all(isinstance(url, str) for url in urls):
        raise TypeError("urls must be a list of at least one address")
    return RemoteFile(tuple(urls), **values)
