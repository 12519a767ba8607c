"""Groups of rows: how many are in flight between the passes of a plan, and the memory that they take."""

from abc import abstractmethod

from genoconv.ops.longconv.plan import Plan

_GROUP_BYTES = 60 * 2**20
"""Spectra in flight between passes of the forward pass, in all groups.

Smaller groups would stay in the L2 cache, but each costs the launches of its passes (`benchmarks/NOTES.md`).
"""
_BACKWARD_SHARE = 6
"""Times that for the backward pass, where spectra of rows, of their gradients and of filters' gradients are in flight:
enough for eight rows of 2M at once, which then share a filter and need no sums in device memory."""
_GROUPS = 2
"""Groups in flight, each on a stream of its own."""


class InGroups(Plan):
    """A plan whose rows go through its passes in groups.

    Attributes:
        points: L, of a line.
    """

    points: int

    @property
    @abstractmethod
    def kept(self) -> int:
        """Points of a spectrum that are kept."""

    @property
    def group_bytes(self) -> int:
        """Device memory of the spectra in flight in a forward pass, unless a single row takes more."""
        return _GROUP_BYTES

    def rows_at_once(self, rows: int, *, batches: int | None = None) -> int:
        """Rows of a group, of so many in all. ``batches``: in the backward pass, how many rows share a filter."""
        most = self.group_bytes // (4 * self.kept * _GROUPS)
        if batches is not None:  # two spectra of each row, and one for each filter
            most = _BACKWARD_SHARE * self.group_bytes * batches // (4 * self.kept * _GROUPS * (2 * batches + 1))
        groups = -(-rows // max(1, most))
        return -(-rows // groups)  # groups of equal sizes

    def groups(self, rows: int, *, batches: int | None = None) -> int:
        """Groups in flight."""
        most = _GROUPS if 4 * self.kept * _GROUPS <= self.group_bytes else 1
        return min(most, -(-rows // self.rows_at_once(rows, batches=batches)))

    def workspace_bytes(self, batches: int, channels: int, *, backward: bool) -> int:
        """Spectra of the rows in flight, their scales, and in the backward pass sums over the batch."""
        rows, line = batches * channels, 4 * self.kept
        sharing = batches if backward else None
        at_once, groups = self.rows_at_once(rows, batches=sharing), self.groups(rows, batches=sharing)
        spectra = groups * at_once * (line + self.points // 8)
        if not backward:
            return spectra + 8 * rows
        filters = groups * max(1, at_once // batches) * line
        partial = 0 if at_once >= batches else 2 * line
        return 2 * spectra + filters + partial + 16 * rows
