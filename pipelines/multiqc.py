"""Tables that MultiQC reads as custom content: files whose names end in ``_mqc.tsv`` and ``_mqc.yaml``."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from genoconv import atomic


def write_bars(path: Path, *, section: str, description: str, sample: str, counts: Mapping[str, int]) -> None:
    """One sample of a stacked bar graph; MultiQC joins the samples of all files of one section.

    Args:
        path: ends in ``_mqc.tsv``.
        section: title; its words also make the section's id.
        description: a sentence below it.
        sample: row.
        counts: column -> height.
    """
    head = {
        **_section(section, description),
        "plot_type": "bargraph",
        "pconfig": {"id": f"{_identifier(section)}_plot", "title": f"genoconv: {section}"},
    }
    comments = "".join(f"# {line}\n" for line in yaml.safe_dump(head, sort_keys=False, width=10_000).splitlines())
    columns = "\t".join(["Sample", *counts])
    row = "\t".join([" ".join(sample.split()), *map(str, counts.values())])
    atomic.write_text(path, f"{comments}{columns}\n{row}\n")


def write_lines(
    path: Path,
    *,
    section: str,
    description: str,
    axes: tuple[str, str],
    lines: Mapping[str, Mapping[float, float]],
) -> None:
    """Lines of a graph; MultiQC joins the lines of all files of one section.

    Args:
        path: ends in ``_mqc.yaml``.
        section, description: as in :func:`write_bars`.
        axes: what x and y are.
        lines: name of a sample -> x -> y.
    """
    settings = {"id": f"{_identifier(section)}_plot", "title": f"genoconv: {section}", "xlab": axes[0], "ylab": axes[1]}
    content = {
        **_section(section, description),
        "plot_type": "linegraph",
        "pconfig": settings,
        "data": {name: {float(x): float(y) for x, y in line.items()} for name, line in lines.items()},
    }
    atomic.write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _section(section: str, description: str) -> dict[str, str]:
    return {
        "id": _identifier(section),
        "section_name": section,
        "description": description,
        "parent_id": "genoconv",
        "parent_name": "genoconv",
    }


def _identifier(section: str) -> str:
    return "genoconv_" + "_".join(section.lower().split())
