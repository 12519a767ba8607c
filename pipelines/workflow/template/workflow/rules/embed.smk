# Vectors of the configured FASTA files.
rule embed:
    input:
        fasta=lambda wildcards: SEQUENCES[wildcards.name],
        model=f"{MODEL}/model.safetensors",
    output:
        vectors=f"results/embeddings/{{name}}.{config['embed']['format']}",
    log:
        "logs/embed/{name}.log",
    benchmark:
        "benchmarks/embed/{name}.tsv"
    conda:
        "../envs/genoconv.yaml"
    threads: config["threads"]
    resources:
        gpu=config["gpus"],
        mem_mb=16000,
        runtime="12h",
    params:
        model=subpath(input.model, parent=True),
        options=config["embed"]["options"],
        compute=COMPUTE,
    shell:
        "OMP_NUM_THREADS={threads} genoconv embed {input.fasta:q} --model {params.model:q} --output {output.vectors}"
        " --resume {params.compute} {params.options} 2> {log}"
