"""Downloads from a server on loopback that drops, lies, changes and tires: the right bytes, or one error, no file."""

import email.utils
import time
from types import SimpleNamespace

import pytest
from downloads import CONTENT, ETAG, OTHER, PATH, QUICK, SIZE, Downloads, md5, sha256
from loopback import Loopback, Reply

from genoconv.errors import DownloadError
from genoconv.genome.assemblies.transfer import network
from genoconv.genome.assemblies.transfer.download import (
    Fetched,
)
from genoconv.genome.assemblies.transfer.network import Patience


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
    now = 1_700_000_000.0
    monkeypatch.setattr(network, "time", SimpleNamespace(sleep=waits.append, time=lambda: now))
    soon = email.utils.formatdate(now + 30, usegmt=True)
    server.plan[PATH] = [
        Reply(status=503, headers={"Retry-After": "7"}),
        Reply(status=503, headers={"Retry-After": soon}),
        Reply(status=429, headers={"Retry-After": "86400"}),
    ]
    files.run(md5=md5(CONTENT))
    assert files.is_right()
    assert waits == [7, 30, QUICK.longest_wait]


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
    message = rf"{PATH}: damaged: expected {kind} {right}, got [0-9a-f]+ \(two downloads were identical"
    files.fails(match=message, **known)
    assert list(files.folder.iterdir()) == []


def test_damage_that_differs_is_not_called_a_replacement(files: Downloads, server: Loopback) -> None:
    server.plan[PATH] = [Reply(flip=1), Reply(flip=2)]
    with pytest.raises(DownloadError, match="damaged: expected md5") as caught:
        files.run(md5=md5(CONTENT))
    assert "two downloads were identical" not in str(caught.value)


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
