"""Sequences with labels, or without: from tables, FASTA and BED files, record by record."""
