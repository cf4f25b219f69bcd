"""Holds an answer to a grammar: of each next token, only those that the grammar allows count."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from mimo_embodied_ros.core.errors import BackendError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray


def supports_grammars() -> bool:
    """Whether answers can be held to a grammar here."""
    return importlib.util.find_spec('llguidance') is not None


class GrammarCompiler:
    """Makes matchers for one tokenizer, with llguidance, which is needed for this only."""

    def __init__(self, tokenizer: Any, stop_tokens: Collection[int]) -> None:
        """Take a fast tokenizer; building takes up to a second, at the first grammar."""
        self._tokenizer, self._stop_tokens = tokenizer, sorted(stop_tokens)
        self._built: Any = None

    def matcher(self, grammar: str) -> GrammarMatcher:
        """Begin to follow a grammar.

        Raises:
            InvalidRequestError: llguidance is not installed, or the grammar is none.

        """
        try:
            import llguidance
            import llguidance.hf
        except ImportError as error:
            raise InvalidRequestError(
                f'structured answers need llguidance, and it cannot be imported ({error}); run '
                '`pip install llguidance`, or ask without structure'
            ) from error
        if self._built is None:
            self._built = llguidance.hf.from_tokenizer(
                self._tokenizer, eos_token=self._stop_tokens)
        found = llguidance.LLMatcher(self._built, grammar, log_level=0)
        if found.is_error():
            raise InvalidRequestError(f'the grammar of the answer is wrong: {found.get_error()}')
        return GrammarMatcher(found)


class GrammarMatcher:
    """Where one answer is in its grammar."""

    def __init__(self, matcher: Any) -> None:
        """Begin with a matcher of llguidance."""
        self._matcher = matcher

    def allowed(self, vocabulary: int) -> NDArray[np.bool_]:
        """(vocabulary,) which tokens may come next.

        Raises:
            BackendError: none may.

        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.unpackbits(bits, count=min(vocabulary, 8 * len(bits)), bitorder='little')
        if not allowed.any():
            raise BackendError(f'no token fits the grammar: {self._matcher.get_error()}')
        return np.pad(allowed.astype(bool), (0, vocabulary - len(allowed)))

    def take(self, token: int) -> None:
        """Go on by a token that was allowed."""
        self._matcher.consume_token(token)
