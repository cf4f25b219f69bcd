"""One answer while it is written: its tokens, its text, and why it ended."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from tokenizers.decoders import DecodeStream

from .drafts import CONTEXT
from .repetition import RepetitionDetector

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from tokenizers import Tokenizer

    from .interface import EarlyEnd
    from .processor import EncodedPrompt
    from .structured import GrammarMatcher


class Generation:
    """One answer: what it is asked, what is written of it, and how it ended.

    The model's thread writes, the caller's reads ``pieces``.

    Attributes:
        encoded: the prompt.
        matcher: says which tokens may come; None: any.
        tokens: written so far.
        reason: why it ended, as in ``Reply.finish_reason``; empty while it goes on.
        reused: tokens of the prompt that the model had read before.
        first_token: ``time.monotonic()`` seconds; 0 before.
        error: what ended it instead.

    """

    def __init__(
        self, encoded: EncodedPrompt, max_tokens: int, tokenizer: Tokenizer,
        stop_tokens: Collection[int], end: EarlyEnd,
        complete: Callable[[str], bool] | None = None, matcher: GrammarMatcher | None = None,
    ) -> None:
        """Nothing is written yet.

        Args:
            encoded: the prompt.
            max_tokens: at most so many are written.
            tokenizer: writes the text.
            stop_tokens: any of them ends the answer.
            end: looked at before the first and after every token.
            complete: whether a text is a whole answer, so that nothing need follow.
            matcher: says which tokens may come; None: any.

        """
        self.encoded, self.matcher = encoded, matcher
        self.tokens: list[int] = []
        self.reason = ''
        self.reused = 0
        self.first_token = 0.0
        self.error: Exception | None = None
        self._max_tokens, self._stop_tokens = max_tokens, stop_tokens
        self._end, self._complete = end, complete
        self._before: list[int] = encoded.tokens[-CONTEXT:].tolist()
        # Holds text back until it completes a character. The streamers of transformers hold it
        # back until the next space, so that a list of points would come all at once.
        self._tokenizer, self._stream = tokenizer, DecodeStream([], skip_special_tokens=True)
        self._repetition = RepetitionDetector()
        self._text, self._read = '', 0
        self._changed = threading.Condition()
        self._listened_to = self._over = False

    # -- the model's thread

    def wanted(self) -> bool:
        """Whether it is to go on, or to begin."""
        try:
            if not self.reason and self._end.reached():
                self.reason = self._end.reason
        except Exception as error:
            self.error = error
        return not self.reason and self.error is None

    def write(self, token: int) -> bool:
        """Take the next token; False when the answer is at its end."""
        if not self.tokens:
            self.first_token = time.monotonic()
        self.tokens.append(token)
        if self.matcher is not None:
            self.matcher.take(token)
        text = self._stream.step(self._tokenizer, token) or ''
        self._text += text
        going_on = self.wanted()
        if token in self._stop_tokens:
            self.reason, going_on = 'stop', False
        elif going_on:
            going_on = not self._finished(text)
        if text and self._listened_to:
            with self._changed:
                self._changed.notify()
        return going_on

    def newest(self) -> list[int]:
        """What the next token is guessed from."""
        return (self._before + self.tokens[-CONTEXT:])[-CONTEXT:]

    def whole(self) -> list[int]:
        """All tokens, behind the end of the prompt."""
        return self._before + self.tokens

    def _finished(self, text: str) -> bool:
        if text and self._repetition.feed(text):
            self.reason = 'repetition'
        elif self._complete is not None and text and self._complete(self._text):
            self.reason = 'stop'
        elif len(self.tokens) >= self._max_tokens:
            self.reason = 'length'
        return bool(self.reason)

    def finish(self, error: Exception | None = None) -> None:
        """Hand it over to the caller; only the first call does."""
        if self._over:
            return
        self.error = self.error or error
        # an answer can be cut within a character, which the stream still holds back
        whole: str = self._tokenizer.decode(self.tokens, skip_special_tokens=True)
        with self._changed:
            self._text = self._text + whole[len(self._text) :]
            self._over = True
            self._changed.notify()

    # -- the caller's

    def drop(self) -> None:
        """End it within a token."""
        self.reason = self.reason or 'cancelled'

    def pieces(self) -> Iterator[tuple[str, int]]:
        """New text and the number of tokens so far, as they come, to the end."""
        self._listened_to, over = True, False
        while not over:
            with self._changed:
                self._changed.wait_for(lambda: self._over or len(self._text) > self._read)
                text, over = self._text[self._read :], self._over
                self._read = len(self._text)
            if text:
                yield text, len(self.tokens)

    def wait(self) -> str:
        """The whole text, at its end."""
        with self._changed:
            self._changed.wait_for(lambda: self._over)
        return self._text
