"""How scores of like variants are distributed under one model, and where a score lies among them.

A :class:`Table` holds, for each class of :mod:`genoconv.tasks.likeness`, quantiles, mean and standard deviation of the
scores of a random sample. With n scores of a class, the i-th smallest has the fraction i / (n + 1) of its like below
it, fractions between are interpolated, equal scores share the middle of their range, and no fraction is smaller than
1 / (n + 1) or greater than n / (n + 1): the sample does not resolve more. A class with fewer than ``LEAST`` scores is
not used; an SNV then falls back on the next coarser class, an indel has no place.
"""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genoconv.atomic import atomic_file
from genoconv.errors import ModelError
from genoconv.tasks.likeness import CLASSES, Ids, coarser
from genoconv.wording import shell

Values = npt.NDArray[np.float32]
Exact = npt.NDArray[np.float64]

NAME = "calibration.npz"
FORMAT_VERSION = 1
LEAST = 100
"""Scores that make a class."""
_MOST_BYTES = 1 << 28
# What a damaged archive, or an array or JSON in it, brings about.
_DAMAGED = (
    ValueError, LookupError, TypeError, AttributeError, EOFError, OSError, MemoryError, OverflowError,
    NotImplementedError, RecursionError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip

_TAIL = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005)
FRACTIONS: Exact = np.array([0.0, *_TAIL, *(k / 100 for k in range(1, 100)), *(1 - p for p in reversed(_TAIL)), 1.0])
"""Fractions at which quantiles are kept; the first and the last are the extremes of the sample."""
_PARTS = ("ids", "counts", "means", "deviations", "quantiles")


@dataclass(frozen=True)
class Table:
    """Distributions of scores by class.

    Attributes:
        ids: classes, ascending, (k,) int32.
        counts: scores of each, (k,) int64.
        means, deviations: mean and standard deviation, (k,) float64.
        quantiles: at :data:`FRACTIONS`, (k, f) float32.
    """

    ids: Ids
    counts: npt.NDArray[np.int64]
    means: Exact
    deviations: Exact
    quantiles: Values

    @cached_property
    def _row_of(self) -> npt.NDArray[np.int64]:
        rows = np.full(CLASSES + 1, -1, np.int64)  # the last is for class -1
        rows[self.ids] = np.arange(len(self.ids))
        return rows

    def rows(self, classes: Ids) -> npt.NDArray[np.int64]:
        """Which row to compare with: of the first level that has one.

        Args:
            classes: (levels, ...), the finest first; -1 is none.

        Returns:
            (...), -1 where no level has a row.
        """
        found: npt.NDArray[np.int64] = self._row_of[classes[0]]
        for level in classes[1:]:
            found = np.where(found < 0, self._row_of[level], found)
        return found

    def place(self, classes: Ids, scores: npt.NDArray[np.floating]) -> tuple[Exact, Exact]:
        """Where scores lie among their like.

        Args:
            classes: (levels, ...) as of :meth:`rows`.
            scores: (...), in nats; NaN has no place.

        Returns:
            Percentile (0 to 100, both exclusive; low is unexpected) and z, each (...), NaN where there is none: no
            class, or for z a class whose scores are all equal.
        """
        rows = self.rows(classes)
        known = (rows >= 0) & ~np.isnan(scores)
        percentile, z = np.full(rows.shape, np.nan), np.full(rows.shape, np.nan)
        at, values = rows[known], scores[known].astype(np.float32)
        percentile[known] = 100 * self._fractions(at, values)
        with np.errstate(divide="ignore", invalid="ignore"):
            z[known] = np.where(self.deviations[at] > 0, (values - self.means[at]) / self.deviations[at], np.nan)
        return percentile, z

    def _fractions(self, rows: npt.NDArray[np.int64], values: Values) -> Exact:
        below, up_to = self._rank(rows, values, side="left"), self._rank(rows, values, side="right")
        last = len(FRACTIONS) - 1
        least = 1 / (self.counts[rows] + 1)
        equal = up_to > below
        low, high = np.where(equal, below, below - 1).clip(0, last), np.where(equal, up_to - 1, below).clip(0, last)
        p_low, p_high = (FRACTIONS[at].clip(least, 1 - least) for at in (low, high))
        q_low, q_high = (self.quantiles[rows, at].astype(np.float64) for at in (low, high))
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(equal | (q_high == q_low), 0.5, (values - q_low) / (q_high - q_low))
        fractions: Exact = p_low + share.clip(0, 1) * (p_high - p_low)
        return fractions

    def _rank(self, rows: npt.NDArray[np.int64], values: Values, *, side: str) -> npt.NDArray[np.int64]:
        """``np.searchsorted`` of each value in its own row of quantiles."""
        low, high = np.zeros(len(rows), np.int64), np.full(len(rows), len(FRACTIONS), np.int64)
        for _ in range(len(FRACTIONS).bit_length()):
            middle = (low + high) // 2
            there = self.quantiles[rows, middle.clip(max=len(FRACTIONS) - 1)]
            beyond = (low < high) & ((there < values) if side == "left" else (there <= values))
            low, high = np.where(beyond, middle + 1, low), np.where(beyond | (low >= high), high, middle)
        return low


def fit(classes: Ids, scores: Values) -> Table:
    """The distributions of a sample.

    Args:
        classes: of the finest level, (n,); those of -1 are left out.
        scores: (n,) float32.
    """
    kept = (classes >= 0) & ~np.isnan(scores)
    classes, scores = classes[kept], scores[kept]
    rows: dict[int, tuple[int, float, float, Values]] = {}
    for level in coarser():
        grouped = level[classes]
        order = np.argsort(grouped, kind="stable")
        found, starts = np.unique(grouped[order], return_index=True)
        bounds = pairwise([*starts.tolist(), len(order)])
        for class_, (start, end) in zip(found.tolist(), bounds, strict=True):
            part = scores[order[start:end]]
            if class_ not in rows and len(part) >= LEAST:
                exact = part.astype(np.float64)
                quantiles = np.quantile(exact, FRACTIONS, method="weibull").astype(np.float32)
                # The mean of equal numbers can differ from them in its last digit; that must not count as spread.
                spread = float(exact.std(ddof=1)) if quantiles[0] < quantiles[-1] else 0.0
                rows[class_] = len(part), float(exact.mean()), spread, quantiles
    ids = sorted(rows)
    width = len(FRACTIONS)
    return Table(
        np.array(ids, np.int32),
        np.array([rows[i][0] for i in ids], np.int64),
        np.array([rows[i][1] for i in ids], np.float64),
        np.array([rows[i][2] for i in ids], np.float64),
        np.array([rows[i][3] for i in ids], np.float32).reshape(len(ids), width),
    )


@dataclass(frozen=True)
class Calibration:
    """What a model folder knows about its own scores.

    Attributes:
        facts: how they were computed: ``model`` (its digest), ``genome``, ``window``, ``context``, ``strand``, sizes of
            the sample; plain JSON values.
        tables: by how scores compare bases, ``site``, ``sum`` or ``mean``.
    """

    facts: Mapping[str, Any]
    tables: Mapping[str, Table]

    def save(self, folder: Path) -> None:
        """Write ``calibration.npz`` into a model folder, whole or not at all.

        Raises:
            OutputError: the folder cannot be written.
        """
        about = {"format": "genoconv-calibration", "format_version": FORMAT_VERSION, **self.facts}
        arrays = {f"{name}.{part}": getattr(table, part) for name, table in self.tables.items() for part in _PARTS}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, about=np.array(json.dumps(about)), allow_pickle=False, **arrays)
        with atomic_file(folder / NAME) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    @classmethod
    def load(cls, folder: Path) -> "Calibration | None":
        """Read it again; None where a model folder has none.

        Raises:
            ModelError: damaged, or of a newer format.
        """
        path = folder / NAME
        if not path.is_file():
            return None
        again = shell("genoconv", "models", "calibrate", folder, "-f", "FASTA", "--force")
        remedy = f"make it again with `{again}`, or delete it"
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                if sum(member.file_size for member in stored.zip.infolist()) > _MOST_BYTES:
                    raise ValueError(f"more than {_MOST_BYTES:,} bytes, unpacked")
                about = json.loads(str(stored["about"]))
                version = about["format_version"]
                if about["format"] != "genoconv-calibration" or version != FORMAT_VERSION:
                    raise ModelError(
                        f"{path}: format version {version!r}, but this genoconv reads version {FORMAT_VERSION}; "
                        f"{remedy}"
                    )
                names = dict.fromkeys(name.partition(".")[0] for name in stored.files if name != "about")
                tables = {name: Table(*(stored[f"{name}.{part}"] for part in _PARTS)) for name in names}
                for table in tables.values():
                    _check(table)
        except _DAMAGED as error:
            raise ModelError(f"{path}: damaged or not a calibration ({_reason(error)}); {remedy}") from error
        return cls(about, tables)


def _reason(error: Exception) -> str:
    # NumPy takes what it does not know for a pickle, and advises to load it as such.
    return "no arrays" if "pickle" in str(error) else str(error)


def _check(table: Table) -> None:
    count = len(table.ids)
    shapes = [getattr(table, part).shape for part in _PARTS]
    if shapes != [(count,)] * 4 + [(count, len(FRACTIONS))]:
        raise ValueError("arrays of unequal length")
    if count and (table.ids.min() < 0 or table.ids.max() >= CLASSES or table.counts.min() < 1):
        raise ValueError("classes out of range")
    if not all(np.isfinite(array).all() for array in (table.means, table.deviations, table.quantiles)):
        raise ValueError("values that are not finite")
