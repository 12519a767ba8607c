"""Predictions that are not numbers end a run of ``genoconv predict`` with the record that had them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from genoconv.errors import ModelError
from genoconv.pipelines.predict.run import _check_finite
from genoconv.tasks.spans import Span
from genoconv.tokens import encode

OPTIONS: Any = SimpleNamespace(model=Path("m"), precision="bf16")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_record_without_a_number_is_named(value: float) -> None:
    spans = [
        Span(name, name, 0, len(bases), "+", encode(bases)) for name, bases in (("a", "AC"), ("b", ""), ("c", "G"))
    ]
    found = np.zeros((3, 2), np.float32)
    found[1] = np.nan  # a record without bases has no prediction
    _check_finite(OPTIONS, spans, found)
    found[2, 1] = value
    with pytest.raises(ModelError, match=r"m: its predictions are not finite \(first for c\).*--precision bf16"):
        _check_finite(OPTIONS, spans, found)
