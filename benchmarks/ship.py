"""A trained model as it ships: matrices in bfloat16, everything else as it is, so that it takes half the space.

    genoconv train benchmarks/configs/shipped/mammal-1k.yaml -o runs/mammal-1k
    python benchmarks/ship.py runs/mammal-1k genoconv/models/shipped/mammal-1k
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
    options = parser.parse_args()
    model, record = load_model(options.run), read_config(options.run)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and ".filter_fn." not in name and "embeddings" not in name:
            parameter.data = parameter.data.to(torch.bfloat16)
    save_model(model, options.output, provenance=record["provenance"])
    size = sum(path.stat().st_size for path in options.output.iterdir())
    print(f"{options.output}: {size:,} bytes")


if __name__ == "__main__":
    main()
