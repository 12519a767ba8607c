# Every SNV of the configured targets: regions, genes, or the whole genome.
rule scan:
    input:
        fasta="results/genome/genome.fa",
        model=f"{MODEL}/model.safetensors",
        calibration=calibration(),
    output:
        scores=f"results/scan/{{target}}.{config['scan']['format']}",
    log:
        "logs/scan/{target}.log",
    benchmark:
        "benchmarks/scan/{target}.tsv"
    conda:
        "../envs/genoconv.yaml"
    threads: config["threads"]
    resources:
        gpu=config["gpus"],
        mem_mb=16000,
        runtime="1d",
    params:
        model=subpath(input.model, parent=True),
        target=lambda wildcards: TARGETS[wildcards.target],
        options=config["scan"]["options"],
        compute=COMPUTE,
    shell:
        "OMP_NUM_THREADS={threads} genoconv scan {input.fasta} --model {params.model:q} --output {output.scores}"
        " --resume {params.target} {params.compute} {params.options} 2> {log}"
