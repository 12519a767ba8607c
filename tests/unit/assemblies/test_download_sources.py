"""Downloads from several sources, mirrors and servers that are not to be trusted."""

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from downloads import CONTENT, MIRROR, OTHER, PATH, QUICK, SIZE, Downloads, md5, sha256
from loopback import Loopback, Reply

from genoconv.errors import DataError, DownloadError, OutputError, UsageError
from genoconv.genome.assemblies.manifest import RemoteFile
from genoconv.genome.assemblies.transfer.download import (
    download,
    mirror_base,
    on_mirror,
    parse_md5_list,
    with_listed_md5,
)
from genoconv.genome.assemblies.transfer.http import _offered
from genoconv.genome.assemblies.transfer.network import Patience, answer, read_small, refuse_downgrade, retry_after


@pytest.mark.parametrize(
    "urls", [["http://x.org/a.gz"], ["https://x.org/a.gz", "http://y.org/a.gz", "https://z.org/a"]]
)
def test_a_redirect_from_https_to_http_is_refused(urls: list[str]) -> None:
    hops: list[Any] = [SimpleNamespace(url=url, history=[]) for url in urls]
    hops[-1].history = hops[:-1]
    refuse_downgrade("http://here.org/a.gz", hops[-1])
    with pytest.raises(DownloadError, match=r"from https to http://[xy]\.org/a\.gz"):
        refuse_downgrade("https://here.org/a.gz", hops[-1])
    hops[-1].history, hops[-1].url = [], "https://z.org/a"
    refuse_downgrade("https://here.org/a.gz", hops[-1])


def test_the_next_source_helps_out(
    files: Downloads, server: Loopback, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    server.always[PATH] = Reply(status=404)
    found = files.run(server.url(PATH), server.url(MIRROR), md5=md5(CONTENT))
    assert found.url == server.url(MIRROR)
    assert files.is_right()
    assert "the server answered 404 Not Found; trying the next source" in caplog.text


def test_what_another_source_sent_is_not_built_on(files: Downloads, server: Loopback) -> None:
    server.files[PATH] = OTHER
    server.plan[PATH] = [Reply(cut=100_000), *[Reply(status=503)] * QUICK.attempts]
    files.run(server.url(PATH), server.url(MIRROR), md5=md5(CONTENT))
    assert files.is_right()
    assert server.asked(MIRROR) == [None]


def test_every_source_that_fails_is_named(files: Downloads, server: Loopback) -> None:
    server.always[PATH] = Reply(status=403)
    server.always[MIRROR] = Reply(flip=0)
    match = f"{PATH}: the server answered 403 Forbidden; .*{MIRROR}: damaged: .*. Run the command again, .*--mirror"
    files.fails(server.url(PATH), server.url(MIRROR), match=match, md5=md5(CONTENT))


@pytest.mark.parametrize("record", [None, "{", "[]", '{"url": "http://other.org/a.fa.gz", "version": "x"}', "too long"])
def test_a_part_of_unknown_origin_is_not_built_on(files: Downloads, server: Loopback, record: str | None) -> None:
    files.leave_part(OTHER + OTHER if record == "too long" else OTHER[:100_000])
    path = files.folder / "a.fa.gz.part.json"
    if record is None:
        path.unlink()
    elif record != "too long":
        path.write_text(record)
    files.run()
    assert files.is_right()
    assert server.asked(PATH) == [None]


def test_a_part_that_was_whole_is_not_fetched_again(files: Downloads, server: Loopback) -> None:
    files.leave_part(CONTENT, version=None)
    files.run(md5=md5(CONTENT))
    assert files.is_right()
    assert server.requests == []


def test_a_finished_file_is_checked_and_not_fetched_again(files: Downloads, server: Loopback) -> None:
    files.target.write_bytes(CONTENT)
    assert files.run(md5=md5(CONTENT)).sha256 == sha256(CONTENT)
    assert server.requests == []
    files.target.write_bytes(OTHER)
    files.run(md5=md5(CONTENT))
    assert files.is_right()
    assert server.asked(PATH) == [None]


def test_a_server_that_has_lost_the_rest_starts_again(files: Downloads, server: Loopback) -> None:
    server.plan[PATH] = [Reply(cut=100_000), Reply(status=416)]
    files.run(md5=md5(CONTENT))
    assert files.is_right()
    assert server.asked(PATH) == [None, "bytes=100000-", None]


def test_what_was_recorded_holds_where_nothing_is_pinned(files: Downloads, server: Loopback) -> None:
    files.run(recorded=sha256(CONTENT))
    files.target.unlink()
    server.files[PATH] = OTHER
    files.fails(match=f"{sha256(CONTENT)} was recorded when it was first fetched.*--record", recorded=sha256(CONTENT))
    files.run(recorded=sha256(CONTENT), md5=md5(OTHER))
    assert files.is_right(OTHER)


def test_content_that_is_not_accepted_counts_as_damaged(files: Downloads, server: Loopback) -> None:
    looked_at = []

    def accept(path: Path) -> None:
        looked_at.append(path.read_bytes())
        if len(looked_at) == 1:
            raise DataError("no genome")

    download(
        RemoteFile(urls=[server.url(PATH)]),
        files.target,
        sources=(server.url(PATH),),
        patience=QUICK,
        accept=accept,
    )
    assert looked_at == [CONTENT, CONTENT]
    assert server.asked(PATH) == [None, None]


def test_a_refused_connection_names_its_reason(files: Downloads) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        files.fails(f"http://127.0.0.1:{port}/a.fa.gz", match=r"gave up after 4 tries: .*Connection refused")


def test_no_network_is_said_at_once(
    files: Downloads, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    files.fails("https://genomes.invalid/a.fa.gz", match=r"Failed to resolve 'genomes.invalid'.*--mirror")
    assert "trying again" not in caplog.text


def test_a_folder_serves_as_a_mirror(files: Downloads, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("mirror of ours")
    remote = RemoteFile(urls=["https://genomes.invalid/x/a.fa.gz"], md5=md5(CONTENT))
    url = on_mirror(remote, mirror_base(str(folder)))
    with pytest.raises(DownloadError, match="does not exist"):
        files.run(url)
    (folder / "a.fa.gz").write_bytes(CONTENT)
    files.run(url, md5=md5(CONTENT))
    assert files.is_right()
    (folder / "a.fa.gz").write_bytes(OTHER)
    files.target.unlink()
    files.fails(url, match="damaged", md5=md5(CONTENT))


@pytest.mark.parametrize("mirror", ["s3://bucket", "ftp://host/x", "/no/such/folder", "data.txt"])
def test_mirrors_that_cannot_be_asked_are_refused(mirror: str) -> None:
    with pytest.raises(UsageError, match=f"--mirror {mirror}: "):
        mirror_base(mirror)


def test_providers_lists_are_read_as_they_write_them() -> None:
    a, b, c = "a" * 32, "b" * 32, "c" * 32
    text = f"{a}  sacCer3.fa.gz\n{b}  ./GCF_genomic.fna.gz\nmd5 of *\n{c.upper()} *x.gz\nnothing\n{'g' * 32} y\n\n"
    assert parse_md5_list(text) == {"sacCer3.fa.gz": a, "GCF_genomic.fna.gz": b, "x.gz": c}


def test_a_providers_list_is_asked_where_nothing_is_pinned(server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    remote = RemoteFile(urls=[server.url(PATH)], md5_list=server.url("/genomes/md5sum.txt"))
    server.files["/genomes/md5sum.txt"] = f"{md5(CONTENT)}  a.fa.gz\n".encode()
    assert with_listed_md5(remote).md5 == md5(CONTENT)
    assert caplog.text == ""
    server.files["/genomes/md5sum.txt"] = f"{md5(CONTENT)}  b.fa.gz\n".encode()
    assert with_listed_md5(remote) == remote
    assert "does not list a.fa.gz" in caplog.text
    del server.files["/genomes/md5sum.txt"]
    assert with_listed_md5(remote) == remote
    assert "answered 404" in caplog.text
    count = len(server.requests)
    pinned = remote.model_copy(update={"sha256": sha256(CONTENT)})
    assert with_listed_md5(pinned) == pinned
    assert len(server.requests) == count


@pytest.mark.parametrize("text", ["soon", "-1", "inf", "nan"])
def test_an_odd_wait_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENOCONV_RETRY_WAIT", text)
    with pytest.raises(UsageError, match=f"GENOCONV_RETRY_WAIT={text}"):
        Patience.from_environment()


NOWHERE = [
    "http://[::1", "https://[", "http://a..b/x", "http://.example.com/x", f"http://{'a' * 300}/x", "http://user@:80/x",
    "http://127.0.0.1:99999/x", "http://127.0.0.1:port/x", "ftp://x/y", "file:///etc/passwd", "http://\xff\xfe/",
    "\xff\xfe", "http://\x7f/",
]  # fmt: skip


@pytest.mark.parametrize("location", NOWHERE)
def test_a_redirect_to_no_address_is_one_error(files: Downloads, server: Loopback, location: str) -> None:
    server.always[PATH] = Reply(status=302, headers={"Location": location})
    with pytest.raises(DownloadError) as error:
        files.run()
    assert str(error.value).isprintable()
    with pytest.raises(DownloadError):
        read_small(server.url(PATH))


@pytest.mark.parametrize("length", ["9" * 4400, "²", "-5", "x"])
def test_a_length_that_is_none_is_not_believed(length: str) -> None:
    headers = {"Content-Length": length, "Content-Range": f"bytes 0-5/{length}", "Retry-After": length}
    for status in (200, 206):
        assert _offered(SimpleNamespace(status_code=status, headers=headers)) is None  # type: ignore[arg-type]
    retry_after(SimpleNamespace(headers=headers))  # type: ignore[arg-type]


def test_words_of_a_server_are_shown_and_not_obeyed(files: Downloads, server: Loopback) -> None:
    assert answer(SimpleNamespace(status_code=500, reason="\x1b]0;owned\x07")) == r"500 \x1b]0;owned\x07"  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a.fa.gz", "a.fa.gz.part", "a.fa.gz.part.json"])
@pytest.mark.parametrize("hard", [False, True])
def test_planted_links_are_not_written_through(files: Downloads, tmp_path: Path, name: str, hard: bool) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    files.folder = tmp_path / "work"
    files.folder.mkdir()
    files.target = files.folder / "a.fa.gz"
    (files.folder / name).hardlink_to(precious) if hard else (files.folder / name).symlink_to(precious)
    if name.endswith(".json"):  # replaced, never written
        files.run(bytes=SIZE)
        assert files.target.read_bytes() == CONTENT
    else:
        with pytest.raises(OutputError, match=r"a\.fa\.gz.*(a symbolic link has the name|but is a hard link)"):
            files.run(bytes=SIZE)
    assert precious.read_bytes() == b"mine"
