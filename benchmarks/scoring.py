"""Variants scored a second, beside two forward passes a variant and strand in the same run.

    python benchmarks/scoring.py --data DATA [--preset tiny-1k] [--window 1024] [--variants 2000] [--device auto]

Takes the first variants of 1000 Genomes phase 3 in b37 chr20:1,000,001-2,000,000 (``genomes/b37_chr20_1_2M`` of the
test data; 29,000 in 1 Mb) and a model with random weights, whose speed is that of a trained one. The other way reads
a reference and an alternative window for every allele and strand, in batches of the same size, through the same model
and on the same device. The two take turns, piece by piece, so that what else the machine does meets both; on a CPU
the clock is the process's CPU time. Both ways' scores are held against each other. Writes ``scoring-<device>.json``
and ``.md``.
"""

import argparse
import itertools
import json
import platform
import time
from pathlib import Path

import numpy as np
import recorded
import torch

from genoconv.genome.fasta.access import Fasta
from genoconv.models import HyenaDNA, preset
from genoconv.models.devices import DTYPES, resolve_device, resolve_precision
from genoconv.tasks.likelihood import CausalLikelihood
from genoconv.tasks.planning import Settings, suffix_start
from genoconv.tasks.score import VariantScorer
from genoconv.tokens import Tokens, reverse_complement
from genoconv.variants.alleles import trimmed
from genoconv.variants.chunks import chunks, grid_place
from genoconv.variants.reader import open_variants
from genoconv.variants.records import Record
from genoconv.variants.reference import Reference
from genoconv.variants.windows import grid_window, haplotypes

BAR = 1.8
MAX_INDEL = 50


def our_way(scorer: VariantScorer, records: list[Record]) -> list[float | None]:
    """Scores as the command computes them."""
    return [allele[0].llr for alleles in scorer.score(records) for allele in alleles]


def other_way(scorer: VariantScorer, likelihood: CausalLikelihood, records: list[Record]) -> list[float | None]:
    """Two windows a scorable allele and strand, each read whole, nothing shared; summed over all bases."""
    [width], [grid] = scorer.settings.widths, scorer.settings.grid
    rows: list[Tokens] = []
    scored: list[bool] = []
    for record in records:
        contig = scorer.names[record.contig]
        length = scorer.reference.contigs[contig]
        for alt in record.alts:
            allele = trimmed(record.start, record.ref, alt) if set(alt) <= set("ACGT") else None
            scored.append(allele is not None and max(len(allele.ref), len(allele.alt)) <= MAX_INDEL)
            if allele is not None and scored[-1]:
                window = grid_window(allele.start, contig_length=length, width=width, grid=grid)
                pair = haplotypes(window, allele, fetch=scorer.reference.slicer(contig))
                assert pair is not None
                rows += [pair.ref, pair.alt, reverse_complement(pair.ref), reverse_complement(pair.alt)]
    sums = iter([float(row.sum(dtype=np.float64)) for row in likelihood(rows)])
    found: list[float | None] = []
    for one in scored:
        if one:
            before, after, back_before, back_after = itertools.islice(sums, 4)
            found.append((after - before + back_after - back_before) / 2)
        else:
            found.append(None)
    return found


def measure(options: argparse.Namespace) -> dict[str, object]:
    """One table row."""
    folder = options.data / "genomes/b37_chr20_1_2M"
    device = str(resolve_device(options.device))
    precision = resolve_precision(options.precision, device=device)
    torch.manual_seed(0)
    model = HyenaDNA(preset(options.preset)).to(device, DTYPES[precision]).eval()
    reference = Reference(Fasta(folder / "z.fa.gz"))
    width, grid = options.window, options.grid or options.window // 16
    longest = model.config.max_length
    quick = CausalLikelihood(
        model,
        device=device,
        starts={width: suffix_start(width, grid)},
        max_length=longest,
        batch_size=options.batch_size,
    )
    plain = CausalLikelihood(model, device=device, starts={width: 0}, max_length=longest, batch_size=options.batch_size)
    settings = Settings(widths=(width,), grid=(grid,), max_length=longest, max_indel=MAX_INDEL)
    scorer = VariantScorer(quick, reference=reference, names={"z": "z"}, settings=settings)
    source = open_variants(folder / "z.1000g.vcf.gz")
    records = list(itertools.islice(source.records(), options.variants))
    runs = list(chunks(records, size=max(16, min(options.piece, (1 << 22) // width)), place=grid_place(grid)))

    # Filters are made, batch sizes chosen and kernels loaded before the clock starts.
    our_way(scorer, records[:64])
    other_way(scorer, plain, records[:64])
    quick.tokens = plain.tokens = 0
    clock = time.perf_counter if device != "cpu" else time.process_time
    found, expected = [], []
    fast = slow = 0.0
    for run in runs:
        began = clock()
        expected += other_way(scorer, plain, run)
        between = clock()
        found += our_way(scorer, run)
        slow, fast = slow + between - began, fast + clock() - between
    pairs = [(a, b) for a, b in zip(found, expected, strict=True) if a is not None and b is not None]
    assert [a is None for a in found] == [b is None for b in expected]
    return {
        "model": options.preset,
        "precision": precision,
        "window": width,
        "grid": grid,
        "variants": len(records),
        "alleles scored": len(pairs),
        "variants/s": round(len(records) / fast, 1),
        "variants/s, two passes each": round(len(records) / slow, 1),
        "times faster": round(slow / fast, 2),
        "tokens read, share": round(quick.tokens / plain.tokens, 3),
        "largest difference of a score": float(f"{max(abs(a - b) for a, b in pairs):.2g}"),
        "standard deviation of scores": float(f"{np.std([a for a, _ in pairs]):.2g}"),
        "clock": "wall" if device != "cpu" else "CPU seconds of the process",
        "device": recorded.device_name(device),
    }


def report(row: dict[str, object], options: argparse.Namespace) -> None:
    """Add the row to the results of its kind of device, and print them."""
    name = "scoring-cpu" if str(row["device"]).startswith("CPU") else "scoring-gpu"
    path = options.output / f"{name}.json"
    row |= {
        "commit": recorded.commit(),
        "date": recorded.today(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    rows = json.loads(path.read_text()) if path.exists() else []
    same = ("model", "precision", "window", "grid", "device")
    rows = [old for old in rows if any(old[key] != row[key] for key in same)] + [row]
    path.write_text(json.dumps(rows, indent=1) + "\n")
    columns = list(row)
    lines = [
        "# Variants scored a second",
        "",
        "`benchmarks/scoring.py`: the way of `genoconv score-variants` beside two forward passes a variant and",
        f"strand, by turns in the same run on the same variants. The bar is {BAR} times.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + " --- |" * len(columns),
    ]
    lines += ["| " + " | ".join(str(old.get(key, "")) for key in columns) + " |" for old in rows]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print(json.dumps(row, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the test data")
    parser.add_argument("--preset", default="tiny-1k")
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--grid", type=int)
    parser.add_argument("--variants", type=int, default=2000)
    parser.add_argument("--piece", type=int, default=1024, help="variants between two looks at the clock")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--precision", default="auto", choices=["auto", "32", "bf16"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    row = measure(options)
    report(row, options)
    raise SystemExit(0 if float(str(row["times faster"])) >= BAR else f"below the bar of {BAR}")


if __name__ == "__main__":
    main()
