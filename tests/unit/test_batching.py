"""How many tokens and rows a batch has."""

import pytest
import torch

from genoconv.errors import ModelError
from genoconv.tasks.batching import cut, fitting_rows, halving, round_up

CPU = torch.device("cpu")


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("least", [16, 64])
def test_lengths_are_rounded_to_few_and_never_far(steps: int, least: int) -> None:
    rounded = [round_up(length, steps=steps, least=least) for length in range(1, 5000)]
    assert all(length <= found and found % least == 0 for length, found in enumerate(rounded, 1))
    assert all(found - length < max(least, length / steps) for length, found in enumerate(rounded, 1))
    assert rounded == sorted(rounded)
    assert len({found for found in rounded if found > steps * least}) <= steps * 13


def test_one_step_per_octave_is_the_next_power_of_two() -> None:
    assert [round_up(length, steps=1, least=64) for length in (1, 64, 65, 128, 129, 1024)] == [
        64, 64, 128, 128, 256, 1024,
    ]  # fmt: skip


def test_members_are_cut_into_runs() -> None:
    assert list(cut([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(cut([], 2)) == []


def test_a_cpu_reads_at_least_one_row() -> None:
    assert fitting_rows(lambda ids: None, length=16, device=CPU) > 1
    assert fitting_rows(lambda ids: None, length=10**9, device=CPU) == 1


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    done: list[list[int]] = []

    def work(members: list[int]) -> None:
        if len(members) > 2:
            raise torch.OutOfMemoryError
        done.append(members)

    halving(work, [1, 2, 3, 4, 5], device=CPU)
    assert [member for members in done for member in members] == [1, 2, 3, 4, 5]
    assert max(map(len, done)) == 2


def test_a_single_window_that_does_not_fit_says_what_to_do() -> None:
    def work(members: list[int]) -> None:
        raise torch.OutOfMemoryError

    words = "one window does not fit into the memory of cpu; use a smaller --x, or a device with more memory"
    with pytest.raises(ModelError, match=words):
        halving(work, [1, 2], device=CPU, remedy="a smaller --x")
