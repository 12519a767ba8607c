"""A trained model as it ships: matrices in bfloat16, everything else as it is, so that it takes half the space.

    genoconv train benchmarks/configs/shipped/mammal-1k.yaml -o runs/mammal-1k
    python benchmarks/ship.py runs/mammal-1k genoconv/models/shipped/mammal-1k \\
        --species human=hg38,chm13v2 --species mouse=mm39
    genoconv models calibrate genoconv/models/shipped/mammal-1k -f chr22.1-22000000.fa.gz --force

The filter networks, norms, biases and the embedding keep float32: rounding them is what would change a filter.
"""

import argparse
from pathlib import Path

import torch

from genoconv.models import load_model, save_model
from genoconv.models.checkpoint import read_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the trained model")
    parser.add_argument("output", type=Path, help="folder to make")
    parser.add_argument(
        "--species",
        action="append",
        default=[],
        metavar="NAME=GENOME,...",
        help="species whose sequence the model has read, with the genomes by name that are of it",
    )
    options = parser.parse_args()
    species = {name: genomes.split(",") for name, _, genomes in (text.partition("=") for text in options.species)}
    model, record = load_model(options.run), read_config(options.run)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and ".filter_fn." not in name and "embeddings" not in name:
            parameter.data = parameter.data.to(torch.bfloat16)
    save_model(model, options.output, provenance={**record["provenance"], "species": species})
    size = sum(path.stat().st_size for path in options.output.iterdir())
    print(f"{options.output}: {size:,} bytes")


if __name__ == "__main__":
    main()
