"""Characters that stand for others: full-width forms, as Chinese texts have them, and emphasis."""

from __future__ import annotations

import re

_ASCII = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20, 0x2212: 0x2D}
_EMPHASIS = re.compile(r'(?<![\w.*])(?:\*\*|__|`)|(?:\*\*|__|`)(?![\w.*])')


def to_ascii(text: str) -> str:
    """Replace full-width letters, digits and signs, and U+2212, by ASCII; the length stays.

    Unlike NFKC it leaves alone what would become another number, as in "m\u00b2" or "\u2460".
    """
    return text.translate(_ASCII)


def strip_emphasis(text: str) -> str:
    """Remove Markdown's marks of bold and code, but not within words and numbers: 3**1 is no 31."""
    return _EMPHASIS.sub('', text)
