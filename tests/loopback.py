"""A real HTTP server on loopback that serves files, and misbehaves on request."""

import hashlib
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from support import HANG


def etag(content: bytes) -> str:
    """What the server calls a version of a file."""
    return f'"{hashlib.sha256(content).hexdigest()[:16]}"'


@dataclass
class Reply:
    """How one request is answered.

    Attributes:
        status: instead of 200 or 206.
        headers: added, or replacing what would be sent; None leaves one out.
        cut: bytes of the body after which the connection is closed.
        stall: bytes of the body after which nothing more comes until the server ends or lets go.
        flip: byte of the file that is sent wrong.
        ranges: whether Range is heeded.
        heeds_if_range: whether If-Range is.
        start: first byte of the piece that is sent, whatever was asked for.
        piece: most bytes that are granted of a range.
        chunked: send the body without its length.
    """

    status: int | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    cut: int | None = None
    stall: int | None = None
    flip: int | None = None
    ranges: bool = True
    heeds_if_range: bool = True
    start: int | None = None
    piece: int | None = None
    chunked: bool = False


class Loopback(ThreadingHTTPServer):
    """Serves ``files`` (path -> bytes). ``plan[path]`` holds replies for its next requests; ``always`` the ones after.

    Attributes:
        requests: (path, headers) of every request in order.
        sent: path -> bytes of bodies that went out.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(files)
        self.plan: defaultdict[str, list[Reply]] = defaultdict(list)
        self.always: dict[str, Reply] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.sent: defaultdict[str, int] = defaultdict(int)
        self.ended = threading.Event()
        self.guard = threading.Lock()

    def __enter__(self) -> "Loopback":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that disconnects early is expected."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def url(self, path: str) -> str:
        """Address of a path."""
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def asked(self, path: str) -> list[str | None]:
        """The Range header of every request for a path."""
        return [headers.get("range") for asked, headers in self.requests if asked == path]

    def wait_for(self, path: str, sent: int) -> None:
        """Return when ``sent`` bytes of a path have gone out."""
        self.until(lambda: self.sent[path] >= sent)

    def until(self, true: Callable[[], bool], seconds: float = HANG) -> None:
        """Return when something has come true."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"waited {seconds} s; sent so far: {dict(self.sent)}"
            time.sleep(0.01)

    def let_go(self) -> None:
        """End the replies that stall."""
        self.ended.set()


class _Handler(BaseHTTPRequestHandler):
    server: Loopback

    def do_GET(self) -> None:
        server, path = self.server, self.path
        with server.guard:
            server.requests.append((path, {name.lower(): value for name, value in self.headers.items()}))
            reply = server.plan[path].pop(0) if server.plan[path] else server.always.get(path, Reply())
        if path not in server.files:
            reply = Reply(status=reply.status or 404, headers=reply.headers)
        content = server.files.get(path, b"")
        version = etag(content)
        start = self._start(reply, version) if reply.start is None else reply.start
        status = reply.status or (200 if start is None else 206)
        body = bytearray(content if status in (200, 206) else b"")
        if reply.flip is not None and body:
            body[reply.flip] ^= 1
        headers: dict[str, str | None] = {"ETag": version}
        if status == 206:
            first, size = start or 0, len(body)
            body = body[first:][: reply.piece]
            headers["Content-Range"] = f"bytes {first}-{first + len(body) - 1}/{size}"
        headers |= {"Content-Length": None if reply.chunked else str(len(body))} | reply.headers
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self._send(path, bytes(body), reply)

    def _start(self, reply: Reply, version: str) -> int | None:
        """First byte of the range that is asked for and granted."""
        asked = self.headers.get("Range")
        if asked is None or not reply.ranges:
            return None
        if reply.heeds_if_range and self.headers.get("If-Range") not in (None, version):
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _send(self, path: str, body: bytes, reply: Reply) -> None:
        end = min(n for n in (len(body), reply.cut, reply.stall) if n is not None)
        for at in range(0, end, 1 << 16):
            piece = body[at : min(at + (1 << 16), end)]
            self.wfile.write(piece)
            with self.server.guard:
                self.server.sent[path] += len(piece)
        self.wfile.flush()
        if reply.stall is not None:
            self.server.ended.wait(HANG)

    def log_message(self, format: str, *args: object) -> None:
        pass
