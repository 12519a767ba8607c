"""Keys in use in INFO, whose lists are looked at once."""

import pytest

from genoconv.variants import survey as module
from genoconv.variants.records import Record
from genoconv.variants.survey import survey

INFOS = [".", "A=1;B", "A=2;B", "B=3;C", "A", "C;D=x=y", "D=;E", "E", "E=1"]


@pytest.mark.parametrize("most", [0, 2, 4096])
def test_every_key_and_whether_it_ever_has_a_value(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(module, "_MOST_LISTS", most)
    records = [Record("c", n, "A", ("T",), f"c\t{n + 1}\t.\tA\tT\t.\t.\t{info}") for n, info in enumerate(INFOS)]
    assert survey(records).info == {"A": True, "B": True, "C": False, "D": True, "E": True}
