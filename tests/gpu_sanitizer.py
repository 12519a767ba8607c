"""One small problem for every plan and type of row, whole and ragged: what `gpu_sanitizer.sh` watches."""

import sys

import torch
from long_convolutions import Problem, differentiated, faults

from genoconv.ops import cuda
from genoconv.ops.plan import SIZES


def main(*, check: bool) -> int:
    """Run them all; ``check`` compares with float64, which would be slow to watch. Returns the exit code."""
    wrong = 0
    for turn, size in enumerate(size for size in SIZES if size <= cuda.gpu(0).limit):
        for ragged in (False, True):
            dtype = (torch.bfloat16, torch.float16)[(turn + ragged) % 2]
            # One row more than a step takes, and a batch that is cut into slices.
            rows = max(16 * 1024 // size, 1) + 1
            problem = Problem(
                size - 3 * ragged, B=rows, H=2, dtype=dtype, gate_in=turn % 3 != 2, gate_out=turn % 3 != 1
            )
            x = problem.inputs("cuda")
            got = differentiated(x, backend="cuda")
            found = faults(got, x) if check else []
            print(problem, *found, flush=True)
            wrong += len(found)
    torch.cuda.synchronize()
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(check=sys.argv[1:] == ["check"]))
