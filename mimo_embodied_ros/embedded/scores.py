"""Shares of right answers, by what was asked."""

from __future__ import annotations

from collections import defaultdict
from statistics import median


class Scores:
    """Shares of right answers, by figure and by part of a figure."""

    def __init__(self) -> None:
        """Begin without answers."""
        self._right: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.errors: list[float] = []
        """Distances of points from the truth, in pixels of a picture 640 wide."""

    def add(self, figure: str, part: str, *, right: float) -> None:
        """Count one answer; ``right`` is from 0 (wrong) to 1."""
        self._right[figure, part].append(right)

    def report(self) -> dict[str, float | dict[str, float]]:
        """Return the shares by figure, or by figure and part where it has parts.

        ``point_error`` is the median of the errors.
        """
        out: dict[str, float | dict[str, float]] = {}
        for (figure, part), right in sorted(self._right.items()):
            share = round(sum(right) / len(right), 4)
            if part:
                parts = out.setdefault(figure, {})
                assert isinstance(parts, dict)
                parts[part] = share
            else:
                out[figure] = share
        if self.errors:
            out['point_error'] = round(median(self.errors), 2)
        return out

    def counts(self) -> dict[str, int]:
        """Return the number of answers behind each share."""
        return {f'{figure} {part}'.strip(): len(v) for (figure, part), v in self._right.items()}
