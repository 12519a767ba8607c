"""Numbers of bases as people write them."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler

DEFAULT_WINDOW = 32_768
"""Bases of a window where none is asked for and the model was trained on longer ones."""
_SIZE = re.compile(r"(\d[\d_,]*)(?:\.(\d+))?\s*([km]?)(?:b|bp)?", re.IGNORECASE | re.ASCII)


def parse_length(value: Any) -> Any:
    """``2.4m``, ``450k``, ``32_768`` or ``2,473,537`` as a number; thousands and millions are decimal."""
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 1e6 in a file, or on the command line
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise ValueError(f"{value[:60]!r} is not a number such as 32768, 450k or 2.4m")
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
