"""Kernels that are wrong on purpose: what every check of them must notice."""

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genoconv.ops.longconv.one_sm.tables import build
from genoconv.paths import shipped

CHANGES = {
    "tail dropped": ("one_sm/rows.cuh", "? room - Place", "? room - 8 - Place"),
    "zeros": ("one_sm/rows.cuh", "pack_scaled(v[2 * i], v[2 * i + 1], factor)", "0"),
    "row shifted": (
        "one_sm/rows.cuh",
        "pack_scaled(v[2 * i], v[2 * i + 1], factor)",
        "pack_scaled(v[2 * i + 1], v[(2 * i + 2) % 8], factor)",
    ),
    "last batch dropped": ("one_sm/rows.cuh", "rows(at.batches - ", "rows(at.batches - 1 - "),
    "scale not undone": ("common/values.cuh", "exponent - static_cast<u32>(kTop) * kOne", "127 * kOne"),
    "D left out": ("one_sm/spectrum.cu", "skip[channel_of(item)] : 0.0f", "0.0f : 0.0f"),
    "filter not reversed in du": ("one_sm/backward.cu", "conjugate_of_correlation(k, z)", "conjugate_of_product(k, z)"),
    "dk of one slice missing": ("one_sm/filter_grad.cu", "slice = 0; slice < slices", "slice = 1; slice < slices"),
    "dk of all steps but the first missing": ("one_sm/batch_sums.cuh", "add_sums(at(item), sum);", ";"),
    "dk of one share missing": ("one_sm/batch_sums.cuh", "share = 0; share < kShares", "share = 1; share < kShares"),
}
"""What is wrong: (source file, text, what stands there instead)."""

LONG_CHANGES = {
    "twiddles of lines left out": ("three_pass/columns_in.cu", "twiddle(re[c + i], im[c + i], x, y);", ""),
    "last positions dropped": ("three_pass/rows.cuh", "rest < 8 ? static_cast<int>(rest) : 8", "rest < 8 ? 0 : 8"),
    "lines not awaited": ("three_pass/lines.cu", "wait_copies<kBuffers == 2 ? 1 + kStaged : 0>();", ";"),
    "tiles not levelled": ("three_pass/lines.cuh", "if (range.level()) return;", "return;"),
    "scales of lines left out": ("three_pass/results.cuh", "own[1 + line] / own[0];", "1.0f;"),
    "dk of a part of the batch missing": ("three_pass/line_gradients.cu", "begin == 0 ? Tile{}", "begin >= 0 ? Tile{}"),
    "filter not reversed in du of long rows": (
        "three_pass/line_gradients.cu",
        "conjugate_of_correlation(k, dc)",
        "conjugate_of_product(k, dc)",
    ),
}
"""The same for the kernels of long rows."""

SPARSE_CHANGES = {
    "gate of half of the products left out": ("three_pass/results.cuh", "y[i] *= gate[i];", ";"),
    "sums of some lanes left out": ("three_pass/results.cuh", "step = 16; step > 0", "step = 8; step > 0"),
}
"""The same for what long rows do for frequency-sparse filters alone, the gradient of their skip."""

AHEAD_CHANGES = {
    "rows ahead not awaited": ("three_pass/columns_in.cu", "    wait_copies<0>();", ""),
    "lines ahead not awaited": ("three_pass/columns_out.cu", "Ahead::await_lines(turn);", ";"),
    "gates ahead not awaited": ("three_pass/columns_out.cu", "wait_copies<Ahead::kBehind>();", ";"),
    "filters ahead not awaited": ("three_pass/lines.cu", "wait_copies<kBuffers - 1>();", ";"),
}
"""The same for what long rows ask for before they need it."""

HALVES_CHANGES = {
    "carry left out": ("one_sm/halves.cu", "turned(z0)", "HalfTile{}"),
    "second half of a filter left out": ("one_sm/halves.cu", "k0 + kSpectrum : rest", "k0 : rest"),
    "halves not brought to one scale": ("one_sm/halves.cu", "pack_half(factor, factor)", "pack_half(1.0f, 1.0f)"),
    "peak of the first half forgotten": ("one_sm/halves.cu", "max_shared(peaks.at(0), before)", ""),
    "filter not brought to one scale": ("one_sm/spectrum.cu", "part > 0 && peak > first_peak", "part > 1"),
}
"""The same for the kernel of halves."""

CLUSTER_CHANGES = {
    "chunks not brought to one scale": (
        "cluster/shares.cuh",
        "half(out.of[j] / out.most",
        "half(out.of[j] / out.of[0]",
    ),
    "a chunk's own product alone": ("cluster/shares.cuh", "kBlocks - 1 - i : i;", "0 : 0;"),
    "one share of the slots left out": (
        "cluster/shares.cuh",
        "part = cluster.rank; part",
        "part = cluster.rank + kBlocks; part",
    ),
    "filter not reversed in du of clusters": ("cluster/shares.cuh", "g[d] = conjugate(g[d]);", ";"),
    "dk of the first row alone": ("cluster/cluster_gradients.cu", "batch == jobs.begin(job)}", "true}"),
    "scales of inputs left out of dk": (
        "cluster/cluster_gradients.cu",
        "of_x.of[j] * of_c.of[j + d]);",
        "of_x.most * of_c.of[j + d]);",
    ),
    "chunks of filters not joined": ("chunked/chunk_spectra.cu", "chunk - comp, item", "comp == 0 ? chunk : -1, item"),
}
"""The same for the kernels of clusters."""

OF_LONG_ROWS = {"dk of all steps but the first missing"}
"""Changes that only show in rows of several tiles."""

PARTS = {
    512: (0.0, 0.4, 0.7, 0.93, 0.96, 0.98, 1.0),
    16384: (0.0, 0.4, 0.707, 0.9, 0.93, 0.95, 0.98, 1.0),
    32768: (0.849, 0.891),
}
"""By N, parts of the way through the tables where a wrong twiddle is to show.

16,384: matrices of the inner stages (to 0.707), stage a on the way back, lag twists on the way in and back, twists of
branches in fp16 and in fp32. 32,768: lag twists of the second tile of a', in and back.
"""


def broken_sources(change: str, folder: Path) -> Path:
    """A copy of the kernels' sources with a change made, one of those above, in ``folder``."""
    long_rows = LONG_CHANGES | SPARSE_CHANGES | AHEAD_CHANGES
    file, text, instead = (CHANGES | long_rows | HALVES_CHANGES | CLUSTER_CHANGES)[change]
    copy = folder / "csrc"
    shutil.copytree(shipped("csrc"), copy)
    before = (copy / file).read_text(encoding="utf-8")
    assert text in before, f"csrc/{file} no longer reads {text!r}: break it another way"
    (copy / file).write_text(before.replace(text, instead), encoding="utf-8")
    return copy


def wrong_tables(radix: int, split: int, *, part: float) -> NDArray[np.uint32]:
    """The kernels' tables with the sign of one twiddle wrong, ``part`` (0 to 1) of the way through them."""
    words = build(radix, split).copy()
    at = int(part * (len(words) - 1))
    while words[at] & 0x7FFF7FFF < 0x1000:  # nothing, or next to it
        at += 1
    words[at] ^= 0x80008000
    return words
