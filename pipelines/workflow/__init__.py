"""The Snakemake workflow that ships with genoconv, and the steps of it that are not commands of their own."""
