"""The two sides of every comparison: each takes a query and gives the words of its answer."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from baseline import plain_generate
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.utils.logging import disable_progress_bar

from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.engine.processor import load_processor, read_limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.core.query import Query

_CALLERS = 64
disable_progress_bar()


@dataclass(frozen=True)
class TimedAnswer:
    """An answer.

    Attributes:
        prompt: what it answers.
        text: without control tokens.
        tokens: as the model wrote them, the end-of-text token included.
        reason: why it ended, as in ``Reply.finish_reason``; empty where the side does not tell.
        prompt_tokens: of the prompt, images included; 0 where the side does not tell.
        seconds: from the query to the text.
        after_first_s: of these, after the first token.

    """

    prompt: Prompt
    text: str
    tokens: tuple[int, ...]
    reason: str
    prompt_tokens: int
    seconds: float
    after_first_s: float


def synchronized_now() -> float:
    """Seconds, when all that a GPU was given is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def with_new_frames(queries: Sequence[Query]) -> list[Query]:
    """The same questions about the same frames, as if those had just come: nothing is resized."""
    frames: dict[int, Frame] = {}
    return [
        replace(query, frames=tuple(
            frames.setdefault(id(frame), Frame(frame.pixels)) for frame in query.frames))
        for query in queries
    ]


class ComparedEngine(Protocol):
    """Something that answers."""

    def ask(self, query: Query) -> TimedAnswer:
        """Answer one query."""
        ...

    def ask_all(self, queries: Sequence[Query]) -> list[TimedAnswer]:
        """Answer several, which come at the same time."""
        ...


class PlainGenerate:
    """``generate`` of transformers, called once for each question, one after the other."""

    def __init__(
        self, folder: str | Path, dtype: torch.dtype = torch.float32, device: str = 'cpu'
    ) -> None:
        """Load a model of its own."""
        self._model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder, dtype=dtype).to(device).eval()
        self._processor = load_processor(folder)
        self._limits = read_limits(self._processor, 0, 0)
        self._first = 0.0
        self._model.lm_head.register_forward_hook(self._note_first)

    def _note_first(self, *_: Any) -> None:
        if not self._first:
            self._first = synchronized_now()

    def ask(self, query: Query) -> TimedAnswer:
        """Answer one query."""
        (query,) = with_new_frames([query])
        self._first, begin = 0.0, time.perf_counter()
        prompt = build_prompt(query, self._limits)
        tokens = plain_generate(self._model, self._processor, prompt, prompt.max_new_tokens)
        text = self._processor.tokenizer.decode(tokens, skip_special_tokens=True)
        end = time.perf_counter()
        return TimedAnswer(prompt, text, tuple(tokens), '', 0, end - begin, end - self._first)

    def ask_all(self, queries: Sequence[Query]) -> list[TimedAnswer]:
        """Answer several, one after the other."""
        return [self.ask(query) for query in queries]


class PackageEngine:
    """The engine of this package, called by as many threads as there are questions."""

    def __init__(self, config: EngineConfig) -> None:
        """Load a model of its own."""
        self.engine: Any = load_engine(config)
        self._pool = ThreadPoolExecutor(_CALLERS)
        self._of_thread = threading.local()
        # a reply holds the text; what is compared is the tokens
        batch = self.engine._batch
        submit = batch.submit

        def noted(generation: Any) -> None:
            self._of_thread.generation = generation
            submit(generation)

        batch.submit = noted

    def ask(self, query: Query) -> TimedAnswer:
        """Answer one query."""
        begin = time.perf_counter()
        prompt = build_prompt(query, self.engine.limits)
        reply = self.engine.generate(prompt, max_new_tokens=prompt.max_new_tokens)
        seconds = time.perf_counter() - begin
        stats = reply.stats
        tokens = tuple(self._of_thread.generation.tokens)
        return TimedAnswer(prompt, reply.text, tokens, reply.finish_reason,
                       stats.prompt_tokens, seconds, stats.total_s - stats.first_token_s)

    def ask_all(self, queries: Sequence[Query]) -> list[TimedAnswer]:
        """Answer several at the same time."""
        return list(self._pool.map(self.ask, queries))

    def close(self) -> None:
        """Free the model."""
        self._pool.shutdown()
        self.engine.close()
