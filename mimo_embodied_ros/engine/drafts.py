"""Draft the next tokens of an answer, so that the model can check several in one step.

This is speculative decoding without a second model: the draft is what followed the same few tokens
in earlier answers (the n-grams of prompt lookup, github.com/apoorvumang/prompt-lookup-decoding, but
of answers). Tasks have fixed formats, so that much of an answer can be predicted. The model reads a
draft in one pass, as it reads a prompt, and only tokens that it prefers itself are kept. In float32
these are the ones that it would have written without a draft; in bfloat16 a pass over several
tokens is rounded otherwise than one token, so that of two about equal tokens the other may win.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTEXT = 3
"""Number of tokens from which the next one is predicted."""
_CAPACITY = 100_000  # contexts; about 20 MB


class Drafter:
    """Predicts tokens from the answers of one model so far. For use by one thread."""

    def __init__(self, longest: int) -> None:
        """Draft at most ``longest`` tokens at once; 0 is none."""
        self._longest = longest
        # by context: the token that followed last, and whether it also followed the time before
        self._next: dict[tuple[int, ...], tuple[int, bool]] = {}

    def learn(self, tokens: Sequence[int]) -> None:
        """Learn from the tokens of an answer, with the ``CONTEXT`` tokens before it."""
        if not self._longest:
            return
        if len(self._next) > _CAPACITY:
            self._next.clear()
        for end in range(CONTEXT, len(tokens)):
            context, token = tuple(tokens[end - CONTEXT : end]), tokens[end]
            previous = self._next.get(context)
            self._next[context] = token, previous is not None and previous[0] == token

    def draft(self, tokens: Sequence[int]) -> list[int]:
        """Return tokens that may follow.

        A token is drafted only if it followed its context twice in succession, because numbers
        differ from answer to answer.
        """
        draft: list[int] = []
        context = tuple(tokens[-CONTEXT:])
        while len(draft) < self._longest:
            token, repeated = self._next.get(context, (0, False))
            if not repeated:
                break
            draft.append(token)
            context = (*context[1:], token)
        return draft
