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
from fasta_files import bgzipped, random_bases, write_fasta

from genoconv import tokens as tokenizer
from genoconv.genome.fasta.access import Fasta

Window = tuple[str, int, int]
WINDOWS = 4000
WORKERS = 4

pytestmark = [
    # Python 3.12 warns of fork beside threads, which is what users' data loaders do.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    # Four workers are wanted here also where there are fewer cores.
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Window], list[str]]:
    """Plain FASTA, its bgzip twin, windows, and their bases in upper case as pyfaidx reads them alone."""
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
    return plain, bgzipped(plain), windows, bases


_shared: Fasta


def _use(fasta: Fasta) -> None:
    global _shared
    _shared = fasta


def _read(window: Window) -> str:
    return tokenizer.decode(_shared.tokens(*window))


def _wrong(found: Sequence[str], bases: Sequence[str]) -> int:
    assert len(found) == len(bases)
    return sum(one != other for one, other in zip(found, bases, strict=True))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "bgzip"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes(truth: tuple[Path, Path, list[Window], list[str]], packed: bool, method: str) -> None:
    plain, bgzip, windows, bases = truth
    fasta = Fasta(bgzip if packed else plain)
    fasta.tokens(*windows[0])  # the parent has read already, so a shared handle would have a position to share
    with multiprocessing.get_context(method).Pool(WORKERS, _use, (fasta,)) as pool:
        found = pool.map(_read, windows, chunksize=50)
    assert _wrong(found, bases) == 0


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "bgzip"])
def test_threads(truth: tuple[Path, Path, list[Window], list[str]], packed: bool) -> None:
    plain, bgzip, windows, bases = truth
    _use(Fasta(bgzip if packed else plain))
    with ThreadPoolExecutor(WORKERS) as pool:
        assert _wrong(list(pool.map(_read, windows)), bases) == 0


class WindowData:
    """The map-style dataset that a user would write."""

    def __init__(self, fasta: Fasta, windows: list[Window]) -> None:
        self.fasta = fasta
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: int) -> np.ndarray:
        return self.fasta.tokens(*self.windows[number])


def _as_they_are(batch: list[np.ndarray]) -> list[np.ndarray]:
    return batch


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "bgzip"])
def test_torch_data_loader(truth: tuple[Path, Path, list[Window], list[str]], packed: bool) -> None:
    from torch.utils.data import DataLoader

    plain, bgzip, windows, bases = truth
    loader = DataLoader(
        WindowData(Fasta(bgzip if packed else plain), windows),  # type: ignore[arg-type]
        batch_size=50,
        num_workers=WORKERS,
        multiprocessing_context="fork",  # spawned workers, which import torch anew, are those of test_processes
        collate_fn=_as_they_are,
    )
    found = [tokenizer.decode(tokens) for batch in loader for tokens in batch]
    assert _wrong(found, bases) == 0
