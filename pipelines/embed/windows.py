"""Records of a FASTA for ``genoconv embed``, whole or in windows, while the file streams by."""

import hashlib
import stat
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from genoconv.genome.fasta.digests import SequencesDigest
from genoconv.genome.fasta.records import read_records, read_streams
from genoconv.genome.fasta.scan import Letters
from genoconv.pipelines.embed.inputs import Counts, Mark, Odd, one_piece
from genoconv.pipelines.embed.md5s import Md5s
from genoconv.pipelines.provenance import file_name
from genoconv.progress import Advance
from genoconv.tasks.spans import RUN_SPANS, Places, Span, Spans, chunked
from genoconv.tokens import A, T, Tokens, encode

STDIN = "standard input"

_Cut = tuple[Tokens, int, range]
"""Bases, the place in their record of the first of them, and where windows start among them."""


@dataclass(slots=True)
class _Surveyed:
    """What a survey has found: states of the file before and after, MD5 of each record, how many have which length."""

    stamps: set[tuple[int, ...]] = field(default_factory=set)
    md5s: dict[str, bytes] = field(default_factory=dict)
    lengths: Counter[int] = field(default_factory=Counter)
    empty: Odd = field(default_factory=Odd)


class FastaSpans:
    """Records of a FASTA, whole or in windows of ``window`` bases every ``stride``; a :class:`.inputs.Source`.

    Windows never leave their record; the last is shorter where the record ends first, and a record shorter than the
    window is one window.
    """

    def __init__(self, path: Path, *, window: int | None, stride: int | None) -> None:
        self.path = path
        self.window = window
        self.stride = stride or window or 0
        self.pieces: Callable[[int], int] = one_piece
        self.name = STDIN if str(path) == "-" else file_name(path)
        self.origin: dict[str, str] = {}
        self.counts = Counts()
        self._surveyed = _Surveyed()
        self._started()

    def survey(self, advance: Advance) -> bool:
        if self.once:
            return False
        found = _Surveyed({self._stamp()})
        with Md5s() as md5s:
            for name, parts in read_streams(self.path):
                length = 0
                for letters in md5s.taking(name, parts):
                    advance(len(letters))
                    length += len(letters)
                found.lengths[length] += 1
                if not length:
                    found.empty.add(name)
        found.stamps.add(self._stamp())
        found.md5s = md5s.found
        digest = SequencesDigest()
        for name, md5 in found.md5s.items():
            digest.add(name, md5.hex())
        self._surveyed, self.origin = found, {"input": digest.hexdigest()}
        return True

    def counted(self) -> Counts:
        counts = Counts(empty=self._surveyed.empty)
        for length, records in self._surveyed.lengths.items():
            self._count(counts, length, records=records)
        return counts

    def runs(self, *, tokens: int) -> Iterator[Spans]:
        if self.window is None:
            return map(Spans.of, chunked(self.spans(), tokens=tokens))
        return _runs(self._all_cuts(), window=self.window, tokens=tokens)

    def spans(self) -> Iterator[Span]:
        """Records or windows in the order of the file."""
        for name, (held, base, starts) in self._all_cuts():
            for start in starts:
                tokens = held[start : start + self.window] if self.window else held
                first = base + start
                yield Span(name, name, first, first + len(tokens), "+", tokens)

    def _started(self) -> None:
        """Nothing has been read by the pass that begins."""
        self.counts = Counts()
        self._digest = SequencesDigest()
        self._digested = self._begun = 0  # records
        self._names: deque[str] = deque()  # of those between

    def _all_cuts(self) -> Iterator[tuple[str, _Cut]]:
        self._started()
        for name, parts in self._records():
            for cut in self._cuts(name, parts):
                yield name, cut
        if not self.once:
            self._read_stamp = self._stamp()

    def mark(self) -> Mark:
        return self._digest.hexdigest() if self.once else self._begun

    def digest(self, mark: Mark | None = None) -> str:
        if isinstance(mark, str):
            return mark
        while self._digested < (self._begun if mark is None else mark):
            name = self._names.popleft()
            self._digest.add(name, self._surveyed.md5s.get(name, b"").hex())
            self._digested += 1
        return self._digest.hexdigest()

    def changed(self) -> bool:
        if self.once:
            return False
        return self._surveyed.stamps != {self._read_stamp} or self.digest() != self.origin["input"]

    @cached_property
    def once(self) -> bool:
        """Whether it is a pipe, which can be read only once."""
        return str(self.path) == "-" or not stat.S_ISREG(self.path.stat().st_mode)

    def _stamp(self) -> tuple[int, ...]:
        """Differs when the file has changed."""
        status = self.path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def _records(self) -> Iterator[tuple[str, Iterable[Letters]]]:
        """Name and letters of each; in parts where the survey makes the MD5."""
        if self.once:
            for record in read_records(self.path):
                md5 = hashlib.md5(record.sequence.upper(), usedforsecurity=False).hexdigest()
                self._digest.add(record.name, md5)
                yield record.name, [record.sequence]
            return
        for name, parts in read_streams(self.path):
            self._names.append(name)
            self._begun += 1
            yield name, parts

    def _cuts(self, name: str, parts: Iterable[Letters]) -> Iterator[_Cut]:
        """The spans of one record, many at a time: as soon as their bases are there; counted at the end."""
        if self.window is None:
            tokens = encode(b"".join(parts))
            length = len(tokens)
            yield self._looked_at(name, (tokens, 0, range(1)))
        else:
            length = yield from self._windows(name, parts, self.window)
        self._count(self.counts, length)
        if not length:
            self.counts.empty.add(name)

    def _count(self, counts: Counts, length: int, *, records: int = 1) -> None:
        """The spans of so many records of ``length`` bases."""
        counts.records += records
        window, whole = self.window or length, 1
        if self.window is not None:
            whole = len(range(0, length - window + 1, self.stride))
            rest = length - whole * self.stride
            if rest > (max(window - self.stride, 0) if whole else 0):
                counts.add_spans(records, rest, self.pieces(rest))
        counts.add_spans(records * whole, window, self.pieces(window))

    def _windows(self, name: str, parts: Iterable[Letters], window: int) -> Generator[_Cut, None, int]:
        """The windows of one record; returns its length."""
        held, base, following = np.empty(0, np.uint8), 0, 0
        for letters in parts:
            held = np.concatenate([held, encode(letters)])
            starts = range(following - base, len(held) - window + 1, self.stride)
            if starts:
                yield self._looked_at(name, (held, base, starts))
                following = base + starts[-1] + self.stride
            gone = min(following - base, len(held))
            held, base = held[gone:], base + gone
        length = base + len(held)
        overlap = max(window - self.stride, 0)
        starts = range(following - base, max(1, length - overlap) - base, self.stride)
        if length and starts:
            yield self._looked_at(name, (held, base, starts))
        return length

    def _looked_at(self, name: str, cut: _Cut) -> _Cut:
        """The same, once its spans without a known base are counted."""
        tokens, _, starts = cut
        # Nearly always the first base is known, and the others need no look.
        firsts = tokens[starts.start : starts.stop : starts.step]
        for nth in np.flatnonzero((firsts < A) | (firsts > T)).tolist():
            part = tokens[starts[nth] :][: self.window]
            if not ((part >= A) & (part <= T)).any():
                self.counts.unknown.add(name)
        return cut


def _runs(cuts: Iterable[tuple[str, _Cut]], *, window: int, tokens: int) -> Iterator[Spans]:
    """Windows in the runs of :func:`.chunked`; no cut is drawn before those that were drawn have been given."""
    run: list[tuple[str, _Cut]] = []
    spans = size = 0
    for name, (held, base, starts) in cuts:
        while starts:
            # Only the last window of a record can be shorter, and nothing of its cut comes after it.
            some = starts[: min(RUN_SPANS - spans, -(-(tokens - size) // window))]
            starts = starts[len(some) :]
            run.append((name, (held, base, some)))
            spans += len(some)
            size += (len(some) - 1) * window + min(window, len(held) - some[-1])
            if size >= tokens or spans == RUN_SPANS:
                yield _together(run, window)
                run, spans, size = [], 0, 0
    if run:
        yield _together(run, window)


def _together(cuts: list[tuple[str, _Cut]], window: int) -> Spans:
    """The windows of some cuts as one, bases that they share held once."""
    names: dict[str, int] = {}
    parts: list[Tokens] = []
    columns = []
    held_so_far = 0
    for name, (held, base, starts) in cuts:
        first, last = starts[0], starts[-1]
        if starts.step <= window:
            found = [held[first : last + window]]
        else:
            found = [held[start : start + window] for start in starts]
        shorter = min(window, len(held) - last)
        columns.append((names.setdefault(name, len(names)), len(starts), base + first, held_so_far, shorter))
        held_so_far += sum(map(len, found))
        parts += found
    step = cuts[0][1][2].step
    record, counts, begin, offset, shorter_last = np.array(columns, np.int64).T
    until = np.cumsum(counts)
    nth = np.arange(until[-1]) - np.repeat(until - counts, counts)
    lengths = np.full(len(nth), window, np.int64)
    lengths[until - 1] = shorter_last
    start, name_of = np.repeat(begin, counts) + nth * step, np.repeat(record, counts)
    places = Places(list(names), name_of, name_of, start, start + lengths, np.full(len(nth), b"+", "S1"))
    tokens = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return Spans(places, tokens, np.repeat(offset, counts) + nth * min(step, window), lengths)
