"""Which of several genes a variant is scored in."""

import itertools

import pandas as pd

from genoconv.variants.alleles import Allele
from genoconv.variants.genes import GeneIndex
from genoconv.variants.windows import GeneBody, Window

COLUMNS = ["contig", "start", "end", "strand", "gene_id", "biotype"]


def chosen(rows: list[tuple[object, ...]], *, start: int = 500) -> GeneBody | None:
    """The gene for a substitution at ``start``, 0-based; the same one in whatever order the genes come."""
    allele = Allele(start, "A", "C")
    found = [
        GeneIndex(pd.DataFrame(list(order), columns=COLUMNS), contigs={"c": 1000})("c", allele)
        for order in itertools.permutations(rows)
    ]
    assert all(gene == found[0] for gene in found)
    return found[0]


SHORT = ("c", 480, 520, "+", "short", "protein_coding")
LONG = ("c", 300, 700, "-", "long", "protein_coding")
LONGEST = ("c", 0, 1000, "+", "longest", "lncRNA")


def test_the_longest_gene_is_taken() -> None:
    assert chosen([SHORT, LONG]) == GeneBody("long", Window(300, 700, True))
    assert chosen([SHORT, LONG], start=299) is None
    # Names sort the other way: it is the length that decides.
    assert chosen([SHORT, ("c", 490, 531, "+", "z_base_longer", "protein_coding")]) == GeneBody(
        "z_base_longer", Window(490, 531, False)
    )


def test_a_protein_coding_gene_is_taken_before_a_longer_other() -> None:
    assert chosen([LONGEST, SHORT]) == GeneBody("short", Window(480, 520, False))
    assert chosen([LONGEST, SHORT, LONG]) == GeneBody("long", Window(300, 700, True))
    assert chosen([LONGEST, SHORT, LONG], start=10) == GeneBody("longest", Window(0, 1000, False))


def test_of_equal_genes_the_first_by_name() -> None:
    rows = [("c", start, start + 100, "+", name, "protein_coding") for start, name in ((450, "b"), (440, "a"))]
    assert chosen(rows) == GeneBody("a", Window(440, 540, False))
