"""Detect that a model repeats itself endlessly.

Repetition collapse is a known fault of MiMo-VL, the base model (XiaomiMiMo/MiMo-VL issue 27).
"""

from __future__ import annotations

LONGEST = 400  # characters of a piece that repeats; a paragraph
# The path of a standing car, "(+0.00, +0.00, +0.00), " eight times, is right and 184 characters.
SPAN, COPIES = 256, 4
_KEPT = COPIES * LONGEST
_PROBE = 16  # characters of the end that are searched for first, which settles most texts


class RepetitionDetector:
    """Follows a text and detects that its end consists of copies of one piece.

    The end must be at least 256 characters long and hold at least four copies of the piece, which
    has at most 400 characters. A character costs about a microsecond.
    """

    def __init__(self) -> None:
        """Start with an empty text."""
        self._end = ''
        self.repeats = False

    def feed(self, text: str) -> bool:
        """Append new text; return True once the text has begun to repeat itself."""
        for character in text:
            self._end = self._end[1 - _KEPT :] + character
            if not self.repeats and len(self._end) >= SPAN:
                self.repeats = _repeats(self._end)
        return self.repeats


def _repeats(text: str) -> bool:
    probe, last = text[-_PROBE:], len(text) - _PROBE
    at = text.rfind(probe, max(0, last - LONGEST), -1)
    while at >= 0:
        period = last - at
        span = max(SPAN, COPIES * period)
        if len(text) >= span and text[-span:-period] == text[period - span :]:
            return True
        at = text.rfind(probe, max(0, last - LONGEST), at + _PROBE - 1)
    return False
