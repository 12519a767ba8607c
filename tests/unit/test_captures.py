"""What a CUDA graph of packed rows reads is in memory whenever it is replayed."""

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from genoconv.errors import UsageError
from genoconv.ops import fftconv_packed
from genoconv.ops.longconv import captures, moves
from genoconv.ops.longconv.chunked import launches
from genoconv.ops.longconv.chunked.plan import Group

CPU = torch.device("cpu")


class Stream:
    """Whether it is being captured, and what was made for its kernels."""

    def __init__(self) -> None:
        self.capturing = False
        self.made: list[weakref.ref[Tensor]] = []


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stream]:
    stream, whole = Stream(), captures.uploaded

    def uploaded(table: Tensor, device: torch.device) -> Tensor:
        found = whole(table, device)
        stream.made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(captures, "capturing", lambda device: stream.capturing)
    monkeypatch.setattr(captures, "uploaded", uploaded)
    monkeypatch.setattr(captures, "_read", {})
    caches = (moves.batches_of, launches._table)
    for function in caches:
        function.cache_clear()
    yield stream
    for function in caches:
        function.cache_clear()


def short_rows(number: int) -> Tensor:
    u = torch.ones(1, 2, 11 + number, requires_grad=True)
    y = fftconv_packed(u, torch.ones(2, 4), [0, 5, 11, 11 + number])
    (du,) = torch.autograd.grad(y.sum(), u)
    return du


def table(number: int) -> Tensor:
    return launches.table_of(((0, number),), Group(4096, (0,), 1, 1, 1), CPU)


@pytest.mark.parametrize("captured", [True, False])
@pytest.mark.parametrize(("run", "others"), [(short_rows, 2), (table, 64)])
def test_what_a_capture_has_read_stays(
    run: Callable[[int], Tensor], others: int, captured: bool, stream: Stream
) -> None:
    run(5)
    of_the_graph = list(stream.made)
    stream.capturing = captured
    run(5)
    stream.capturing = False
    for number in range(6, 6 + others):  # more than is kept
        run(number)
    gc.collect()
    assert of_the_graph
    assert all((made() is not None) == captured for made in of_the_graph)


@pytest.mark.parametrize("run", [short_rows, table])
def test_nothing_is_made_during_a_capture(run: Callable[[int], Tensor], stream: Stream) -> None:
    stream.capturing = True
    with pytest.raises(UsageError, match="once with the same cu_seqlens just before the capture"):
        run(5)
    stream.capturing = False
    run(5)
    stream.capturing = True
    assert torch.equal(run(5), run(5))
