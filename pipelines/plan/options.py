"""The options of ``genoconv plan``."""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler

from genoconv.pipelines.options import Options, option
from genoconv.pipelines.shared_options import as_text

_SIZE = re.compile(r"(\d[\d_,]*)(?:\.(\d+))?\s*([km]?)(?:b|bp)?", re.IGNORECASE)


def parse_length(value: Any) -> Any:
    """``2.4m``, ``450k``, ``32_768`` or ``2,473,537`` as a number; thousands and millions are decimal."""
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 1e6 in a file, or on the command line
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise ValueError("expected a number such as 32768, 450k or 2.4m")
    whole, part, unit = found.groups()
    factor = {"": 1, "k": 1_000, "m": 1_000_000}[unit.lower()]
    number = Decimal(f"{whole.replace('_', '').replace(',', '')}.{part or 0}") * factor
    if number != int(number):
        raise ValueError(f"{value} is not a whole number")
    return int(number)


class Bases(int):
    """A number of bases, which may be written as :func:`parse_length` reads it."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return handler.generate_schema(Annotated[int, BeforeValidator(parse_length)])


class PlanOptions(Options):
    """One call of ``genoconv plan``."""

    length: Annotated[
        Bases,
        Field(ge=1, le=2**31),
        option("--length", "-n", metavar="N", help="Bases in a window: 32768, 450k, 2.4m."),
    ]
    preset: Annotated[
        str, option("--preset", "-p", metavar="NAME", help="Sizes of the model; see genoconv models list.")
    ] = "gene-4m"
    filter_length: Annotated[
        Bases | None,
        Field(ge=2),
        option("--filter-length", metavar="K", default="as long as the window", help="Taps of the long filters."),
    ] = None
    train: Annotated[bool, option("--train", help="A training step instead of a forward pass.")] = False
    batch_size: Annotated[int, Field(ge=1), option("--batch-size", "-b", metavar="B", help="Windows at once.")] = 1
    precision: Annotated[
        Literal["bf16", "32"], BeforeValidator(as_text), option("--precision", help="Arithmetic of the model.")
    ] = "bf16"
    gpu: Annotated[
        str | None,
        option("--gpu", metavar="NAME", default="the one that is here", help="h200, h100, a100, rtx4090 and others."),
    ] = None
