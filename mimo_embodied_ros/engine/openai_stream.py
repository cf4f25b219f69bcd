"""Assemble the model's text from the chunks of a chat completion."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.readers import (
    END_THINK,
    THINK,
    end_reasoning,
    is_thinking,
    reasoning_end,
)

from .interface import GenerationStats, OnText, Reply
from .repetition import RepetitionDetector

if TYPE_CHECKING:
    from mimo_embodied_ros.core.prompts import Prompt


class OtherWordsError(Exception):
    """What is written anew is not what was passed on before."""


class StreamedReply:
    """The answer so far, in the model's own form whether or not the server splits off reasoning.

    vLLM and SGLang leave ``<think>`` in the text, or with a reasoning parser move the reasoning to
    ``reasoning_content`` or ``reasoning``, as ``transformers serve`` always does. The line breaks
    around the tags are restored where the server has removed them.

    It may come in two requests (see `openai_thinking`). Then the tokens are those of both, and the
    prompt is the one of the first.

    Where a server was lost, another one writes it anew (see `openai_again`). Its words are compared
    with those that were passed to ``on_text`` before, and only what follows these is passed on.

    Attributes:
        text: so far.
        tokens: of the text: the server's count if it sends one, else the number of chunks.
        holds_answer: only the reasoning is passed to ``on_text``, until the second request or the
            end: an answer that is held to a form is written anew if the first request cuts it off.
        first_token: ``time.monotonic()`` seconds of the first text; the start before.
        written: the same of the latest text.
        cut_offs: how often a server was lost that had begun to answer, or had taken the request.
        preprocessed: the same of the request's sending.

    """

    def __init__(self, prompt: Prompt, on_text: OnText | None) -> None:
        """Start with an empty text; ``on_text`` gets the text that is added."""
        self._on_text = on_text
        self._image_tokens = sum(image.shape[0] * image.shape[1] for image in prompt.images)
        self._image_tokens //= prompt.profile.factor**2
        self._image_tokens += sum(video.tokens for video in prompt.videos)
        self._known = ''  # was passed on before the answer was begun again
        self.cut_offs = 0
        self._start = time.monotonic()
        self.first_token = self.written = self._start
        self.preprocessed = self._start
        self._clear()

    def _clear(self) -> None:
        self._thinks = False
        self._repetition = RepetitionDetector()
        self._prompt_tokens = self.tokens = 0
        self._written_before = 0  # tokens of the first request
        self._is_second = self.holds_answer = False
        self._passed_on = 0  # characters
        self.text = ''

    def begin_again(self) -> None:
        """Forget the text, since a server writes it anew, but not what was passed on."""
        if self._on_text is not None:
            self._known = max(self._known, self.text[: self._passed_on], key=len)
        self._clear()

    def add(self, reasoning: str, content: str, usage: Any) -> bool:
        """Append the text of a chunk, and pass it to ``on_text``.

        Returns:
            Whether the model has begun to repeat itself.

        """
        new = ''
        if self._is_second:  # servers that split off reasoning may take its text for one
            reasoning, content = '', reasoning + content
        if reasoning:
            if not self._thinks:
                new = THINK + '\n' * (not reasoning[0].isspace())
            self._thinks = True
            new += reasoning
        if content:
            if self._thinks:
                new += '\n' * (not (self.text + new).endswith('\n')) + END_THINK
                new += '\n\n' * (not content[0].isspace())
            self._thinks = False
            new += content
        if new:
            self.written = time.monotonic()
            if not (self.text or self._known):
                self.first_token = self.written
            self.tokens += 1
        if isinstance(usage, dict):
            prompt, written = usage.get('prompt_tokens'), usage.get('completion_tokens')
            if type(prompt) is int and type(written) is int and prompt >= 0 and written >= 0:
                self._prompt_tokens = self._prompt_tokens if self._is_second else prompt
                self.tokens = self._written_before + written
        self._write(new)
        return self._repetition.feed(new)

    def close(self) -> None:
        """Close a reasoning without an answer after it: servers do not send its closing tag."""
        if self._thinks:
            self._write(end_reasoning(self.text))

    def begin_second(self) -> None:
        """Close the reasoning, for a request that continues the text.

        Of an answer that is held back, nothing stays.
        """
        if self.holds_answer and not is_thinking(self.text):
            self.text = self.text[: max(self._passed_on, reasoning_end(self.text))]
            self._write('\n\n' if self.text else f'{THINK}\n{END_THINK}\n\n')
        elif is_thinking(self.text):
            self._write(end_reasoning(self.text))
        self._thinks = self.holds_answer = False
        self._is_second, self._written_before = True, self.tokens
        self._repetition = RepetitionDetector()

    def _write(self, new: str) -> None:
        self.text += new
        end = len(self.text)
        if self.holds_answer and not is_thinking(self.text):
            end = reasoning_end(self.text)
        self._pass_on(end)

    def _pass_on(self, end: int) -> None:
        """Pass the text up to an index to ``on_text``."""
        start, self._passed_on = self._passed_on, max(self._passed_on, end)
        new, known = self.text[start:end], self._known[start : max(start, end)]
        if not new.startswith(known):
            raise OtherWordsError
        new = new[len(known) :]
        if new and self._on_text is not None:
            self._on_text(new, self.tokens)

    def complete(self) -> None:
        """Pass on the rest of a complete answer.

        Raises:
            OtherWordsError: it does not begin with what was passed on of it before.

        """
        if not self.text.startswith(self._known):
            raise OtherWordsError
        self._pass_on(len(self.text))

    def reply(self, finish_reason: str) -> Reply:
        """Return the answer with its counts and durations, complete or ended early."""
        if not self.text.startswith(self._known):  # ended early while it was written anew
            self.text = self._known
        self._pass_on(len(self.text))
        stats = GenerationStats(
            prompt_tokens=self._prompt_tokens,
            image_tokens=self._image_tokens,
            completion_tokens=self.tokens,
            preprocess_s=self.preprocessed - self._start,
            first_token_s=self.first_token - self._start,
            total_s=time.monotonic() - self._start,
        )
        return Reply(self.text, finish_reason, stats)
