# What the rules need to know about the configuration.
import shlex

TRAINS = "train" in config["model"]
MODEL = "results/model" if TRAINS else config["model"]["folder"]
SAMPLES = config["score"]["samples"]
TARGETS = config["scan"]["targets"]
SEQUENCES = config["embed"]["inputs"]
COMPUTE = f"--device {config['device']} --quiet"


scattergather:
    shards=config["score"]["shards"],


wildcard_constraints:
    sample="[^/]+",
    name="[^/]+",
    target="[^/]+",


def annotation():
    """Genes of the configured genome: a list of no or one file, for a rule's input."""
    genome = config["genome"]
    return [genome["annotation"]] if "annotation" in genome else []


def window_source(wildcards, input):
    """Where windows come from; a genome by name brings its genes."""
    if "name" in config["genome"]:
        return f"--genome {config['genome']['name']} --offline"
    genes = (
        f"--annotation {shlex.quote(str(input.annotation))}"
        if input.annotation
        else "--tiles"
    )
    return f"--fasta {input.fasta} {genes}"


def training_windows(wildcards, input):
    """Which windows the model learns from: those of a file, the genes of an annotation, or tiles."""
    if input.windows:
        return f"--windows {input.windows}"
    return (
        f"--annotation {shlex.quote(str(input.annotation))}" if input.annotation else ""
    )


def windows():
    """The file of windows, where the configuration asks for one: a list of no or one file."""
    return ["results/windows.bed"] if "windows" in config else []


def calibration():
    """The model's calibration, where the configuration asks for one: a list of no or one file."""
    return [f"{MODEL}/calibration.npz"] if "calibrate" in config["model"] else []


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


def scans():
    return [f"results/scan/{name}.{config['scan']['format']}" for name in TARGETS]


def embeddings():
    return [
        f"results/embeddings/{name}.{config['embed']['format']}" for name in SEQUENCES
    ]
