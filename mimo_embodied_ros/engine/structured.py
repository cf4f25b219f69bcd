"""Constrained decoding: only tokens that the grammar of an answer allows are chosen."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from mimo_embodied_ros.core.errors import BackendError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray


def supports_grammars() -> bool:
    """Whether answers can be constrained by grammars here: llguidance is installed."""
    return importlib.util.find_spec('llguidance') is not None


class GrammarCompiler:
    """Compiles grammars for one tokenizer, with llguidance."""

    def __init__(self, tokenizer: Any, stop_tokens: Collection[int]) -> None:
        """Take a fast tokenizer; its preparation at the first grammar takes up to a second."""
        self._tokenizer, self._stop_tokens = tokenizer, sorted(stop_tokens)
        self._prepared: Any = None

    def matcher(self, grammar: str) -> GrammarMatcher:
        """Compile a grammar and return a matcher at its start.

        Raises:
            InvalidRequestError: llguidance is not installed, or the grammar is not valid.

        """
        try:
            import llguidance
            import llguidance.hf
        except ImportError as error:
            raise InvalidRequestError(
                f'structured answers need llguidance, and it cannot be imported ({error}); run '
                '`pip install llguidance`, or ask without structure'
            ) from error
        if self._prepared is None:
            self._prepared = llguidance.hf.from_tokenizer(
                self._tokenizer, eos_token=self._stop_tokens)
        matcher = llguidance.LLMatcher(self._prepared, grammar, log_level=0)
        if matcher.is_error():
            raise InvalidRequestError(f'the grammar of the answer is wrong: {matcher.get_error()}')
        return GrammarMatcher(matcher)


class GrammarMatcher:
    """The state of one answer in its grammar."""

    def __init__(self, matcher: Any) -> None:
        """Take a matcher of llguidance."""
        self._matcher = matcher

    def allowed(self, vocabulary: int) -> NDArray[np.bool_]:
        """Return which tokens may come next, (vocabulary,) bool.

        Raises:
            BackendError: no token may.

        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.unpackbits(bits, count=min(vocabulary, 8 * len(bits)), bitorder='little')
        if not allowed.any():
            raise BackendError(f'no token fits the grammar: {self._matcher.get_error()}')
        return np.pad(allowed.astype(bool), (0, vocabulary - len(allowed)))

    def is_complete(self) -> bool:
        """Whether the answer is whole, and no token but one that ends it may follow."""
        return bool(self._matcher.is_stopped() and self._matcher.is_accepting())

    def take(self, token: int) -> None:
        """Advance by a token that was allowed."""
        self._matcher.consume_token(token)
