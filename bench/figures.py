"""Statistics of repeated measurements."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return median, quartiles and number of repetitions."""
    low, middle, high = (
        statistics.quantiles(values, n=4, method='inclusive') if len(values) > 1
        else [values[0]] * 3)
    return {'median': middle, 'low': low, 'high': high, 'repetitions': len(values)}
