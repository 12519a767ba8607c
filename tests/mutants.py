"""Damaged copies of a file, the same every time, and what a reader may make of them."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from genoconv.errors import GenoconvError

PIECES = [
    b"\0", b"\r", b"\r\n", b"\n", b"\n\n", b"\t", b" ", b">", b"#", b";", b"=", b'"', b",", b":", b"\xff", b"\xc3\xa9",
    b"\xef\xbb\xbf", b"\x1f\x8b", b"0", b"-1", b"nan", b"1e999", b"2147483648", b"9" * 30, b"9" * 4400, "²".encode(),
    "\u0665".encode(), b"\x1b[2J", b"{", b"[" * 60, b"&a ", b"*a", b"!!python/object ", b"---\n",
]  # fmt: skip


def mutants(content: bytes, *, seed: int, number: int) -> Iterator[bytes]:
    """``number`` damaged copies: bytes changed, cut out, doubled, moved, or replaced by what files should not hold."""
    draw = random.Random(seed)
    for _ in range(number):
        data = bytearray(content)
        for _ in range(draw.choice((1, 1, 1, 2, 5))):
            at = draw.randrange(len(data) + 1)
            end = min(len(data), at + draw.choice((1, 1, 3, 20)))
            kind = draw.randrange(6)
            if kind == 0 and data:
                data[at % len(data)] = draw.randrange(256)
            elif kind == 1:
                del data[at:end]
            elif kind == 2:
                data[at:at] = data[at:end]
            elif kind == 3:
                data = data[: max(at, 1)] if draw.random() < 0.3 else data
            else:
                data[at : draw.choice((at, end))] = draw.choice(PIECES)
        yield bytes(data)


def attempt(read: Callable[[Path], object], path: Path) -> object:
    """What ``read`` gives, or the message of our error; any other error fails the test."""
    try:
        return read(path)
    except GenoconvError as error:
        message = str(error)
    assert message.replace("\n", "").isprintable(), ascii(message)
    return message
