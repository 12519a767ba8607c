"""Which rows are convolved in chunks, and in chunks of which size."""

from genoconv.ops.longconv.chunked.plan import SHORT, Shares, share_out

SIZES = (4096, 8192, 16384, 32768)
WHOLE = (256, 512, 1024, 2048, *SIZES, 65536, 131072, 262144, 524288, 1 << 20, 1 << 22)


def shares(*lengths: int, taps: int | None = None, channels: int = 256, sizes: tuple[int, ...] = SIZES) -> Shares:
    return share_out(lengths, taps=taps or max(lengths), channels=channels, sizes=sizes, whole=WHOLE)


def test_every_row_has_one_place() -> None:
    found = shares(77, 137_344, 9099, 33_358, 20_000, 64_604, 2_000_000)
    numbers = [row for group in found.groups for row in group.rows] + list(found.others)
    assert sorted(numbers) == list(range(7))
    assert found.others == (6,), "a row of millions has too many products of chunks"


def test_rows_of_a_group_go_from_long_to_short() -> None:
    lengths = (9000, 40_000, 9001, 137_344)
    for group in shares(*lengths).groups:
        own = [lengths[row] for row in group.rows]
        assert own == sorted(own, reverse=True)
        assert group.chunks == -(-own[0] // group.points)


def test_short_filters_need_few_spectra() -> None:
    (group,) = shares(40_000, 39_000, taps=1000).groups
    assert group.filter_chunks == 2
    assert group.points == 4096
    assert all(group.filter_chunks == group.chunks for group in shares(40_000, 100_000).groups)


def test_another_size_has_to_pay_for_its_launches() -> None:
    lengths = (4000, 32_000)
    assert len(shares(*lengths, channels=8).groups) == 1
    assert len(shares(*lengths * 40, channels=1024).groups) == 2


def test_many_short_rows_are_moved_together_instead() -> None:
    few = shares(*[200] * 5, 20_000)
    assert not few.others
    many = shares(*[200] * 1000, 20_000)
    assert len(many.others) == 1000
    assert SHORT >= 200


def test_without_kernels_nothing_is_cut() -> None:
    assert shares(100, 5000, sizes=()) == Shares((), (0, 1))
