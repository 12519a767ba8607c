"""How the blocks of the backward kernel share out the batches of all channels: in slices and teams, by predicted time.

A step is what a block takes at a time of one channel's batch.
"""

from typing import NamedTuple

_MOST_SLICES = 64


class Shares(NamedTuple):
    """Work of the backward kernel's blocks.

    Attributes:
        grid: blocks.
        slices: parts of a channel's batch, each with sums of its own.
        team: blocks that share the steps of a slice, alternately, and add to the same sums in order; with several, all
            blocks must be on the GPU at a time.
    """

    grid: int
    slices: int
    team: int


def share_out_tiles(steps: int, blocks: int, *, channels: int) -> Shares:
    """Of rows that fit one tile: a block has the sums of its slice to itself.

    Args:
        steps: of each channel.
        blocks: that the GPU holds at a time.
        channels: H.
    """
    # The fewest slices (each costs a partial sum) among those that finish first, a job's own cost counted as half a
    # step.
    slices = min(
        range(1, min(steps, _MOST_SLICES) + 1),
        key=lambda n: (-(-channels * n // blocks) * (-(-steps // n) + 0.5), n),
    )
    return Shares(min(blocks, channels * slices), slices, 1)


def share_out_rows(steps: int, blocks: int, *, channels: int, split: int) -> Shares:
    """Of rows of several tiles, whose sums are in device memory. split: S of the plan; the rest as above."""
    # In steps, fitted to what one H100 took. alone: how much longer a step takes where every block has a channel of its
    # own, and all those filters and sums do not fit the L2 cache. lag: of a block behind the one before it, for sums
    # are passed on once in this part of a step; in large teams the first waits for the last when its turn comes again.
    alone, lag = {1: (0.05, 0.22), 2: (0.3, 0.2), 4: (0.55, 0.12)}[split]

    def time(slices: int, team: int) -> float:
        depth = steps // slices
        rounds = -(-channels * slices // (blocks // team)) * -(-depth // team)
        queue = max(1.0, lag * team) if team < depth else 1.0
        return rounds * queue * (1 + alone / team) + 0.6 * team + 0.3 * slices

    slices, team = min(
        (
            (slices, team)
            for slices in range(1, min(max(1, blocks // channels), steps, _MOST_SLICES) + 1)
            for team in range(1, min(steps // slices, blocks) + 1)
        ),
        key=lambda way: time(*way),
    )
    return Shares(team * min(blocks // team, channels * slices), slices, team)
