"""Rare against common SNVs of 1000 Genomes: how often a rare alternative allele is scored below a common one.

    genoconv score-variants DATA/genomes/b37_chr20_1_2M/z.1000g.vcf.gz -f DATA/genomes/b37_chr20_1_2M/z.fa.gz \\
        -m mammal-1k -w 1024 -o scored.vcf.gz
    PYTHONPATH=. python3 benchmarks/alleles.py scored.vcf.gz [--json FILE]

Ranks every SNV of the file with one alternative allele that is rare (below 0.1 %) or common (above 5 %), by its
log-likelihood ratio and by whether a G or C is lost: area under the ROC curve, with the 95 % interval of 1,000
bootstrap samples; then the same of the 3,000 rare ones that ``which_data.py`` draws for its table. That script takes
its variants and its rows without a network from here.
"""

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pysam
from areas import bootstrapped

from genoconv.genome.fasta.access import Fasta
from genoconv.tokens import A, T
from genoconv.train.baselines import MarkovModels
from genoconv.train.readers import WindowReader

RARE, COMMON = 0.001, 0.05
ORDER = 5
DRAWN = 3_000
"""Most rare and most common SNVs of ``which_data.py``."""

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Variants:
    """SNVs that are rare or common, and what they lie on.

    Attributes:
        path: VCF with these alone.
        fasta: their reference.
        rare: of each, whether it is.
        places: contig, 0-based position, REF and ALT of each.
    """

    path: Path
    fasta: Path
    rare: Labels
    places: list[tuple[str, int, str, str]]

    @property
    def lost(self) -> Floats:
        """Of each, 1 where a G or C is lost, -1 where one is gained, else 0."""
        return np.array([float(ref in "GC") - float(alt in "GC") for _, _, ref, alt in self.places])


def is_rare(record: Any) -> bool | None:
    """Whether an SNV is rare or common; None for neither, and for what is not an SNV with one alternative allele."""
    if not record.alts or len(record.alts) != 1 or not len(record.ref or "") == len(record.alts[0]) == 1:
        return None
    frequency = float(record.info["AF"][0])
    return frequency < RARE if frequency < RARE or frequency > COMMON else None


def drawn(kinds: list[bool], most: int) -> list[int]:
    """Numbers of up to so many of the rare and of the common ones, ascending; always the same."""
    draw = np.random.default_rng(0).permutation(len(kinds))
    each = (itertools.islice((n for n in draw if kinds[n] is kind), most) for kind in (True, False))
    return sorted(itertools.chain.from_iterable(each))


def select(data: Path, path: Path, *, most: int) -> Variants:
    """Write the rare and the common SNVs of the 1000 Genomes file, up to ``most`` of each, to ``path``."""
    folder = data / "genomes/b37_chr20_1_2M"
    found: list[tuple[bool, Any]] = []
    with pysam.VariantFile(str(folder / "z.1000g.vcf.gz")) as source:
        for record in source:
            kind = is_rare(record)
            if kind is not None:
                found.append((kind, record.copy()))
        header = source.header.copy()
    chosen = drawn([kind for kind, _ in found], most)
    with pysam.VariantFile(str(path), "w", header=header) as target:
        for number in chosen:
            target.write(found[number][1])
    records = [found[number][1] for number in chosen]
    places = [(record.chrom, record.pos - 1, record.ref, record.alts[0]) for record in records]
    return Variants(path, folder / "z.fa.gz", np.array([found[number][0] for number in chosen]), places)


def scores(path: Path) -> Floats:
    """LLR of each record of a scored VCF."""
    with pysam.VariantFile(str(path)) as records:
        return np.array([float(record.info["GCONV_LLR"][0]) for record in records])


def markov_ratios(windows: WindowReader, some: Variants) -> Floats:
    """LLR under a Markov model of order 5 of these windows, both strands."""
    models = MarkovModels(windows, both_strands=True)
    table = np.log(models.table(ORDER))
    fasta = Fasta(some.fasta)
    ratios = []
    for contig, position, _, alternative in some.places:
        start = max(0, position - ORDER)
        tokens = fasta.tokens(contig, start, min(position + ORDER + 1, fasta.contigs[contig])).astype(np.int64) - A
        changed = tokens.copy()
        changed[position - start] = "ACGT".index(alternative)
        ratios.append(_log_chance(table, changed) - _log_chance(table, tokens))
    return np.array(ratios)


def _log_chance(table: Floats, codes: npt.NDArray[np.int64]) -> float:
    total = 0.0
    for place in range(ORDER, len(codes)):
        around = codes[place - ORDER : place + 1]
        if ((around >= 0) & (around <= T - A)).all():
            context = int((around[:-1] * 4 ** np.arange(ORDER - 1, -1, -1)).sum())
            total += float(table[context, around[-1]])
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scored", type=Path, help="the file of 1000 Genomes, scored by genoconv score-variants")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    found: list[tuple[bool, float, float]] = []
    with pysam.VariantFile(str(options.scored)) as records:
        for record in records:
            kind = is_rare(record)
            if kind is not None:
                lost = float(record.ref in "GC") - float(record.alts[0] in "GC")
                found.append((kind, -float(record.info["GCONV_LLR"][0]), lost))
    table, kinds = np.array(found), [kind for kind, _, _ in found]
    figures = {}
    for name, rows in (("all", range(len(found))), ("of which_data", drawn(kinds, DRAWN))):
        some = table[list(rows)]
        rare = some[:, 0] == 1
        figures[name] = {
            "rare": int(rare.sum()),
            "common": int((~rare).sum()),
            "model": bootstrapped(some[:, 1], rare),
            "G or C lost": bootstrapped(some[:, 2], rare),
        }
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
