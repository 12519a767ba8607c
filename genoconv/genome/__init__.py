"""Reference genomes: FASTA, annotation, windows, assemblies. No torch here."""
