"""FASTA files: random access, streams of records, indexes and what can be wrong with them."""
