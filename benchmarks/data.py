"""How fast windows become tokens, beside pyfaidx in the same run, and how fast an annotation is read.

    python benchmarks/data.py [--megabases 200] [--seconds 2] [--output benchmarks/results]

Makes its own FASTA (60-column lines, soft mask, runs of N) and GTF in a temporary folder, draws random windows of 1 kb,
32 kb and 1 Mb, lets both readers turn the same windows into the same uint8 tokens in alternating rounds, holds the
results against each other, and writes ``data.json`` and ``data.md``.
"""

import argparse
import itertools
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyfaidx
import pysam
from recorded import commit, today

from genoconv.genome.annotation.genes import read_genes
from genoconv.genome.fasta.access import Fasta
from genoconv.tokens import Tokens, encode

LENGTHS = {"1 kb": 1_000, "32 kb": 32_768, "1 Mb": 1_000_000}
ROUNDS = 5
BAR = 2.0
Window = tuple[str, int, int]
Reader = Callable[[str, int, int], Tokens]


def write_genome(path: Path, *, contigs: int, length: int) -> None:
    """A FASTA of random bases: 30 % lower case in stretches, 2 % N in runs."""
    draw = np.random.default_rng(0)
    with path.open("wb") as stream:
        for contig in range(contigs):
            bases = draw.choice(np.frombuffer(b"ACGT", np.uint8), length)
            for start in range(0, length, 100_000):
                bases[start : start + 30_000] |= 0x20
                bases[start + 50_000 : start + 52_000] = ord("N")
            rows = bases[: length // 60 * 60].reshape(-1, 60)
            lines = np.concatenate([rows, np.full((len(rows), 1), ord("\n"), np.uint8)], axis=1)
            stream.write(b">chr%d\n%b" % (contig + 1, lines.tobytes()))
            if length % 60:
                stream.write(bases[length // 60 * 60 :].tobytes() + b"\n")


def write_annotation(path: Path, *, genes: int = 30_300) -> int:
    """A GENCODE-like GTF; returns its number of lines."""
    lines = 0
    with path.open("w") as stream:
        for gene in range(genes):
            start = 1000 * gene + 1
            shared = f'gene_id "ENSG{gene:011d}.1"; gene_type "protein_coding"; gene_name "GENE{gene}";'
            rows = [("gene", start, start + 900, shared)]
            for transcript in range(2):
                own = f'{shared} transcript_id "ENST{gene:09d}{transcript:02d}.1"; level 2; tag "basic"; tag "CCDS";'
                rows.append(("transcript", start, start + 900, own))
                rows += [("exon", start + 70 * e, start + 70 * e + 50, f"{own} exon_number {e};") for e in range(12)]
            stream.writelines(f"chr1\tHAVANA\t{what}\t{s}\t{e}\t.\t+\t.\t{text}\n" for what, s, e, text in rows)
            lines += len(rows)
    return lines


def draw_windows(contigs: dict[str, int], length: int) -> Iterator[Window]:
    """Random windows without end, contigs drawn evenly, in the same order at every call."""
    draw = random.Random(length)
    names = list(contigs)
    while True:
        name = draw.choice(names)
        start = draw.randrange(contigs[name] - length + 1)
        yield name, start, start + length


def rate(reader: Reader, windows: Iterator[Window], seconds: float) -> float:
    """Windows a second over at least ``seconds``; no window is read twice, so no cache of a reader's own helps it."""
    done, spent = 0, 0.0
    while spent < seconds:
        chunk = list(itertools.islice(windows, 20))
        begun = time.perf_counter()
        for window in chunk:
            reader(*window)
        spent += time.perf_counter() - begun
        done += len(chunk)
    return done / spent


def compare(path: Path, seconds: float) -> list[dict[str, object]]:
    """One row per window length: both readers' rates, medians over alternating rounds, and their ratio."""
    fasta = Fasta(path)
    peer = pyfaidx.Fasta(str(path), as_raw=True)

    def pyfaidx_tokens(contig: str, start: int, end: int) -> Tokens:
        return encode(peer[contig][start:end])

    rows: list[dict[str, object]] = []
    for name, length in LENGTHS.items():
        for window in itertools.islice(draw_windows(fasta.contigs, length), 20):
            np.testing.assert_array_equal(fasta.tokens(*window), pyfaidx_tokens(*window))
        our_windows, their_windows = (draw_windows(fasta.contigs, length) for _ in range(2))
        pairs = [
            (rate(fasta.tokens, our_windows, seconds), rate(pyfaidx_tokens, their_windows, seconds))
            for _ in range(ROUNDS)
        ]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append(
            {
                "file": "bgzip" if path.suffix == ".gz" else "plain",
                "window": name,
                "genoconv_windows_per_s": round(ours, 1),
                "genoconv_mbase_per_s": round(ours * length / 1e6, 1),
                "pyfaidx_windows_per_s": round(theirs, 1),
                "pyfaidx_mbase_per_s": round(theirs * length / 1e6, 1),
                "ratio": round(statistics.median(one / other for one, other in pairs), 2),
            }
        )
        print(rows[-1], flush=True)
    return rows


def time_annotation(folder: Path) -> dict[str, object]:
    """Seconds to read the genes of a large GTF, plain and gzip."""
    path = folder / "genes.gtf"
    lines = write_annotation(path)
    packed = path.with_suffix(".gtf.gz")
    pysam.tabix_compress(str(path), str(packed), force=True)
    result: dict[str, object] = {"lines": lines}
    for name, file in (("plain_s", path), ("gzip_s", packed)):
        begun = time.perf_counter()
        result["genes"] = len(read_genes(file))
        result[name] = round(time.perf_counter() - begun, 2)
    print(result, flush=True)
    return result


def machine() -> dict[str, object]:
    """What the figures depend on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return {
        "date": today(),
        "commit": commit(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "pandas", "pyfaidx", "pysam")},
    }


def markdown(result: dict[str, list[dict[str, object]]], about: dict[str, object], genes: dict[str, object]) -> str:
    """The figures as a page."""
    rows = [
        f"| {r['file']} | {r['window']} | {r['genoconv_windows_per_s']:,} | {r['genoconv_mbase_per_s']:,}"
        f" | {r['pyfaidx_windows_per_s']:,} | {r['pyfaidx_mbase_per_s']:,} | {r['ratio']} |"
        for part in result.values()
        for r in part
    ]
    return "\n".join(
        [
            "# Sequence access",
            "",
            "Random windows of a FASTA as uint8 tokens; one process, file in the page cache; medians of"
            f" {ROUNDS} alternating rounds. `python benchmarks/data.py` makes this page.",
            "",
            "| file | window | genoconv windows/s | Mbase/s | pyfaidx windows/s | Mbase/s | ratio |",
            "|---|---|---:|---:|---:|---:|---:|",
            *rows,
            "",
            f"Genes of a GENCODE-like GTF of {genes['lines']:,} lines ({genes['genes']:,} genes): {genes['plain_s']} s"
            f" plain, {genes['gzip_s']} s compressed.",
            "",
            ", ".join(f"{name} {value}" for name, value in about.items()),
            "",
        ]
    )


def main() -> None:
    """Measure, print, write, and fail where the bar of 2x pyfaidx on a plain FASTA is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabases", type=int, default=200, help="size of the plain FASTA")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", help="folder")
    options = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = folder / "genome.fa"
        write_genome(plain, contigs=2, length=options.megabases * 500_000)
        result = {"plain": compare(plain, options.seconds)}
        half = folder / "half.fa"
        write_genome(half, contigs=2, length=options.megabases * 250_000)
        pysam.tabix_compress(str(half), str(half) + ".gz", force=True)
        result["bgzip"] = compare(folder / "half.fa.gz", options.seconds)
        genes = time_annotation(folder)
    options.output.mkdir(parents=True, exist_ok=True)
    report = {"about": about, "sequence": result, "annotation": genes}
    (options.output / "data.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.output / "data.md").write_text(markdown(result, about, genes))
    missed = [row["window"] for row in result["plain"] if float(str(row["ratio"])) < BAR]
    if missed:
        raise SystemExit(f"below {BAR}x pyfaidx at {', '.join(map(str, missed))}")


if __name__ == "__main__":
    main()
