"""From scored questions to the score of a benchmark, with its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_ALIKE = 1e-9  # sums of floats waver
_Z = NormalDist().inv_cdf(0.975)
_DIRECTIONS = 'object_rel_direction'

Sums = NDArray[np.float64]


def mean(sums: Sums, units: int) -> float:
    """Return the mean of the first column."""
    return float(sums[0]) / units


@dataclass(frozen=True)
class Tally:
    """What the score of one part of a benchmark is computed from.

    Attributes:
        rows: (units, columns); a unit is a question, or what else is drawn as a whole, such as a
            frame with several questions.
        value: the score, from the sums of the columns and the number of units.

    """

    rows: NDArray[np.float64]
    value: Callable[[Sums, int], float] = mean

    @classmethod
    def of_scores(cls, scores: Sequence[float]) -> Tally:
        """Make the tally of a mean over questions."""
        return cls(np.asarray(scores, float).reshape(-1, 1))

    @property
    def units(self) -> int:
        """How many units there are."""
        return len(self.rows)

    def score(self) -> float:
        """Return the score of all units."""
        return self.value(self.rows.sum(axis=0), self.units)

    def resampled(self, random: np.random.Generator) -> float:
        """Return the score of as many units, drawn with replacement."""
        drawn = random.integers(0, self.units, self.units)
        weights = np.bincount(drawn, minlength=self.units)
        return self.value(weights @ self.rows, self.units)


Combine = Callable[[Mapping[str, float]], float]
"""Makes one score of those of the parts, by name."""


def mean_of_parts(scores: Mapping[str, float]) -> float:
    """Return the mean of the parts' scores, each part counting the same."""
    return fmean(scores.values())


def vsibench(scores: Mapping[str, float]) -> float:
    """Return the mean over types of question, where three kinds of direction are one type."""
    directions = [s for name, s in scores.items() if name.startswith(_DIRECTIONS)]
    others = [s for name, s in scores.items() if not name.startswith(_DIRECTIONS)]
    return fmean([*others, *([fmean(directions)] if directions else [])])


COMBINE: dict[str, Combine] = {
    'mean_of_parts': mean_of_parts, 'vsibench': vsibench,
    'all': mean_of_parts, 'maplm': mean_of_parts,  # of one tally, see `POOLED`
}
"""By the name in ``suite.yaml``."""

POOLED = ('all', 'maplm')
"""With these the questions of all parts are one tally."""


def combined(tallies: Mapping[str, Tally], combine: str) -> float:
    """Return the score of a benchmark from the tallies of its parts; each has a unit at least."""
    return COMBINE[combine]({name: tally.score() for name, tally in tallies.items()})


def interval(tallies: Mapping[str, Tally], combine: str) -> tuple[float, float, str]:
    """Return the 95 % interval of a score, and by what method it was found.

    It is the percentile bootstrap: in each part the units are drawn anew, `RESAMPLES` times, with a
    fixed seed. Where all draws score the same, they say nothing; there it is Wilson's interval of a
    share of that many units.

    Returns:
        (low, high, method): the method is ``bootstrap`` or ``wilson``.

    """
    random = np.random.default_rng(0)
    scores = [
        COMBINE[combine]({n: tally.resampled(random) for n, tally in tallies.items()})
        for _ in range(RESAMPLES)]
    if max(scores) - min(scores) < _ALIKE:
        share = combined(tallies, combine)
        return *wilson(min(1.0, max(0.0, share)), sum(t.units for t in tallies.values())), 'wilson'
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high), 'bootstrap'


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a share of ``count``."""
    weight = _Z**2 / count
    middle = (share + weight / 2) / (1 + weight)
    half = _Z * math.sqrt(share * (1 - share) / count + weight / (4 * count)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)
