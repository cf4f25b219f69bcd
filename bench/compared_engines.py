"""The engines that the benchmarks compare: each takes a query and returns its answer."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from baseline import plain_generate
from transformers import Qwen2_5_VLForConditionalGeneration, StoppingCriteriaList
from transformers.utils.logging import disable_progress_bar

from mimo_embodied_ros.core.errors import ModelNotReadyError
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
_START_S = 300.0  # of a server
disable_progress_bar()


@dataclass(frozen=True)
class TimedAnswer:
    """An answer and how long it took.

    Attributes:
        prompt: the prompt that it answers.
        text: the text without control tokens.
        tokens: all tokens that the model wrote, the end-of-text token included.
        reason: why it ended, as in ``Reply.finish_reason``; empty: the engine does not say.
        prompt_tokens: tokens of the prompt, images included; 0: the engine does not say.
        seconds: time from the query to the text.
        after_first_s: the part of it after the first token.
        written: number of tokens, where they themselves are not known.

    """

    prompt: Prompt
    text: str
    tokens: tuple[int, ...]
    reason: str
    prompt_tokens: int
    seconds: float
    after_first_s: float
    written: int = 0

    @property
    def count(self) -> int:
        """Number of tokens that the model wrote."""
        return len(self.tokens) or self.written


def synchronized_now() -> float:
    """Return the time in seconds, after the GPU has done all its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def with_new_frames(queries: Sequence[Query]) -> list[Query]:
    """Return the queries with copies of their frames, for which nothing is resized yet."""
    frames: dict[int, Frame] = {}
    return [
        replace(query, frames=tuple(
            frames.setdefault(id(frame), Frame(frame.pixels)) for frame in query.frames))
        for query in queries
    ]


class ComparedEngine(Protocol):
    """An engine that answers queries."""

    def ask(self, query: Query) -> TimedAnswer:
        """Answer one query."""
        ...

    def ask_all(self, queries: Sequence[Query]) -> list[TimedAnswer]:
        """Answer several queries that arrive at the same time."""
        ...


class PlainGenerate:
    """Plain ``generate`` of transformers, called for one question after the other."""

    def __init__(
        self, folder: str | Path, dtype: torch.dtype = torch.float32, device: str = 'cpu',
        threads: int = 0, **options: Any,
    ) -> None:
        """Load the model for this engine alone.

        Args:
            folder: of the model.
            dtype: of the weights.
            device: where it runs.
            threads: of the CPU; 0: PyTorch's choice.
            options: of ``generate``.

        """
        self._threads, self._options = threads, options
        self._model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder, dtype=dtype).to(device).eval()
        self._processor = load_processor(folder)
        self._limits = read_limits(self._processor, 0, 0)
        self._first = 0.0

    def _note_first(self, tokens: torch.Tensor, _: Any) -> torch.Tensor:
        """Note when the first token is there; asked after each whether to stop."""
        if not self._first:
            self._first = synchronized_now()
        return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)

    def ask(self, query: Query) -> TimedAnswer:
        """Answer one query."""
        (query,) = with_new_frames([query])
        if self._threads:  # the engine beside it sets the linear algebra's number, too
            torch.set_num_threads(self._threads)
        self._first, begin = 0.0, time.perf_counter()
        prompt = build_prompt(query, self._limits)
        tokens = plain_generate(
            self._model, self._processor, prompt, prompt.max_new_tokens,
            stopping_criteria=StoppingCriteriaList([self._note_first]), **self._options)
        text = self._processor.tokenizer.decode(tokens, skip_special_tokens=True)
        end = time.perf_counter()
        return TimedAnswer(prompt, text, tuple(tokens), '', 0, end - begin, end - self._first)

    def ask_all(self, queries: Sequence[Query]) -> list[TimedAnswer]:
        """Answer several queries, one after the other."""
        return [self.ask(query) for query in queries]


class PackageEngine:
    """The engine of this package, called by one thread for each question."""

    def __init__(self, config: EngineConfig) -> None:
        """Load the model for this engine alone."""
        self.engine: Any = load_engine(config)
        self._pool = ThreadPoolExecutor(_CALLERS)
        self._of_thread = threading.local()
        # a reply holds only the text, and the tokens are compared
        batch = self.engine._batch
        submit = batch.submit

        def submit_and_note(generation: Any) -> None:
            self._of_thread.generation = generation
            submit(generation)

        batch.submit = submit_and_note

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
        """Answer several queries at the same time."""
        return list(self._pool.map(self.ask, queries))

    def close(self) -> None:
        """Free the model."""
        self._pool.shutdown()
        self.engine.close()


class ServedEngine:
    """vLLM in processes of its own, asked through this package."""

    def __init__(self, folder: Path, dtype: str, at_once: int) -> None:
        """Start the server and wait until it answers.

        Raises:
            RuntimeError: it ended, or does not answer within ``_START_S``.

        """
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        self._server = subprocess.Popen(
            [sys.executable, '-m', 'vllm.entrypoints.openai.api_server', '--model', folder,
             '--served-model-name', 'model', '--host', '127.0.0.1', '--port', str(port),
             '--dtype', dtype, '--max-model-len', '8192', '--max-num-seqs', str(at_once),
             '--limit-mm-per-prompt', '{"image": 1, "video": 0}', '--generation-config', 'vllm'],
            start_new_session=True, stdout=subprocess.DEVNULL)
        config = EngineConfig(
            'model', backend='openai', servers=(f'http://127.0.0.1:{port}/v1',), min_pixels=3136)
        self.engine: Any = load_engine(config)
        self._pool = ThreadPoolExecutor(_CALLERS)
        end = time.monotonic() + _START_S
        while (problem := self._problem()) is not None:
            if self._server.poll() is not None or time.monotonic() > end:
                self.close()
                msg = f'vLLM does not answer: {problem}'
                raise RuntimeError(msg) from problem
            time.sleep(1.0)

    def _problem(self) -> ModelNotReadyError | None:
        """Return why the server does not answer yet."""
        try:
            self.engine.warm_up()
        except ModelNotReadyError as error:
            return error
        return None

    def ask(self, query: Query) -> TimedAnswer:
        """Answer one query; of its tokens only the number is known."""
        begin = time.perf_counter()
        prompt = build_prompt(query, self.engine.limits)
        reply = self.engine.generate(prompt, max_new_tokens=prompt.max_new_tokens)
        seconds, stats = time.perf_counter() - begin, reply.stats
        return TimedAnswer(
            prompt, reply.text, (), reply.finish_reason, stats.prompt_tokens, seconds,
            stats.total_s - stats.first_token_s, stats.completion_tokens)

    def ask_all(self, queries: Sequence[Query]) -> list[TimedAnswer]:
        """Answer several queries at the same time."""
        return list(self._pool.map(self.ask, queries))

    def close(self) -> None:
        """End the server with all its processes."""
        self.engine.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGTERM)
        self._server.wait()
