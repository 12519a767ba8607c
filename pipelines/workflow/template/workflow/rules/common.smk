# What the rules need to know about the configuration.
TRAINS = "train" in config["model"]
MODEL = "results/model" if TRAINS else config["model"]["folder"]
SAMPLES = config["score"]["samples"]
SEQUENCES = config["embed"]["inputs"]
COMPUTE = f"--device {config['device']} --quiet"


scattergather:
    shards=config["score"]["shards"],


wildcard_constraints:
    sample="[^/]+",
    name="[^/]+",


def annotation():
    """Genes of the configured genome: a list of no or one file, for a rule's input."""
    genome = config["genome"]
    return [genome["annotation"]] if "annotation" in genome else []


def shard(wildcards):
    """Snakemake's 2-of-4 as genoconv's 2/4."""
    return wildcards.scatteritem.replace("-of-", "/")


def scored_variants():
    files = [f"results/scored/{sample}.vcf.gz" for sample in SAMPLES]
    return (
        [*files, "results/report/scores.tsv", "results/report/scores.png"]
        if files
        else []
    )


def embeddings():
    return [
        f"results/embeddings/{name}.{config['embed']['format']}" for name in SEQUENCES
    ]
