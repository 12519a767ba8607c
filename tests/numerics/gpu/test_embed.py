"""On a GPU: vectors beside those of a CPU, with batches by free memory."""

import numpy as np
import pytest
import torch
from embed_files import small_model
from fasta_files import random_bases
from gpu_kernels import ON_A_GPU

from genoconv.models.devices import resolve_precision
from genoconv.tasks.embed import Embedder
from genoconv.tasks.pooling import Pool, Reading
from genoconv.tasks.spans import Span
from genoconv.tokens import encode

pytestmark = ON_A_GPU


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-3), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("pool", Pool)
def test_vectors_of_a_gpu_and_of_a_cpu(pool: Pool, dtype: torch.dtype, bound: float) -> None:
    bases = random_bases(3000, seed=1)
    spans = [Span("x", "x", 0, n, "-", encode(bases[n : 2 * n])) for n in (1, 60, 300, 333, 1024, 1500)]
    options = {"pool": pool, "reading": Reading.BOTH}
    truth = np.concatenate(Embedder(small_model(max_length=1024), **options)(spans))
    found = np.concatenate(Embedder(small_model(max_length=1024).to("cuda", dtype), **options)(spans))
    assert np.linalg.norm(found - truth) < bound * np.linalg.norm(truth)
    assert truth.std() > 0.1


def test_auto_is_bf16_where_the_gpu_has_it() -> None:
    able = torch.cuda.get_device_capability()[0] >= 8
    for device in ("auto", "cuda", "cuda:0"):
        assert resolve_precision("auto", device=device) == ("bf16" if able else "32")
        assert resolve_precision("32", device=device) == "32"
