# The windows that the model learns from, as a file that can be looked at; only where the configuration asks for it.
rule windows:
    input:
        fasta="results/genome/genome.fa",
        annotation=annotation(),
    output:
        bed="results/windows.bed",
    log:
        "logs/windows.log",
    benchmark:
        "benchmarks/windows.tsv"
    conda:
        "../envs/genoconv.yaml"
    resources:
        mem_mb=8000,
        runtime="2h",
    params:
        source=window_source,
        options=config["windows"]["options"],
    shell:
        "genoconv windows {params.source} --output {output.bed} --force --quiet {params.options} 2> {log}"
