# The model: trained here where the configuration asks for it, else a folder that is there already.
if TRAINS:

    rule train:
        input:
            fasta="results/genome/genome.fa",
            annotation=annotation(),
        output:
            weights="results/model/model.safetensors",
            config="results/model/config.json",
            card="results/model/README.md",
        log:
            "logs/train.log",
        benchmark:
            "benchmarks/train.tsv"
        conda:
            "../envs/genoconv.yaml"
        threads: config["threads"]
        resources:
            gpu=config["gpus"],
            mem_mb=32000,
            runtime="2d",
        params:
            folder=subpath(output.weights, parent=True),
            options=config["model"]["train"],
            stamp="results/model.options",
            annotation=lambda wildcards, input: (
                f"--annotation {input.annotation}" if input.annotation else ""
            ),
            compute=COMPUTE,
        shell:
            # A killed run of the same options resumes from its last checkpoint.
            "export OMP_NUM_THREADS={threads};"
            ' if ls {params.folder}/checkpoints/*.ckpt > {log} 2>&1 && [ "$(cat {params.stamp})" = {params.options:q} ];'
            " then genoconv train --resume {params.folder} --quiet;"
            " else echo {params.options:q} > {params.stamp};"
            " genoconv train --fasta {input.fasta} {params.annotation} --output {params.folder} --force"
            " {params.compute} {params.options}; fi 2> {log}"
