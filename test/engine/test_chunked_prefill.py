"""Prompts are read in chunks between the tokens of others, and those that wait together."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('torch')

import torch

from mimo_embodied_ros.engine import EngineConfig, load_engine
from support.prompts import make_prompt
from support.random_model import CONTEXT
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = 17  # less than an image and its text
LONG = make_prompt('the blue bowl ' * 20, seed=5, images=2)


def load(random_model: Path, chunk: int = CHUNK, **settings: Any) -> Any:
    return load_engine(EngineConfig(str(random_model), device='cpu', prefill_chunk=chunk,
                                    **{'threads': 1, 'draft_tokens': 0, **settings}))


@pytest.fixture
def engine(random_model: Path) -> Iterator[Any]:
    engine = load(random_model)
    yield engine
    engine.close()


class Passes:
    """Notes what the model computes: images, parts of prompts, and steps of answers.

    Attributes:
        images: how many went through the vision tower, by call.
        read: tokens and rows of parts of prompts, by pass.
        order: 'images', 'read' or 'write', of every pass.
        threads: of every pass.

    """

    def __init__(self, engine: Any) -> None:
        self.images: list[int] = []
        self.read: list[tuple[int, int]] = []
        self.order: list[str] = []
        self.threads: list[int] = []
        vision, decoder = engine._batch.vision, engine._batch._decoder
        tower, forward = vision._tower, decoder.forward

        def seen(patches: Any, grids: Any) -> Any:
            self.images.append(len(grids))
            self._note('images')
            return tower(patches, grids)

        def passed(hidden: Any, positions: Any, rows: Any, starts: Any, last: Any = None) -> Any:
            if last is not None:
                self.read.append((hidden.shape[1], len(rows)))
            self._note('write' if last is None else 'read')
            return forward(hidden, positions, rows, starts, last)

        vision._tower, decoder.forward = seen, passed

    def _note(self, kind: str) -> None:
        self.order.append(kind)
        self.threads.append(torch.get_num_threads())


def test_chunks_change_no_answer(random_model: Path, engine: Any) -> None:
    whole = load(random_model, 2048)
    passes, at_once = Passes(engine), Passes(whole)
    for prompt in (LONG, make_prompt('the red cup ' * 20, images=0), LONG):
        assert (engine.generate(prompt, max_new_tokens=30).text
                == whole.generate(prompt, max_new_tokens=30).text)
    assert (at_once.images, len(at_once.read)) == ([2], 3)
    assert len(passes.read) > 10
    assert max(tokens for tokens, _ in passes.read) == CHUNK
    whole.close()


def test_a_stream_gets_a_token_between_any_two_chunks(engine: Any) -> None:
    started, release = threading.Event(), threading.Event()

    def hold() -> bool:
        return release.wait(0.01)

    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(
            engine.generate, make_prompt(seed=1), max_new_tokens=CONTEXT, cancelled=hold,
            on_text=lambda *_: started.set())
        assert started.wait(WAIT_S)
        passes = Passes(engine)
        engine.generate(LONG, max_new_tokens=1)
        reading = [n for n, kind in enumerate(passes.order) if kind != 'write']
        release.set()
        assert stream.result(WAIT_S).finish_reason == 'cancelled'
    assert len(reading) > 5
    assert all(later - earlier > 1 for earlier, later in pairwise(reading))


def test_cancel_and_deadline_are_heard_between_chunks(engine: Any) -> None:
    expected = engine.generate(LONG, max_new_tokens=10).text
    engine._batch.vision.cache.clear()
    passes = Passes(engine)
    cancelled = engine.generate(
        LONG, max_new_tokens=10, cancelled=lambda: len(passes.read) >= 2)
    assert (cancelled.finish_reason, cancelled.text, len(passes.read)) == ('cancelled', '', 2)
    late = engine.generate(
        LONG, max_new_tokens=10, deadline=lambda: 0.0 if len(passes.read) >= 5 else None)
    assert (late.finish_reason, late.text, len(passes.read)) == ('deadline', '', 5)
    no_image = engine.generate(
        make_prompt(seed=7, images=2), max_new_tokens=10, cancelled=lambda: len(passes.images) > 2)
    assert (no_image.finish_reason, passes.images, len(passes.read)) == ('cancelled', [1] * 3, 5)
    wait_for(lambda: engine.memory().keys_values == 0)
    assert engine.generate(LONG, max_new_tokens=10).text == expected


@contextmanager
def busy(engine: Any) -> Iterator[None]:
    """Keep the model's thread busy with an answer that is cancelled at the end."""
    entered, release, calls = threading.Event(), threading.Event(), []

    def hold() -> bool:
        calls.append(1)
        if len(calls) == 1:  # when it joins the batch
            return False
        entered.set()
        return release.wait(WAIT_S)

    thread = threading.Thread(target=engine.generate, args=(make_prompt(images=0),),
                              kwargs={'max_new_tokens': 9, 'cancelled': hold})
    thread.start()
    assert entered.wait(WAIT_S)
    try:
        yield
    finally:
        release.set()
        thread.join(WAIT_S)


def ask_while_busy(engine: Any, prompts: list[Any]) -> list[Any]:
    """Let questions wait until all are there; returns their replies."""
    with ThreadPoolExecutor(len(prompts)) as pool:
        with busy(engine):
            replies = [pool.submit(engine.generate, p, max_new_tokens=20) for p in prompts]
            wait_for(lambda: len(engine._batch._waiting) == len(prompts))
        return [reply.result(WAIT_S) for reply in replies]


def test_new_images_of_questions_that_wait_are_read_together(random_model: Path) -> None:
    engine = load(random_model, 2048)
    prompts = [make_prompt(f'the cube {n}', seed=10 + n, images=1 + n % 2) for n in range(5)]
    alone = [engine.generate(prompt, max_new_tokens=20).text for prompt in prompts]
    engine._batch.vision.cache.clear()
    passes = Passes(engine)
    replies = ask_while_busy(engine, prompts)
    assert [reply.text for reply in replies] == alone
    assert passes.images == [7]
    assert [rows for _, rows in passes.read] == [1, 5], 'prompts are read together, too'
    engine.close()


def test_what_is_being_read_of_an_image_is_waited_for(engine: Any) -> None:
    """Three questions about the same two images, one after the other's first chunk."""
    prompts = [make_prompt(f'the blue bowl {n} ' * 9, seed=5, images=2) for n in range(3)]
    passes = Passes(engine)
    replies = ask_while_busy(engine, prompts)
    assert passes.images == [1, 1], 'a chunk has room for one'
    assert [reply.stats.reused_tokens > 0 for reply in replies].count(False) == 1


@pytest.mark.parametrize(('allowed', 'expected'), [(1, {1}), (2, {1, 2})])
def test_what_is_large_takes_all_threads_and_tokens_of_a_small_model_one(
    random_model: Path, allowed: int, expected: set[int]
) -> None:
    before = torch.get_num_threads()
    engine = load(random_model, 2048, threads=allowed)
    passes = Passes(engine)
    engine.generate(LONG, max_new_tokens=3)
    engine.close()
    assert set(passes.threads) == expected
    for kind, threads in zip(passes.order, passes.threads, strict=True):
        assert threads == (1 if kind == 'write' else allowed)
    assert torch.get_num_threads() == before, 'of this thread'
