"""What a type checker sees of genoconv from outside. Not run: ``.ci/typecheck`` checks it with mypy --strict.

An ignore comment that is not needed is an error there, so the negative lines cannot rot either.
"""

from pathlib import Path
from typing import assert_type

import torch

import genoconv
from genoconv.models import HyenaDNA
from genoconv.ops import FilterSpectrum, prepare_filter

model = genoconv.load_model(Path("runs/yeast"), device="cpu", dtype=torch.float32)
assert_type(model, HyenaDNA)
assert_type(model(torch.tensor([[7, 8, 9, 10]])), torch.Tensor)
assert_type(model.hidden(torch.tensor([[7, 8, 9, 10]]), layer=0), torch.Tensor)

rows, taps = torch.randn(2, 64, 4096), torch.randn(64, 4096)
assert_type(genoconv.fftconv(rows, taps, D=torch.ones(64), backend="torch"), torch.Tensor)
assert_type(prepare_filter(taps, 4096), FilterSpectrum)
assert_type(genoconv.score(model, "ACGT", "ACTT"), float)
assert_type(genoconv.__version__, str)

genoconv.score(model, "ACGT", torch.tensor([7, 8, 9, 9]), reduce="mean")
genoconv.score(model, "ACGT", ["ACGA"], reduce="median")  # type: ignore[call-overload]
genoconv.fftconv(rows, "taps")  # type: ignore[arg-type]
genoconv.load_model(3)  # type: ignore[arg-type]
genoconv.no_such_name  # type: ignore[attr-defined]  # noqa: B018
