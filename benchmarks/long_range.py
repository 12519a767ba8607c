"""Does a model learn what lies far upstream? The long demo of ``genoconv train``, and the same with short windows.

    python benchmarks/long_range.py [RUN.yaml] [--short N] [--work DIR]

Trains twice with the installed command: with the configuration (default: ``genoconv train --demo long``; for a GPU
``benchmarks/configs/long-range.yaml``), and with windows of ``--short`` bases (default 1,024), which no repeat fits
into. A run that is there already is only read. Writes ``long_range-DEVICE.json`` and ``.md``: the held-out perplexity
of the bases at which a repeated block begins, and of all others.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from recorded import commit, today, versions

GENOCONV = Path(sys.executable).with_name("genoconv")


def trained(folder: Path, words: list[str]) -> dict[str, Any]:
    """The ``config.json`` of a run of the installed command."""
    if not (folder / "config.json").exists():
        subprocess.run([str(GENOCONV), "train", *words, "-o", str(folder), "--force"], check=True)
    record: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", type=Path, help="configuration; default: the demo's own")
    parser.add_argument("--short", type=int, default=1024, help="bases that the short model sees")
    parser.add_argument("--work", type=Path, default=Path("runs/long-range"))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    words = [str(options.config)] if options.config else ["--demo", "long"]
    records = {
        "long": trained(options.work / "long", words),
        "short": trained(options.work / "short", [*words, "-l", str(options.short)]),
    }
    rows = []
    for record in records.values():
        facts, regions = record["provenance"], record["provenance"]["regions"]
        rows.append(
            {
                "windows": record["model"]["max_length"],
                "steps": facts["steps"],
                "tokens": facts["tokens"],
                "seconds": facts["seconds"],
                "repeat": regions["repeat"]["validation_perplexity"],
                "repeat_bases": regions["repeat"]["validation_bases"],
                "other": regions["other"]["validation_perplexity"],
            }
        )
    device = records["long"]["provenance"]["device"]
    facts = {
        "command": f"genoconv train {' '.join(words)}",
        "device": device,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": versions(),
        "commit": commit(),
        "date": today(),
    }
    write(options.output / f"long_range-{device.split()[0].lower()}", rows, facts)


def write(path: Path, rows: list[dict[str, Any]], facts: dict[str, str]) -> None:
    """The table, as JSON and Markdown."""
    path.with_suffix(".json").write_text(json.dumps({"rows": rows, **facts}, indent=1) + "\n")
    lines = [
        "# Repeats from far upstream",
        "",
        "`benchmarks/long_range.py`, which says what is measured. 4 is a uniform guess, 1 is certainty.",
        "",
        "| windows | steps | bases read | seconds | perplexity of repeated bases | of the others |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        size = f"{row['windows']:,} | {row['steps']:,} | {row['tokens']:,} | {row['seconds']:,.0f}"
        lines.append(f"| {size} | {row['repeat']:.4f} | {row['other']:.4f} |")
    lines += ["", "; ".join(f"{key}: {value}" for key, value in facts.items()) + "."]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
