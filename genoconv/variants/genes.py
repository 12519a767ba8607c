"""Which gene a variant belongs to, for scoring whole gene bodies."""

import numpy as np
import pandas as pd

from genoconv.variants.alleles import Allele
from genoconv.variants.windows import Window


class GeneIndex:
    """Finds the gene body that covers an allele.

    Of several genes a protein-coding one is taken before others, then the longest, then the first by ``gene_id``, so
    that the choice depends on the locus alone.

    Args:
        genes: from :func:`genoconv.genome.annotation.read_genes`, with the FASTA's contig names; 0-based half-open.
    """

    def __init__(self, genes: pd.DataFrame) -> None:
        ranked = genes.assign(
            other=genes["biotype"].ne("protein_coding"), shortness=genes["start"] - genes["end"]
        ).sort_values(["other", "shortness", "gene_id"], kind="stable")
        self._by_contig = {
            str(contig): (
                group["start"].to_numpy(np.int64),
                group["end"].to_numpy(np.int64),
                group["strand"].eq("-").to_numpy(bool),
            )
            for contig, group in ranked.groupby("contig", sort=False)
        }

    def __call__(self, contig: str, allele: Allele) -> Window | None:
        """The gene body around ``allele``, in the gene's direction; None outside genes."""
        if contig not in self._by_contig:
            return None
        starts, ends, minus = self._by_contig[contig]
        covering = np.flatnonzero((starts <= allele.start) & (allele.end <= ends))
        if not len(covering):
            return None
        best = int(covering[0])
        return Window(int(starts[best]), int(ends[best]), bool(minus[best]))
