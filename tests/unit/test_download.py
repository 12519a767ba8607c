"""Downloads from a server on loopback that drops, lies, changes and tires: the right bytes, or one error, no file."""

import email.utils
import hashlib
import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from loopback import Loopback, Reply, etag

from genoconv.errors import DataError, DownloadError, OutputError, UsageError
from genoconv.genome.assemblies.manifest import RemoteFile
from genoconv.genome.assemblies.transfer.download import (
    Fetched,
    download,
    mirror_base,
    on_mirror,
    parse_md5_list,
    with_listed_md5,
)
from genoconv.genome.assemblies.transfer.http import _offered
from genoconv.genome.assemblies.transfer.network import Patience, answer, read_small, refuse_downgrade, retry_after
from genoconv.genome.assemblies.transfer.part import Advance

SIZE = 300_000
CONTENT = random.Random(1).randbytes(SIZE)
OTHER = random.Random(2).randbytes(SIZE)
ETAG = etag(CONTENT)
PATH = "/genomes/a.fa.gz"
MIRROR = "/mirror/a.fa.gz"
QUICK = Patience(attempts=4, first_wait=0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("NO_PROXY", "*")
    with Loopback({PATH: CONTENT, MIRROR: CONTENT}) as running:
        yield running


class Downloads:
    """Downloads into one folder, with a tally of what the progress bar received."""

    def __init__(self, server: Loopback, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.target = folder / "a.fa.gz"
        self.progress = 0.0
        self.highest = 0.0

    def advance(self, amount: float) -> None:
        self.progress += amount
        self.highest = max(self.highest, self.progress)

    def bar(self) -> AbstractContextManager[Advance]:
        self.progress = 0.0
        return nullcontext(self.advance)

    def run(self, *sources: str, recorded: str | None = None, **known: Any) -> Fetched:
        urls = sources or (self.server.url(PATH),)
        return download(
            RemoteFile(urls=[self.server.url(PATH)], **known),
            self.target,
            sources=urls,
            patience=QUICK,
            recorded=recorded,
            progress=self.bar,
        )

    def leave_part(self, content: bytes, *, version: str | None = ETAG) -> None:
        """What an earlier run left, of a file that was the size of CONTENT."""
        state = {"url": self.server.url(PATH), "version": version, "bytes": SIZE}
        (self.folder / "a.fa.gz.part").write_bytes(content)
        (self.folder / "a.fa.gz.part.json").write_text(json.dumps(state))

    def fails(self, *sources: str, match: str, **known: Any) -> None:
        with pytest.raises(DownloadError, match=match):
            self.run(*sources, **known)
        assert not self.target.exists()

    def is_right(self, content: bytes = CONTENT) -> bool:
        """Whether the target has the content, nothing else lies there, and the progress reported it."""
        assert self.progress == len(content)
        return self.target.read_bytes() == content and list(self.folder.iterdir()) == [self.target]


@pytest.fixture
def files(server: Loopback, tmp_path: Path) -> Downloads:
    return Downloads(server, tmp_path)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_comes_whole_and_is_held_against_its_checksums(files: Downloads, server: Loopback) -> None:
    found = files.run(bytes=SIZE, md5=md5(CONTENT), sha256=sha256(CONTENT))
    assert found == Fetched(server.url(PATH), sha256(CONTENT))
    assert files.is_right()
    assert server.asked(PATH) == [None]


def test_a_dropped_connection_is_taken_up_where_it_broke(files: Downloads, server: Loopback) -> None:
    server.plan[PATH] = [Reply(cut=100_000), Reply(cut=50_000)]
    files.run(md5=md5(CONTENT))
    assert files.is_right()
    assert server.asked(PATH) == [None, "bytes=100000-", "bytes=150000-"]
    assert [headers.get("if-range") for _, headers in server.requests] == [None, ETAG, ETAG]
    assert server.sent[PATH] == SIZE


def test_every_byte_gained_renews_the_patience(files: Downloads, server: Loopback) -> None:
    server.plan[PATH] = [Reply(cut=30_000) for _ in range(9)]
    files.run(sha256=sha256(CONTENT))
    assert files.is_right()


def test_a_later_run_goes_on_from_an_earlier_one(files: Downloads, server: Loopback) -> None:
    server.plan[PATH] = [Reply(cut=120_000), *[Reply(cut=0)] * (QUICK.attempts - 1)]
    files.fails(match=r"gave up after 4 tries")
    assert (files.folder / "a.fa.gz.part").stat().st_size == 120_000
    files.run(md5=md5(CONTENT))
    assert files.is_right()
    assert server.asked(PATH)[-1] == "bytes=120000-"


def test_a_server_without_ranges_sends_it_all_again(files: Downloads, server: Loopback) -> None:
    server.always[PATH] = Reply(ranges=False)
    server.plan[PATH] = [Reply(cut=100_000, ranges=False)]
    files.run(md5=md5(CONTENT))
    assert files.is_right()
    assert files.highest <= SIZE


def test_a_server_that_never_gets_beyond_the_middle_ends_in_an_error(files: Downloads, server: Loopback) -> None:
    server.always[PATH] = Reply(cut=100_000, ranges=False)
    files.fails(match="gave up after 4 tries: .*100000 bytes read")
    assert len(server.requests) == QUICK.attempts


@pytest.mark.parametrize("heeds", [True, False], ids=["heeding If-Range", "ignoring If-Range"])
def test_a_file_that_changes_half_way_is_never_mixed(files: Downloads, server: Loopback, heeds: bool) -> None:
    files.leave_part(CONTENT[:100_000])
    server.files[PATH] = OTHER
    server.plan[PATH] = [Reply(heeds_if_range=heeds)]
    files.run()
    assert files.is_right(OTHER)
    assert server.asked(PATH)[0] == "bytes=100000-"


def test_a_changed_size_is_noticed_without_an_etag(files: Downloads, server: Loopback) -> None:
    date = "Tue, 03 Nov 2026 10:00:00 GMT"
    files.leave_part(CONTENT[:100_000], version=date)
    server.files[PATH] = OTHER[:200_000]
    server.always[PATH] = Reply(heeds_if_range=False, headers={"ETag": None, "Last-Modified": date})
    files.run()
    assert files.is_right(OTHER[:200_000])
    assert server.requests[0][1]["if-range"] == date


@pytest.mark.parametrize("start", [0, 99_999, 100_001])
def test_a_piece_from_another_place_is_not_appended(files: Downloads, server: Loopback, start: int) -> None:
    server.plan[PATH] = [Reply(cut=100_000), Reply(start=start)]
    files.run()
    assert files.is_right()


def test_a_server_that_grants_small_pieces_is_asked_on(files: Downloads, server: Loopback) -> None:
    server.plan[PATH] = [Reply(cut=100_000), Reply(piece=50_000), Reply(piece=50_000)]
    files.run()
    assert files.is_right()
    assert server.asked(PATH) == [None, "bytes=100000-", "bytes=150000-", "bytes=200000-"]


def test_a_server_that_grants_nothing_ends_in_an_error(files: Downloads, server: Loopback) -> None:
    server.plan[PATH] = [Reply(cut=100_000)]
    server.always[PATH] = Reply(piece=0)
    files.fails(match="gave up after 4 tries: the connection ended at 100,000 of 300,000 bytes")


def test_a_server_that_is_busy_is_waited_for(
    files: Downloads, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    soon = email.utils.formatdate(time.time() + 30, usegmt=True)
    server.plan[PATH] = [
        Reply(status=503, headers={"Retry-After": "7"}),
        Reply(status=503, headers={"Retry-After": soon}),
        Reply(status=429, headers={"Retry-After": "86400"}),
    ]
    files.run(md5=md5(CONTENT))
    assert files.is_right()
    assert waits[0] == 7
    assert 25 < waits[1] <= 30
    assert waits[2] == QUICK.longest_wait


def test_a_server_that_stays_busy_ends_in_an_error(files: Downloads, server: Loopback) -> None:
    server.always[PATH] = Reply(status=503)
    files.fails(match="gave up after 4 tries: the server answered 503 Service Unavailable")
    assert len(server.requests) == QUICK.attempts


def test_waits_double_and_spread() -> None:
    waits: list[float] = []
    patience = Patience(first_wait=2.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", waits.append)
        for tries in (1, 2, 3):
            patience.wait(tries, None)
    assert all(0.8 * 2**n <= wait <= 1.2 * 2**n for n, wait in enumerate(waits, 1))


def test_a_damaged_file_is_fetched_once_more(files: Downloads, server: Loopback) -> None:
    server.plan[PATH] = [Reply(flip=12_345)]
    files.run(md5=md5(CONTENT))
    assert files.is_right()
    assert server.asked(PATH) == [None, None]


@pytest.mark.parametrize("known", [{"md5": md5(CONTENT)}, {"sha256": sha256(CONTENT)}], ids=["md5", "sha256"])
def test_a_file_that_is_always_damaged_is_refused(files: Downloads, server: Loopback, known: dict[str, str]) -> None:
    server.always[PATH] = Reply(flip=12_345)
    (kind, right) = next(iter(known.items()))
    files.fails(match=rf"{PATH}: damaged: expected {kind} {right}, got [0-9a-f]+ \(twice the same", **known)
    assert list(files.folder.iterdir()) == []


def test_damage_that_differs_is_not_called_a_replacement(files: Downloads, server: Loopback) -> None:
    server.plan[PATH] = [Reply(flip=1), Reply(flip=2)]
    with pytest.raises(DownloadError, match="damaged: expected md5") as caught:
        files.run(md5=md5(CONTENT))
    assert "twice the same" not in str(caught.value)


def test_too_few_bytes_are_refused_before_they_are_sent(files: Downloads, server: Loopback) -> None:
    server.files[PATH] = CONTENT[:-1]
    files.fails(match="the server offers 299,999 bytes, expected 300,000", bytes=SIZE)
    assert server.asked(PATH) == [None]


def test_a_length_that_promises_too_much_ends_in_an_error(files: Downloads, server: Loopback) -> None:
    server.always[PATH] = Reply(headers={"Content-Length": str(SIZE + 10)})
    files.fails(match="gave up after")


def test_a_length_that_cuts_the_file_is_found_out(files: Downloads, server: Loopback) -> None:
    server.always[PATH] = Reply(headers={"Content-Length": "200000"})
    files.fails(match="expected md5", md5=md5(CONTENT))


def test_a_body_without_a_length_is_taken(files: Downloads, server: Loopback) -> None:
    server.always[PATH] = Reply(chunked=True)
    files.run(md5=md5(CONTENT), bytes=SIZE)
    assert files.is_right()
    server.always[PATH] = Reply(chunked=True, cut=1000)
    files.target.unlink()
    files.fails(match="expected 300,000 bytes, got 1,000", bytes=SIZE)


def test_a_gz_that_is_called_gzip_encoded_stays_packed(files: Downloads, server: Loopback) -> None:
    server.always[PATH] = Reply(headers={"Content-Encoding": "gzip", "Content-Type": "application/x-gzip"})
    files.run(md5=md5(CONTENT))
    assert files.is_right()


def test_redirects_are_followed_with_the_range(files: Downloads, server: Loopback) -> None:
    server.always["/old"] = Reply(status=302, headers={"Location": PATH})
    server.plan[PATH] = [Reply(cut=100_000)]
    files.run(server.url("/old"), md5=md5(CONTENT))
    assert files.is_right()
    assert server.asked(PATH) == [None, "bytes=100000-"]


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


def test_no_network_is_said_at_once(files: Downloads, caplog: pytest.LogCaptureFixture) -> None:
    files.fails("https://genomes.invalid/a.fa.gz", match=r"Failed to resolve 'genomes.invalid'.*--mirror")
    assert "trying again" not in caplog.text


def test_a_folder_serves_as_a_mirror(files: Downloads, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("mirror of ours")
    remote = RemoteFile(urls=["https://genomes.invalid/x/a.fa.gz"], md5=md5(CONTENT))
    url = on_mirror(remote, mirror_base(str(folder)))
    with pytest.raises(DownloadError, match="there is no such file"):
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
