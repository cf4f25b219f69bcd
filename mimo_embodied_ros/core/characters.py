"""Characters: those that cannot be sent on, and those that stand for others.

Text comes from servers, models, files and command lines, and Python's strings hold more than UTF-8
and messages of ROS can. `valid_text` is for the places where text comes in or leaves.
"""

from __future__ import annotations

import re
from typing import Any

_ASCII = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20, 0x2212: 0x2D}
_EMPHASIS = re.compile(r'(?<![\w.*`])(?:\*\*|__|`+)|(?:\*\*|__|`+)(?![\w.*`])')

NOT_VALID = re.compile('[\0\ud800-\udfff]')


def valid_text(text: str) -> str:
    r"""Return a text that UTF-8, messages, files and logs can hold.

    The two halves of a UTF-16 pair become their character. A half alone, as in JSON's
    ``"\ud800"``, and NUL, at which ROS cuts a text, become U+FFFD.
    """
    if not NOT_VALID.search(text):
        return text
    text = text.encode('utf-16-le', 'surrogatepass').decode('utf-16-le', 'replace')
    return text.replace('\0', '\ufffd')


def valid_values(value: Any) -> Any:
    """Return what a file of JSON or YAML holds with all its texts, keys included, made valid."""
    return _made_valid(value, {})


def _made_valid(value: Any, done: dict[int, Any]) -> Any:
    """Return a copy; a list or mapping that YAML's aliases repeat is copied once."""
    if isinstance(value, str):
        return valid_text(value)
    if not isinstance(value, (dict, list)):
        return value
    if id(value) not in done:
        copy: Any = type(value)()
        done[id(value)] = copy
        if isinstance(value, dict):
            copy.update((_made_valid(key, done), _made_valid(entry, done))
                        for key, entry in value.items())
        else:
            copy.extend(_made_valid(entry, done) for entry in value)
    return done[id(value)]


class TextJoiner:
    """Makes a text valid that comes in pieces, which may end between the halves of a pair."""

    def __init__(self) -> None:
        """Begin with an empty text."""
        self._half = ''

    def feed(self, piece: str) -> str:
        """Return what can be sent on now."""
        text, self._half = self._half + piece, ''
        if '\ud800' <= text[-1:] <= '\udbff':
            text, self._half = text[:-1], text[-1]
        return valid_text(text)

    def end(self) -> str:
        """Return the rest, when no more comes."""
        return valid_text(self.feed('') + self._half)


def to_ascii(text: str) -> str:
    """Replace full-width letters, digits and signs, and U+2212, by ASCII; the length stays.

    Unlike NFKC it leaves alone what would become another number, as in "m\u00b2" or "\u2460".
    """
    return text.translate(_ASCII)


def strip_emphasis(text: str) -> str:
    """Remove Markdown's marks of bold and code, but not within words and numbers: 3**1 is no 31."""
    return _EMPHASIS.sub('', text)
