"""Variants in and out: VCF and BCF records, alleles, and the windows of reference around them. No torch here.

Coordinates inside are 0-based and half-open; the 1-based positions of VCF are converted where a record is read.
"""

from genoconv.variants.alleles import Allele, Status
from genoconv.variants.reader import open_variants
from genoconv.variants.records import Record, VariantFile
from genoconv.variants.windows import Haplotypes, Window, grid_window, haplotypes

__all__ = [
    "Allele",
    "Haplotypes",
    "Record",
    "Status",
    "VariantFile",
    "Window",
    "grid_window",
    "haplotypes",
    "open_variants",
]
