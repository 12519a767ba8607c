"""Genes from GTF and GFF3."""
