"""Secrets in texts: keys and passwords must not get into messages, files and logs.

`mask` is called where an error of this package is made, which is where texts of servers, their
URLs and the causes of failures enter what a user reads.
"""

from __future__ import annotations

import json
import re
from urllib.parse import quote

MASK = '***'
_LONG = 8  # characters from which a secret is no common word

# What looks like a secret, behind what tells that it is one.
_VALUE = r'(?!\*\*\*)[^\s&\'"<>;,()#]'
_PATTERNS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (
    # user:password@ in a URL; a user alone may be a token
    r'((?:[a-z][a-z0-9+.-]*:)//)[^\s/@?#\'"<>]+(?=@)',
    (r'(\bAuthorization[\'"]?\s*[:=]\s*[\'"]?(?:(?:Bearer|Basic|Token)\s+|(?!Bearer|Basic|Token)))'
     rf'{_VALUE}+'),
    # not "no bearer token was given"
    (r'(\b(?:Bearer|Basic)(?:\s|%20)+)'
     rf'(?-i:(?=[^\s\'"<>]*(?:[0-9A-Z]|[._=+/~-]\w)|[^\s\'"<>]{{16}}){_VALUE}+)'),
    r'()(?<![A-Za-z0-9])(?:sk|pk|rk)-[A-Za-z0-9_*.-]{5,}[A-Za-z0-9_*-]',
    r'()(?<![A-Za-z0-9])(?:hf|gh[opsu]|xox[abp]|glpat|nvapi|gsk)[_-][A-Za-z0-9_-]{6,}',
    # a JSON Web Token, and a key of Amazon's
    r'()(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)+',
    r'()(?-i:(?<![A-Za-z0-9])A[KS]IA[0-9A-Z]{12,})',
    # key=... and "api_key": "..."
    (r'((?<![A-Za-z0-9])(?:[a-z0-9]+[_-])*(?:(?:api[_-]?)?key|token|secret|password|passwd|pwd'
     rf'|signature|sig)(?:=|%3D|[\'"]\s*:\s*[\'"])){_VALUE}+'),
    rf'(\bapi[_ -]?key[\'"]?\s*[:=]\s*[\'"]?)(?=[^\s\'"<>,;]*[0-9]){_VALUE}{{6,}}',
))

_secrets: set[str] = set()  # of this process


def hide(secret: str) -> None:
    """Let `mask` replace a secret of this process, such as the key of a server, from now on."""
    if secret:
        _secrets.update((secret, quote(secret, safe=''), json.dumps(secret)[1:-1]))


def mask(text: str) -> str:
    """Return a text with secrets replaced by ``***``.

    These are the secrets of `hide`, and what has the form of one: ``Bearer ...``, ``sk-...``,
    ``hf_...``, ``key=...`` and ``token=...``, user and password in a URL. A short secret is
    replaced only where it is a word of its own.
    """
    for secret in sorted(_secrets, key=len, reverse=True):
        if len(secret) >= _LONG:
            text = text.replace(secret, MASK)
        else:
            text = re.sub(rf'(?<!\w){re.escape(secret)}(?!\w)', MASK, text)
    for pattern in _PATTERNS:
        text = pattern.sub(rf'\1{MASK}', text)
    return text
