"""Downloads from the hub, against a server on loopback that speaks its protocol; and life without the extra."""

import hashlib
import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from published_checkpoints import random_tensors, write_hf

from genoconv.errors import DownloadError, ModelError, UsageError
from genoconv.models.published import hub
from genoconv.pipelines.models.run import import_model

REPOSITORY = "someone/hyenadna-mini-hf"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEEDS_HUB = pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed (extra `hub`)"
)


class Hub(ThreadingHTTPServer):
    """Serves one repository at one commit; ``served`` may be set to other bytes than ``listed`` promises."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.listed = dict(files)
        self.served = dict(files)
        self.requests: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.server.requests.append(self.path)
        path = self.path.split("?")[0]
        if path in (f"/api/models/{REPOSITORY}", *(f"/api/models/{REPOSITORY}/revision/{r}" for r in ("main", COMMIT))):
            siblings = [_sibling(name, content) for name, content in self.server.listed.items()]
            content = json.dumps({"id": REPOSITORY, "sha": COMMIT, "siblings": siblings}).encode()
            self._send(200, content, body, {"Content-Type": "application/json"})
        elif path.startswith(f"/{REPOSITORY}/resolve/{COMMIT}/"):
            content = self.server.served[path.rsplit("/", 1)[1]]
            etag = hashlib.sha256(self.server.listed[path.rsplit("/", 1)[1]]).hexdigest()
            self._send(200, content, body, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        else:
            self._send(404, b'{"error": "not found"}', body, {"X-Error-Code": "RepoNotFound"})

    def _send(self, status: int, content: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _sibling(name: str, content: bytes) -> dict[str, object]:
    """A file as the hub lists it: git's hash for small ones, SHA-256 beside it for those in large-file storage."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": blob}
    if name.endswith(".safetensors"):
        digest = hashlib.sha256(content).hexdigest()
        entry |= {"blobId": "0" * 40, "lfs": {"sha256": digest, "size": len(content), "pointerSize": 134}}
    return entry


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hub]:
    source = write_hf(tmp_path / "source", random_tensors())
    server = Hub({path.name: path.read_bytes() for path in source.iterdir()})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def at_server(server: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """``server`` is the hub of this process."""
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("GENOCONV_HOME", str(home))
    return server


@NEEDS_HUB
def test_a_repository_is_imported_at_one_recorded_commit(at_server: Hub, home: Path) -> None:
    server = at_server
    import_model(REPOSITORY, home / "model")
    source = json.loads((home / "model/config.json").read_text())["provenance"]["source"]
    assert source["repository"] == REPOSITORY
    assert source["revision"] == COMMIT
    weights = hashlib.sha256(server.listed["model.safetensors"]).hexdigest()
    assert source["files"]["model.safetensors"]["sha256"] == weights
    fetched = [path for path in server.requests if "/resolve/" in path]
    assert fetched
    assert all(f"/resolve/{COMMIT}/" in path for path in fetched), "files come from the commit, not from a branch"


@NEEDS_HUB
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_is_not_the_listed_one_is_refused(at_server: Hub, name: str) -> None:
    content = bytearray(at_server.listed[name])
    content[-2] ^= 1
    at_server.served[name] = bytes(content)
    with pytest.raises(DownloadError, match=f"{name} has hash"):
        hub.download(REPOSITORY)
    at_server.served[name] = at_server.listed[name]
    fetched = hub.download(REPOSITORY, revision="main")
    assert fetched.revision == COMMIT, "a branch is pinned to the commit that it is"
    assert (fetched.folder / name).read_bytes() == at_server.listed[name], "the damaged file stayed in the cache"


@NEEDS_HUB
def test_the_hash_known_here_counts_for_more_than_the_hubs(at_server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for known, refused in (
        ("0" * 64, True),
        (hashlib.sha256(at_server.listed["model.safetensors"]).hexdigest(), False),
    ):
        model = hub.PublishedModel("tiny-1k", REPOSITORY, revision=COMMIT, sha256=known)
        monkeypatch.setattr(hub, "PUBLISHED", {"tiny-1k": model})
        if refused:
            with pytest.raises(DownloadError, match="not the published file"):
                hub.download(REPOSITORY)
        else:
            assert hub.download(REPOSITORY).revision == COMMIT


@NEEDS_HUB
def test_what_is_not_there_is_said(at_server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownloadError, match="someone/else"):
        hub.download("someone/else")
    with pytest.raises(UsageError, match="neither a folder nor"):
        hub.download("a/b/c")
    del at_server.listed["model.safetensors"]
    with pytest.raises(ModelError, match="no HyenaDNA checkpoint"):
        hub.download(REPOSITORY)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="is there a network"):
        hub.download(REPOSITORY)


def test_without_the_extra_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "huggingface_hub" else find_spec(name)
    )
    with pytest.raises(UsageError, match=r"pip install 'genoconv\[hub\]'"):
        hub.download(REPOSITORY)


def test_pinned_models_name_a_commit_and_a_hash() -> None:
    pinned = [model for model in hub.PUBLISHED.values() if model.revision]
    assert {model.name for model in pinned} >= {"medium-160k", "large-1m"}
    for model in pinned:
        assert len(model.revision or "") == 40
        assert len(model.sha256 or "") == 64
