# The reference, as one link that every other rule reads.
localrules:
    link_genome,


if "name" in config["genome"]:

    # Runs where Snakemake runs: compute nodes often have no network.
    rule link_genome:
        output:
            fasta="results/genome/genome.fa",
        log:
            "logs/link_genome.log",
        benchmark:
            "benchmarks/link_genome.tsv"
        conda:
            "../envs/genoconv.yaml"
        resources:
            mem_mb=4000,
            runtime="4h",
        params:
            name=config["genome"]["name"],
        shell:
            "(genoconv genomes fetch {params.name} --quiet"
            ' && fasta=$(genoconv genomes path {params.name}) && ln -sf "$fasta" {output.fasta}) 2> {log}'

else:

    rule link_genome:
        input:
            fasta=config["genome"]["fasta"],
        output:
            fasta="results/genome/genome.fa",
        log:
            "logs/link_genome.log",
        benchmark:
            "benchmarks/link_genome.tsv"
        conda:
            "../envs/genoconv.yaml"
        resources:
            mem_mb=1000,
            runtime="10m",
        shell:
            'ln -sf "$(realpath {input.fasta:q})" {output.fasta} 2> {log}'
