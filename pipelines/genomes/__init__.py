"""The runs behind ``genoconv genomes``."""
