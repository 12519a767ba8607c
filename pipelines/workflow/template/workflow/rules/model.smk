# The model: trained here where the configuration asks for it, else a folder that is there already.
if TRAINS:

    rule train:
        input:
            fasta="results/genome/genome.fa",
            annotation=annotation(),
            windows=windows(),
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
            windows=training_windows,
            compute=COMPUTE,
        shell:
            # A killed run of the same options resumes from its last checkpoint.
            "export OMP_NUM_THREADS={threads};"
            ' if ls {params.folder}/checkpoints/*.ckpt > {log} 2>&1 && [ "$(cat {params.stamp})" = {params.options:q} ];'
            " then genoconv train --resume {params.folder} --quiet;"
            " else echo {params.options:q} > {params.stamp};"
            " genoconv train --fasta {input.fasta} {params.windows} --output {params.folder} --force"
            " --no-calibrate {params.compute} {params.options}; fi 2> {log}"


if "calibrate" in config["model"]:

    rule calibrate:
        input:
            fasta="results/genome/genome.fa",
            model=f"{MODEL}/model.safetensors",
        output:
            calibration=f"{MODEL}/calibration.npz",
        log:
            "logs/calibrate.log",
        benchmark:
            "benchmarks/calibrate.tsv"
        conda:
            "../envs/genoconv.yaml"
        threads: config["threads"]
        resources:
            gpu=config["gpus"],
            mem_mb=16000,
            runtime="12h",
        params:
            model=subpath(input.model, parent=True),
            options=config["model"]["calibrate"],
            compute=COMPUTE,
        shell:
            "OMP_NUM_THREADS={threads} genoconv models calibrate {params.model:q} --fasta {input.fasta} --force"
            " {params.compute} {params.options} 2> {log}"
