"""The published HyenaDNA models by name, and their download from the Hugging Face hub at one commit, verified."""

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genoconv import paths
from genoconv.digests import file_digest
from genoconv.errors import DownloadError, GenoconvError, ModelError, UsageError
from genoconv.models.published.layouts import HF, ORIGINAL


@dataclass(frozen=True)
class PublishedModel:
    """A model that HyenaDNA's authors published.

    Attributes:
        name: the preset with its sizes.
        repository: on the hub, transformers layout.
        revision: commit that a download takes; None is the newest, which is then recorded.
        sha256: of its weights file at that commit; None is not known beforehand.
        genome: what it was trained on, as ``genoconv genomes`` calls it.
    """

    name: str
    repository: str
    revision: str | None = None
    sha256: str | None = None
    genome: str = "hg38"


PUBLISHED = {
    model.name: model
    for model in (
        PublishedModel("tiny-1k", "LongSafari/hyenadna-tiny-1k-seqlen-hf"),
        PublishedModel("tiny-1k-d256", "LongSafari/hyenadna-tiny-1k-seqlen-d256-hf"),
        PublishedModel("tiny-16k", "LongSafari/hyenadna-tiny-16k-seqlen-d128-hf"),
        PublishedModel("small-32k", "LongSafari/hyenadna-small-32k-seqlen-hf"),
        PublishedModel(
            "medium-160k",
            "LongSafari/hyenadna-medium-160k-seqlen-hf",
            revision="7ebf71773d22c0ede2cc55cb2be15ee8c289e1ce",
            sha256="16685b36caf5d144da391f1b540ed47e89d79b3efd38899325492f174b8e852a",
        ),
        PublishedModel("medium-450k", "LongSafari/hyenadna-medium-450k-seqlen-hf"),
        PublishedModel(
            "large-1m",
            "LongSafari/hyenadna-large-1m-seqlen-hf",
            revision="0a629abf9c7f85b4ec9aa6a1aefa3adcf1907446",
            sha256="deafb53209bfafb314d14bd81108546a34d473c07ed7ab7a355674376b56ad12",
        ),
    )
}


@dataclass(frozen=True)
class Download:
    """A checkpoint from the hub: the folder it lies in, and the commit that it is."""

    folder: Path
    repository: str
    revision: str


def download(repository: str, *, revision: str | None = None) -> Download:
    """Fetch the configuration and weights of a repository, at one commit, into genoconv's own cache.

    Every file is compared with the size and hash that the hub lists for that commit, and the weights with the hash
    known here, if one is. The hub's address is taken from ``HF_ENDPOINT``, a token for private repositories from
    where ``hf auth login`` keeps it.

    Args:
        repository: "owner/name".
        revision: commit, branch or tag; None is the commit known here, else the newest.

    Raises:
        UsageError: the extra ``hub`` is not installed.
        DownloadError: no such repository or revision, no network, or what arrived is not what was listed.
        ModelError: the repository holds no HyenaDNA weights.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UsageError(
            f"{repository}: no such folder, and fetching it from the hub needs huggingface_hub: "
            "pip install 'genoconv[hub]'; or download the repository yourself and import its folder"
        )
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    known = next((model for model in PUBLISHED.values() if model.repository == repository), None)
    wanted = revision or (known.revision if known else None)
    try:
        endpoint = os.environ.get("HF_ENDPOINT")
        info = huggingface_hub.HfApi(endpoint=endpoint).model_info(repository, revision=wanted, files_metadata=True)
        listed = {entry.rfilename: entry for entry in info.siblings or []}
        weights = next((name for name in (*HF.weights, *ORIGINAL.weights) if name in listed), None)
        if weights is None or "config.json" not in listed:
            raise ModelError(f"{repository}: holds no HyenaDNA checkpoint (config.json and {HF.weights[0]})")
        for name in ("config.json", weights):
            path = Path(
                huggingface_hub.hf_hub_download(
                    repository,
                    name,
                    revision=info.sha,
                    cache_dir=paths.home_dir() / "hub",
                    library_name="genoconv",
                    endpoint=endpoint,
                )
            )
            _verify(path, listed[name], where=f"{repository}@{info.sha}")
    except HFValidationError as error:
        raise UsageError(f"{repository!r} is neither a folder nor a repository's name: {error}") from error
    except HfHubHTTPError as error:
        reason = str(error).strip().split("\n")[0]
        raise DownloadError(f"{repository}{f'@{wanted}' if wanted else ''}: {reason}") from error
    except GenoconvError:
        raise
    except Exception as error:  # no network, a time-out, a full disk: its transport's errors change with its version
        raise DownloadError(f"{repository}: cannot be fetched: {error}; is there a network?") from error
    if known and known.sha256 and info.sha == known.revision and file_digest(path) != known.sha256:
        raise DownloadError(f"{repository}@{info.sha}: {weights} is not the published file (sha256 {known.sha256})")
    return Download(path.parent, repository, str(info.sha))


def _verify(path: Path, entry: Any, *, where: str) -> None:
    """Compare a file with the hub's list: large files by SHA-256, small ones by git's own hash of their content."""
    size = path.stat().st_size
    if entry.size is not None and entry.size != size:
        _discard(path)
        raise DownloadError(f"{where}: {path.name} has {size:,} bytes, but the hub lists {entry.size:,}; try again")
    if entry.lfs is not None:
        listed, found = entry.lfs.sha256, file_digest(path)
    else:
        listed, found = entry.blob_id, hashlib.sha1(b"blob %d\0" % size + path.read_bytes()).hexdigest()
    if listed != found:
        _discard(path)
        raise DownloadError(f"{where}: {path.name} has hash {found}, but the hub lists {listed}; try again")


def _discard(path: Path) -> None:
    """Remove a file from the cache, and what its name there links to."""
    content = path.resolve()
    path.unlink()
    content.unlink(missing_ok=True)
