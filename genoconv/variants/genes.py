"""Which gene a variant belongs to, for scoring whole gene bodies."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from genoconv.variants.alleles import Allele
from genoconv.variants.windows import GeneBody, Window


class GeneIndex:
    """Finds the gene body that covers an allele.

    Of several genes a protein-coding one is taken before others, then the longest, then the first by ``gene_id``, so
    that the choice depends on the locus alone.

    Args:
        genes: from :func:`genoconv.genome.annotation.genes.read_genes`, with the FASTA's contig names.
            Coordinates are 0-based half-open.
        contigs: name -> length. A gene that ends beyond it spans the origin of a circular contig, and is found from
            both sides.

    Attributes:
        longest: bases of the longest gene.
        lengths: gene_id -> bases of the longest gene of that name.
    """

    def __init__(self, genes: pd.DataFrame, *, contigs: Mapping[str, int]) -> None:
        bases = (genes["end"] - genes["start"]).groupby(genes["gene_id"].astype(str)).max()
        self.lengths: dict[str, int] = {str(name): int(length) for name, length in bases.items()}
        self.longest = max(self.lengths.values(), default=0)
        length = genes["contig"].map(contigs)
        behind = genes[genes["end"] > length]
        length = length[behind.index]
        genes = pd.concat([genes, behind.assign(start=behind["start"] - length, end=behind["end"] - length)])
        ranked = genes.assign(
            other=genes["biotype"].ne("protein_coding"), shortness=genes["start"] - genes["end"]
        ).sort_values(["other", "shortness", "gene_id"], kind="stable")
        self._by_contig = {
            str(contig): (
                group["start"].to_numpy(np.int64),
                group["end"].to_numpy(np.int64),
                group["strand"].eq("-").to_numpy(bool),
                group["gene_id"].astype(str).tolist(),
            )
            for contig, group in ranked.groupby("contig", sort=False)
        }

    def __call__(self, contig: str, allele: Allele) -> GeneBody | None:
        """The gene around ``allele``; None outside genes.

        The window of a gene that spans the origin of a circular contig begins before 0 or ends beyond its length.
        """
        if contig not in self._by_contig:
            return None
        starts, ends, minus, ids = self._by_contig[contig]
        # What is inserted between a gene's end and its neighbour is not in the gene.
        first = starts + 1 if not allele.ref else starts
        last = ends - 1 if not allele.ref else ends
        covering = np.flatnonzero((first <= allele.start) & (allele.end <= last))
        if not len(covering):
            return None
        best = int(covering[0])
        return GeneBody(ids[best], Window(int(starts[best]), int(ends[best]), bool(minus[best])))
