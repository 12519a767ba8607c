# Score the variants of each sample in shards, put the shards together, and look at all scores at once.
rule score_shard:
    input:
        vcf=lambda wildcards: SAMPLES[wildcards.sample],
        fasta="results/genome/genome.fa",
        model=f"{MODEL}/model.safetensors",
        calibration=calibration(),
    output:
        vcf=temp("results/shards/{sample}/{scatteritem}.vcf.gz"),
    log:
        "logs/score/{sample}/{scatteritem}.log",
    benchmark:
        "benchmarks/score/{sample}/{scatteritem}.tsv"
    conda:
        "../envs/genoconv.yaml"
    threads: config["threads"]
    resources:
        gpu=config["gpus"],
        mem_mb=16000,
        runtime="12h",
    params:
        model=subpath(input.model, parent=True),
        shard=shard,
        options=config["score"]["options"],
        compute=COMPUTE,
    shell:
        # --resume: a job that was killed continues after the last piece that it finished.
        "OMP_NUM_THREADS={threads} genoconv score-variants {input.vcf:q} --fasta {input.fasta} --model {params.model:q}"
        " --shard {params.shard} --output {output.vcf} --resume --no-index {params.compute} {params.options} 2> {log}"


rule gather_shards:
    input:
        gather.shards("results/shards/{{sample}}/{scatteritem}.vcf.gz"),
    output:
        vcf="results/scored/{sample}.vcf.gz",
        index="results/scored/{sample}.vcf.gz.tbi",
    log:
        "logs/gather/{sample}.log",
    benchmark:
        "benchmarks/gather/{sample}.tsv"
    conda:
        "../envs/genoconv.yaml"
    resources:
        mem_mb=2000,
        runtime="1h",
    shell:
        "genoconv workflow gather {input} --output {output.vcf} 2> {log}"


rule report_scores:
    input:
        expand("results/scored/{sample}.vcf.gz", sample=SAMPLES),
    output:
        table=report("results/report/scores.tsv", category="Variants"),
        plot=report("results/report/scores.png", category="Variants"),
    log:
        "logs/report_scores.log",
    benchmark:
        "benchmarks/report_scores.tsv"
    conda:
        "../envs/genoconv.yaml"
    resources:
        mem_mb=4000,
        runtime="1h",
    params:
        samples=[f"{sample}=results/scored/{sample}.vcf.gz" for sample in SAMPLES],
    shell:
        "genoconv workflow report {params.samples} --table {output.table} --plot {output.plot} 2> {log}"
