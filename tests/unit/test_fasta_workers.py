"""No worker ever gets a wrong base: 4 processes or threads, thousands of windows, against pyfaidx's truth.

Popular readers fail here without an error: forked workers that share one file handle move each other's position.
"""

import multiprocessing
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyfaidx
import pytest
from fasta_files import bgzf, random_bases, write_fasta

from genoconv import tokens as tokenizer
from genoconv.genome.fasta.access import Fasta

Window = tuple[str, int, int]
Truth = tuple[tuple[Path, Path], list[Window], list[str]]
WINDOWS = 4000
WORKERS = 4

pytestmark = [
    # Python 3.12 warns of fork beside threads, which is what users' data loaders do.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    # Four workers are wanted here also where there are fewer cores.
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """A plain FASTA and its bgzip twin, windows, and their bases in upper case as pyfaidx reads them alone."""
    records = {"one": random_bases(400_000, seed=1), "two": random_bases(150_001, seed=2)}
    plain = write_fasta(tmp_path_factory.mktemp("workers") / "genome.fa", records, width=61)
    draw = random.Random(3)
    windows = []
    for _ in range(WINDOWS):
        contig = draw.choice(list(records))
        start = draw.randrange(len(records[contig]) - 1)
        windows.append((contig, start, min(start + draw.randrange(1, 2000), len(records[contig]))))
    with pyfaidx.Fasta(str(plain), as_raw=True, sequence_always_upper=True) as reader:
        bases = [str(reader[contig][start:end]) for contig, start, end in windows]
    # Blocks so small that a window has several and no reader keeps them all.
    twin = plain.with_name("genome.fa.gz")
    twin.write_bytes(bgzf(plain.read_bytes(), block=256))
    return (plain, twin), windows, bases


_shared: tuple[Fasta, ...]


def _use(*fastas: Fasta) -> None:
    global _shared
    _shared = fastas


def _read(window: Window) -> list[str]:
    return [tokenizer.decode(fasta.tokens(*window)) for fasta in _shared]


def _wrong(found: Sequence[Sequence[str]], bases: Sequence[str]) -> list[int]:
    """How many windows of the plain FASTA have other bases, and how many of its twin."""
    assert len(found) == len(bases)
    return [sum(one != other for one, other in zip(some, bases, strict=True)) for some in zip(*found, strict=True)]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes(truth: Truth, method: str) -> None:
    paths, windows, bases = truth
    fastas = [Fasta(path) for path in paths]
    for fasta in fastas:
        fasta.tokens(*windows[0])  # the parent has read already, so a shared handle would have a position to share
    with multiprocessing.get_context(method).Pool(WORKERS, _use, fastas) as pool:
        found = pool.map(_read, windows, chunksize=50)
    assert _wrong(found, bases) == [0, 0]


def test_threads(truth: Truth) -> None:
    paths, windows, bases = truth
    _use(*map(Fasta, paths))
    with ThreadPoolExecutor(WORKERS) as pool:
        assert _wrong(list(pool.map(_read, windows)), bases) == [0, 0]


class WindowData:
    """The map-style dataset that a user would write."""

    def __init__(self, fastas: list[Fasta], windows: list[Window]) -> None:
        self.fastas = fastas
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: int) -> list[np.ndarray]:
        return [fasta.tokens(*self.windows[number]) for fasta in self.fastas]


def _as_they_are(batch: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    return batch


def test_torch_data_loader(truth: Truth) -> None:
    from torch.utils.data import DataLoader

    paths, windows, bases = truth
    loader = DataLoader(
        WindowData([Fasta(path) for path in paths], windows),  # type: ignore[arg-type]
        batch_size=50,
        num_workers=WORKERS,
        multiprocessing_context="fork",  # spawned workers, which import torch anew, are those of test_processes
        collate_fn=_as_they_are,
    )
    found = [list(map(tokenizer.decode, item)) for batch in loader for item in batch]
    assert _wrong(found, bases) == [0, 0]
