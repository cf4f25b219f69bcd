"""What a misspelt name may mean."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str], similarity: float = 0.6) -> str:
    """Say which known name may be meant, as the end of an error; empty where none is similar.

    Args:
        name: that is not known.
        known: names.
        similarity: from which a name counts, 0 to 1.

    """
    near = difflib.get_close_matches(name, sorted(known), 1, similarity)
    return f'{near[0]} may be meant' if near else ''
