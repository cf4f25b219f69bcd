"""Assemble the model's text from the chunks of a streamed chat completion."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import BackendError, MimoError
from mimo_embodied_ros.core.readers import END_THINK, THINK
from mimo_embodied_ros.core.resize import FACTOR

from .interface import GenerationStats, OnText, Reply
from .repetition import RepetitionDetector

if TYPE_CHECKING:
    from mimo_embodied_ros.core.prompts import Prompt


class ServerError(Exception):
    """Carries an error of a server, to tell it from exceptions of the caller's own code."""

    def __init__(self, error: MimoError) -> None:
        """Take the error that the caller gets."""
        super().__init__(str(error))
        self.error = error


class StreamedReply:
    """The answer so far, in the model's own form whether or not the server splits off reasoning.

    vLLM and SGLang leave ``<think>`` in the text, or with a reasoning parser move the reasoning to
    ``reasoning_content`` or ``reasoning``, as ``transformers serve`` always does. The line breaks
    around the tags are restored where the server has removed them.
    """

    def __init__(self, prompt: Prompt, on_text: OnText | None) -> None:
        """Start with an empty text; ``on_text`` gets the text that is added."""
        self._on_text = on_text
        self._image_tokens = sum(image.shape[0] * image.shape[1] for image in prompt.images)
        self._image_tokens //= FACTOR**2
        self._thinks = False
        self._repetition = RepetitionDetector()
        self._prompt_tokens = self._tokens = 0
        self._start = time.monotonic()
        self._first_token = self._start
        self.preprocessed = self._start
        self.text = ''

    def add(self, reasoning: str, content: str, usage: Any) -> bool:
        """Append the text of a chunk, and pass it to ``on_text``.

        Returns:
            Whether the model has begun to repeat itself.

        """
        new = ''
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
            if not self.text:
                self._first_token = time.monotonic()
            self._tokens += 1
        prompt_tokens = getattr(usage, 'prompt_tokens', None)
        completion_tokens = getattr(usage, 'completion_tokens', None)
        if isinstance(prompt_tokens, int) and isinstance(completion_tokens, int):
            self._prompt_tokens, self._tokens = prompt_tokens, completion_tokens
        self._write(new)
        return self._repetition.feed(new)

    def close(self) -> None:
        """Close a reasoning without an answer after it: servers do not send its closing tag."""
        if self._thinks:
            self._write('\n' * (not self.text.endswith('\n')) + END_THINK + '\n\n')

    def _write(self, new: str) -> None:
        self.text += new
        if new and self._on_text is not None:
            self._on_text(new, self._tokens)

    def reply(self, finish_reason: str) -> Reply:
        """Return the complete answer with its counts and durations."""
        stats = GenerationStats(
            prompt_tokens=self._prompt_tokens,
            image_tokens=self._image_tokens,
            completion_tokens=self._tokens,
            preprocess_s=self.preprocessed - self._start,
            first_token_s=self._first_token - self._start,
            total_s=time.monotonic() - self._start,
        )
        return Reply(self.text, finish_reason, stats)


def read_chunk(url: str, chunk: Any) -> tuple[str, str, str]:
    """Read reasoning, content and finish reason of one chunk; each is empty if it is missing.

    The types are checked here, because openai does not check them.

    Raises:
        ServerError: with a BackendError; the chunk is no part of a chat completion.

    """
    try:
        if chunk.choices == []:
            return '', '', ''  # the last chunk holds only the usage
        (choice,) = chunk.choices
        delta = choice.delta
        reasoning = getattr(delta, 'reasoning_content', None) or getattr(delta, 'reasoning', None)
        texts = reasoning or '', delta.content or '', choice.finish_reason or ''
    except (AttributeError, TypeError, ValueError) as error:
        raise ServerError(
            BackendError(f'{url} sent a chunk that is no chat completion ({error}); see its log')
        ) from error
    if not all(isinstance(text, str) for text in texts):
        raise ServerError(BackendError(
            f'{url} sent a chunk whose text is no string ({str(chunk)[:200]}); see its log'))
    return texts
