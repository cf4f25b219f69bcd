"""Guesses what an answer will say next, so that the model can check several tokens in one step.

Speculative decoding without a second model: what followed the same few tokens in earlier answers is
the draft (the n-grams of prompt lookup, github.com/apoorvumang/prompt-lookup-decoding, taken from
answers). Tasks have fixed formats, so that much of an answer can be foreseen. The model reads a
draft as it reads a prompt, and only what it would have written itself is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTEXT = 3
"""Tokens from which the next one is guessed."""
_KEPT = 100_000  # contexts; some 20 MB


class Drafter:
    """What has followed what, in the answers of one model. For one thread."""

    def __init__(self, longest: int) -> None:
        """Nothing is known; a draft will have at most ``longest`` tokens, with 0 none at all."""
        self._longest = longest
        # to the token that followed last, and whether the same one did the time before
        self._next: dict[tuple[int, ...], tuple[int, bool]] = {}

    def learn(self, tokens: Sequence[int]) -> None:
        """Note an answer, with the ``CONTEXT`` tokens before it."""
        if not self._longest:
            return
        if len(self._next) > _KEPT:
            self._next.clear()
        for end in range(CONTEXT, len(tokens)):
            context, token = tuple(tokens[end - CONTEXT : end]), tokens[end]
            before = self._next.get(context)
            self._next[context] = token, before is not None and before[0] == token

    def draft(self, tokens: Sequence[int]) -> list[int]:
        """What may follow; only what has twice in succession, because numbers change."""
        draft: list[int] = []
        context = tuple(tokens[-CONTEXT:])
        while len(draft) < self._longest:
            token, often = self._next.get(context, (0, False))
            if not often:
                break
            draft.append(token)
            context = (*context[1:], token)
        return draft
