"""Notices that a model has begun to write the same thing over and over.

Repetition collapse is a known fault of MiMo-VL, the base model (XiaomiMiMo/MiMo-VL issue 27).
"""

from __future__ import annotations

import numpy as np

LONGEST = 400  # characters of a piece that repeats: a paragraph
# A path of a standing car, "(+0.00, +0.00, +0.00), " eight times, is right and has 184 of them.
SPAN, COPIES = 256, 4


class RepetitionDetector:
    """Follows a text and tells when its end is one piece, again and again, and nothing else.

    The end has to be at least 256 characters long and to hold at least four copies of the piece,
    which has at most 400 characters. A character costs some microseconds.
    """

    def __init__(self) -> None:
        """Start with an empty text."""
        self._recent = np.zeros(LONGEST, np.int32)  # the newest first
        self._runs = np.zeros(LONGEST, np.int64)  # characters equal to those so many before
        periods = np.arange(1, LONGEST + 1)
        self._enough = np.maximum(SPAN, COPIES * periods) - periods
        self.found = False

    def feed(self, text: str) -> bool:
        """Take what was written since; True from when the text has begun to repeat itself."""
        for character in text:
            same = self._recent == ord(character)
            self._runs = (self._runs + 1) * same
            self._recent[1:] = self._recent[:-1].copy()
            self._recent[0] = ord(character)
            if (self._runs >= self._enough).any():
                self.found = True
        return self.found
