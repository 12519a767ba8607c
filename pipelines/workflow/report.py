"""A table and a plot of the scores of many samples: what to look at before opening a VCF."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genoconv.atomic import atomic_file, refuse_existing, refuse_inputs
from genoconv.errors import DataError, UsageError
from genoconv.lines import shortened
from genoconv.pipelines.pictures import new_figure, require_matplotlib
from genoconv.variants.reader import open_variants
from genoconv.variants.records import Record
from genoconv.wording import count, printable

_SUFFIX = "_LLR"
_MOST_NAMED, _LONGEST_NAME = 30, 70
_DASHES = ("-", "--", ":")
_FAR = 15  # times the distance between the quartiles
_QUANTILES = {"percentile_1": 0.01, "median": 0.5, "percentile_99": 0.99}


def report_scores(samples: Mapping[str, Path], *, table: Path, plot: Path, force: bool) -> pd.DataFrame:
    """Describe the scores of every sample.

    Args:
        samples: name -> scored VCF or BCF.
        table: TSV to write, one row per sample and score field.
        plot: PNG to write, one histogram per sample and score field.
        force: replace both.

    Returns:
        The table.

    Raises:
        DataError: a file has no score field.
        OutputError: an output exists or cannot be written.
        UsageError: an output is an input, or matplotlib is not installed.
    """
    refuse_inputs([table, plot], inputs={f"sample {name}": path for name, path in samples.items()})
    for path in (table, plot):
        refuse_existing(path, force=force)
    scores = {sample: read_scores(path) for sample, path in samples.items()}
    rows = [_describe(sample, *found, field) for sample, found in scores.items() for field in map(str, found[1])]
    frame = pd.DataFrame(rows)
    with atomic_file(table) as temporary:
        frame.to_csv(temporary, sep="\t", index=False, float_format="%.6g")
    with atomic_file(plot) as temporary:
        _draw({sample: found for sample, (_, found) in scores.items()}, temporary)
    return frame


def named_samples(arguments: Sequence[str]) -> dict[str, Path]:
    """Names and files from arguments such as ``blood=runs/a.vcf.gz``; without a name, the file's own is taken.

    Raises:
        UsageError: two samples have one name.
    """
    samples: dict[str, Path] = {}
    for argument in arguments:
        name, separator, file = argument.partition("=")
        path = Path(file if separator else argument)
        name = name if separator else path.name.split(".vcf")[0].removesuffix(".bcf")
        if name in samples:
            raise UsageError(f"two samples are named {name!r}: {samples[name]} and {path}; write NAME=FILE")
        samples[name] = path
    return samples


def read_scores(path: Path) -> tuple[int, pd.DataFrame]:
    """Number of records, and one row per ALT allele with a column per score field (NaN where there is no score).

    Raises:
        DataError: the header declares no field whose name ends in ``_LLR`` or ``_LLR_N``.
    """
    vcf = open_variants(path)
    names = [line.split("ID=", 1)[1].split(",", 1)[0] for line in vcf.header if line.startswith("##INFO=<ID=")]
    fields = [name for name in names if name.rstrip("0123456789").removesuffix("_").endswith(_SUFFIX)]
    if not fields:
        raise DataError(f"{path}: no score field in the header; is it an output of genoconv score-variants?")
    records = 0
    rows: list[tuple[float, ...]] = []
    for record in vcf.records():
        records += 1
        info = dict(item.partition("=")[::2] for item in record.columns[7].split(";"))
        rows += zip(*(_values(info.get(field), record, field=field, name=vcf.name) for field in fields), strict=True)
    return records, pd.DataFrame(rows, columns=fields, dtype=float)


def _values(text: str | None, record: Record, *, field: str, name: str) -> list[float]:
    """A score field's values, one per ALT allele; NaN for a dot or an absent field."""
    if text is None:
        return [np.nan] * len(record.alts)
    try:
        values = [np.nan if x == "." else float(x) for x in text.split(",")]
    except ValueError:
        values = []
    if len(values) != len(record.alts):
        raise DataError(
            f"{name}: {record.contig}:{record.start + 1}: {field}={shortened(text)} for {len(record.alts)} ALT alleles;"
            " expected one number or dot for each"
        )
    return values


def _describe(sample: str, records: int, scores: pd.DataFrame, field: str) -> dict[str, Any]:
    column = scores[field]
    row = {"sample": sample, "field": field, "records": records, "alleles": len(column)}
    row |= {"scored": int(column.notna().sum()), "mean": column.mean()}
    return row | {name: column.quantile(q) for name, q in _QUANTILES.items()}


def _draw(scores: Mapping[str, pd.DataFrame], path: Path) -> None:
    require_matplotlib("the plot")
    drawn = {
        (sample if len(frame.columns) == 1 else f"{sample} {field}"): frame[field].dropna().to_numpy()
        for sample, frame in scores.items()
        for field in map(str, frame)
    }
    drawn = {label: values for label, values in drawn.items() if len(values)}
    named = len(drawn) <= _MOST_NAMED
    figure = new_figure(7, 4 + 0.17 * named * len(drawn), layout="constrained")
    assert figure is not None
    axes = figure.subplots()
    edges, beyond = _bins(np.concatenate([np.empty(0), *drawn.values()]))
    for place, (label, values) in enumerate(drawn.items()):
        density = np.histogram(values, bins=edges)[0] / (len(values) * np.diff(edges))
        [curve] = axes.plot(np.repeat(edges, 2), np.concatenate([[0], np.repeat(density, 2), [0]]), lw=1.2)
        curve.set(color=f"C{place % 10}", linestyle=_DASHES[place // 10 % len(_DASHES)])
        curve.set_label(f"{_short(label)} ({len(values):,})")
    if not drawn:
        axes.text(0.5, 0.5, "no scores", transform=axes.transAxes, ha="center", va="center")
    note = f"; {count(beyond, 'score')} beyond the picture" if beyond else ""
    axes.set(xlabel=f"ln P(alt window) - ln P(ref window), in nats{note}", ylabel="density")
    axes.set_title("Scores of ALT alleles")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    if drawn and named:
        legend = figure.legend(loc="outside lower left", fontsize="small", frameon=False)
        for text_of in legend.get_texts():
            text_of.set_parse_math(False)
    figure.savefig(path, format="png", dpi=150)


def _bins(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Edges of 60 bins for all samples, and how many values, far from the others, lie beyond them."""
    if not len(values):
        return np.linspace(-1, 1, 61), 0
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    reach = _FAR * (high - low) or np.inf
    near = values[np.abs(values - middle) <= reach]
    first, last = near.min(), near.max()
    if first == last:
        first, last = first - 0.5, last + 0.5
    return np.linspace(first, last, 61), len(values) - len(near)


def _short(name: str) -> str:
    shown = printable(name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 3]}..."
