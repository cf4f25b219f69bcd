"""One answer while it is generated: its tokens, its text, and why it ended."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import torch
from tokenizers.decoders import DecodeStream

from mimo_embodied_ros.core.readers import THINK, end_reasoning, is_thinking

from .drafts import CONTEXT
from .repetition import RepetitionDetector

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tokenizers import Tokenizer

    from .early_end import EarlyEnd
    from .interface import OnText
    from .processor import EncodedPrompt
    from .structured import GrammarMatcher


class Generation:
    """One answer: its prompt, the tokens written so far, and how it ended.

    The model's thread calls ``go_on``, ``write`` and ``finish``, the caller's thread ``result``.

    Attributes:
        encoded: the prompt.
        longest: tokens of the prompt and the longest answer that is allowed.
        matcher: says which tokens the grammar allows next; None allows all.
        arrived: ``time.monotonic()`` seconds.
        tokens: written so far.
        context: the same behind the last tokens of the prompt, as the drafter needs them.
        reason: why it ended, as in ``Reply.finish_reason``; empty while it goes on.
        reused: tokens of the prompt that came from the prefix cache.
        first_token: ``time.monotonic()`` seconds of the first token; 0 before.
        error: what ended it instead of a reason.

    """

    def __init__(
        self, encoded: EncodedPrompt, max_tokens: int, tokenizer: Tokenizer,
        stop_tokens: Collection[int], end: EarlyEnd,
        matcher: GrammarMatcher | None = None, *, stop_early: bool = True,
        thinking_tokens: int = 0,
    ) -> None:
        """Start without tokens.

        Args:
            encoded: the prompt.
            max_tokens: at most so many are written.
            tokenizer: decodes the tokens.
            stop_tokens: any of them ends the answer.
            end: checked before the first and after every token.
            matcher: says which tokens the grammar allows next; None allows all.
            stop_early: end when the grammar allows nothing more, without waiting for a stop token.
            thinking_tokens: a reasoning is closed after so many tokens, its opening tag included,
                or when it repeats itself, and the answer follows; 0: it is not closed.

        """
        self.encoded, self.matcher = encoded, matcher
        self.arrived = time.monotonic()
        self.longest = len(encoded.tokens) + max_tokens
        self.tokens: list[int] = []
        self.context: list[int] = encoded.tokens[-CONTEXT:].tolist()
        self.reason = ''
        self.reused = 0
        self.first_token = 0.0
        self.error: Exception | None = None
        self._max_tokens, self._stop_tokens = max_tokens, stop_tokens
        self._end, self._stop_early = end, stop_early
        self._thinking_tokens, self._repeats = thinking_tokens, False
        self._forced: list[int] = []
        # It holds text back until a character is complete. The streamers of transformers hold it
        # back until the next space, so that a list of points would come all at once.
        self._tokenizer, self._stream = tokenizer, DecodeStream([], skip_special_tokens=True)
        self._repetition = RepetitionDetector()
        self._text = ''
        self._changed = threading.Condition()
        self._streamed = self._finished = False

    @property
    def remaining(self) -> int:
        """How many tokens may still be written."""
        return self._max_tokens - len(self.tokens)

    @property
    def free(self) -> int:
        """How many tokens the model may choose before one may be forced or the answer ends."""
        if not self._thinking_tokens:
            return self.remaining
        budget = self._thinking_tokens - len(self.tokens)
        if budget <= 0:  # spent: the next token may open the reasoning, or it is closed already
            budget = 1 if THINK.startswith(self._text.strip()) else self.remaining
        return min(self.remaining, budget)

    def forced(self) -> list[int]:
        """Return the tokens that come next, whatever the model prefers; none where it chooses.

        They close a reasoning that has taken its budget.
        """
        spent = self._thinking_tokens and (
            self._repeats or len(self.tokens) >= self._thinking_tokens)
        if spent and not self._forced and is_thinking(self._text):
            closing = end_reasoning(self._text)
            self._forced = self._tokenizer.encode(closing, add_special_tokens=False).ids
        return self._forced

    def is_held(self) -> bool:
        """Whether a grammar limits the next token."""
        return self.matcher is not None and not self.forced()

    def go_on(self) -> bool:
        """Whether to begin or continue: no end yet, not cancelled, and before the deadline."""
        try:
            if not self.reason and self._end.reached():
                self.reason = self._end.reason
        except Exception as error:
            self.error = error
        return not self.reason and self.error is None

    def write(self, token: int) -> bool:
        """Append a token; return False if the answer has ended."""
        if not self.tokens:
            self.first_token = time.monotonic()
        self.tokens.append(token)
        self.context.append(token)
        del self._forced[:1]
        if self.matcher is not None:
            self.matcher.take(token)
        text = self._stream.step(self._tokenizer, token) or ''
        self._text += text
        goes_on = self.go_on()
        if token in self._stop_tokens:
            self.reason = 'stop'
        elif goes_on and text and self._repetition.feed(text):
            if self._thinking_tokens and is_thinking(self._text):
                self._repeats, self._repetition = True, RepetitionDetector()
            else:
                self.reason = 'repetition'
        elif goes_on and self._stop_early and (
                self.matcher is not None and self.matcher.is_complete()):
            self.reason = 'stop'
        elif goes_on and len(self.tokens) >= self._max_tokens:
            self.reason = 'length'
        if text and self._streamed:
            with self._changed:
                self._changed.notify()
        return not self.reason and self.error is None

    def finish(self, error: Exception | None = None) -> None:
        """Hand the answer over to its caller; later calls do nothing."""
        if self._finished:
            return
        self.error = self.error or error
        # an answer can end within a character, which the stream still holds back
        text: str = self._tokenizer.decode(self.tokens, skip_special_tokens=True)
        with self._changed:
            self._text = self._text + text[len(self._text) :]
            self._finished = True
            self._changed.notify()

    def result(self, on_text: OnText | None = None) -> str:
        """Wait for the end and return the whole text.

        Args:
            on_text: gets new text as it comes; what it raises ends the answer and is raised here.

        Raises:
            Exception: what ended the answer instead of a reason.

        """
        streamed, finished = 0, False
        self._streamed = on_text is not None
        while not finished:
            with self._changed:
                while not self._finished and (on_text is None or len(self._text) == streamed):
                    self._changed.wait()
                text, finished = self._text[streamed:], self._finished
            streamed += len(text)
            if on_text is not None and text:
                try:
                    on_text(text, len(self.tokens))
                except BaseException:
                    self.reason = self.reason or 'cancelled'
                    with self._changed:
                        while not self._finished:
                            self._changed.wait()
                    raise
        if self.error is not None:
            raise self.error
        return self._text


def choose_tokens(logits: torch.Tensor, generations: Sequence[Generation]) -> list[list[int]]:
    """Return the most likely tokens of each answer.

    Args:
        logits: (answers, tokens, vocabulary).
        generations: the answers; a grammar limits the first token, and forced tokens come first.

    """
    logits = logits.float()
    for row, generation in zip(logits[:, 0], generations, strict=True):
        if generation.is_held():
            assert generation.matcher is not None
            allowed = torch.from_numpy(generation.matcher.allowed(len(row))).to(row.device)
            row.masked_fill_(~allowed, float('-inf'))
    return force_tokens(logits.argmax(-1).tolist(), generations)


def force_tokens(
    tokens: list[list[int]], generations: Sequence[Generation]
) -> list[list[int]]:
    """Replace the first tokens of each answer by those that are forced."""
    for chosen, generation in zip(tokens, generations, strict=True):
        forced = generation.forced()[: len(chosen)]
        chosen[: len(forced)] = forced
    return tokens
