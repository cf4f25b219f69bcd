"""Steps of static shapes write the same tokens as those of dynamic shapes.

A GPU captures them as CUDA graphs. Here ``make_fx`` does: it records the operations of a step with
the tensors that they use, fails where a step looks at the contents of one, and repeats them without
Python. So a graph that depends on anything else than its tensors shows on a CPU, too.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('torch')

import torch
from small_memory import SmallDevice
from torch.fx.experimental.proxy_tensor import make_fx

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.engine import EngineConfig, attention, graphs, kv_memory, load_engine
from mimo_embodied_ros.engine.kv_memory import BLOCK, KVMemory
from support.prompts import make_prompt
from support.random_model import CONTEXT
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mimo_embodied_ros.core.prompts import Prompt

LONG = 80  # tokens of an answer


def load(random_model: Path, shapes: str = 'static', **settings: Any) -> Any:
    return load_engine(EngineConfig(
        str(random_model), device='cpu', threads=1, longest_answer=LONG, decode_shapes=shapes,
        **settings))


def steps_of(engine: Any) -> Any:
    return engine._batch._writer.steps


def capture(work: Callable[[], None]) -> Callable[[], None]:
    """Record a step, and return what repeats it."""
    return make_fx(work)()  # type: ignore[no-any-return]


def questions() -> list[Prompt]:
    """Prompts without images, with one and two, some about the same, shorter and longer ones.

    Some answers grow beyond a block, so that their keys and values move.
    """
    return [make_prompt(f'where is cube {n}?' + ' the red cube,' * (12 * n), seed=n % 3,
                        images=n % 3) for n in range(6)]


def ask(engine: Any, prompts: Sequence[Prompt]) -> list[str]:
    return [engine.generate(prompt, max_new_tokens=LONG).text for prompt in prompts]


def ask_together(engine: Any, prompts: Sequence[Prompt]) -> list[str]:
    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(lambda prompt: ask(engine, [prompt])[0], prompts))


@pytest.fixture(scope='module')
def expected(random_model: Path) -> list[str]:
    """The answers of steps with dynamic shapes, each alone."""
    engine = load(random_model, 'dynamic', draft_tokens=0)
    answers = ask(engine, questions())
    assert steps_of(engine) is None
    engine.close()
    assert len(set(answers)) == len(answers)
    return answers


@pytest.fixture(scope='module')
def static(random_model: Path) -> Iterator[Any]:
    engine = load(random_model)
    yield engine
    engine.close()


def test_the_same_tokens_alone_and_together(static: Any, expected: list[str]) -> None:
    """With drafts as soon as answers repeat, and in slabs of several lengths."""
    writer, prompts = static._batch._writer, questions()
    widths = set()
    run = writer.steps.graphs.run

    def noted(plan: Any) -> None:
        widths.add((plan.width, len(plan.parts)))
        run(plan)

    writer.steps.graphs.run = noted
    assert ask(static, prompts) == expected
    assert writer.ahead, 'steps are launched before the last one is read'
    for _ in range(2):
        assert ask_together(static, prompts) == expected
    assert {(1, 1), (9, 1), (1, 2)} <= widths
    writer.steps.graphs.run = run


def test_what_was_captured_is_repeated(random_model: Path, expected: list[str]) -> None:
    engine, prompts = load(random_model), questions()
    captured = steps_of(engine).graphs
    assert captured._capture is None, 'there are no graphs on a CPU'
    captured._capture = capture
    assert ask(engine, prompts[:3]) == expected[:3]
    assert ask_together(engine, prompts) == expected
    assert captured.replayed > LONG
    assert not captured._refused
    engine.close()


@pytest.mark.parametrize(('fault', 'says'), [('differs', 'its results differ'), ('fails', 'busy')])
def test_a_graph_that_is_not_as_the_step_is_not_used(
    random_model: Path, expected: list[str], fault: str, says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The answers stay right, and the log says so once."""
    engine = load(random_model)
    steps = steps_of(engine)

    def spoilt(work: Callable[[], None]) -> Callable[[], None]:
        if fault == 'fails':
            msg = 'CUDA error: busy\nand a trace'
            raise RuntimeError(msg)
        repeat = capture(work)
        return lambda: (repeat(), steps._logits.add_(1.0), steps._state.add_(1))[0]

    steps.graphs._capture = spoilt
    with caplog.at_level(logging.WARNING):
        assert ask(engine, questions()[1:3]) == expected[1:3]
    assert (steps.graphs.replayed, len(steps.graphs._graphs)) == (0, 0)
    (warning,) = [record.getMessage() for record in caplog.records
                  if record.name == graphs.__name__]
    assert says in warning
    assert '1 new tokens for 1 rows of' in warning
    engine.close()


def test_grammars_hold_the_same(random_model: Path, static: Any) -> None:
    """Beside answers that none holds."""
    pytest.importorskip('llguidance')
    held = replace(make_prompt(), grammar='start: /[0-9]{20},[0-9]{20}/')
    prompts = [held, *questions()[:2], held]
    dynamic = load(random_model, 'dynamic')
    expected = ask(dynamic, prompts)
    dynamic.close()
    assert expected[0].strip('0123456789') == ','
    assert ask(static, prompts) == expected
    assert ask_together(static, prompts) == expected


def test_who_ends_takes_nothing_from_the_others(static: Any, expected: list[str]) -> None:
    """Answers that are cancelled after 5, 10 and 15 tokens, beside others."""
    prompts = questions()

    def cancelled_at(number: int) -> str:
        count = [0]

        def cancelled() -> bool:
            count[0] += 1
            return count[0] > 5 * number

        reply = static.generate(prompts[number], max_new_tokens=LONG, cancelled=cancelled)
        return str(reply.finish_reason)

    with ThreadPoolExecutor(6) as pool:
        ends = [pool.submit(cancelled_at, number) for number in (1, 2, 3)]
        others = [pool.submit(ask, static, [prompts[number]]) for number in (0, 4, 5)]
        assert [end.result(WAIT_S) for end in ends] == ['cancelled'] * 3
        assert [other.result(WAIT_S)[0] for other in others] == [
            expected[number] for number in (0, 4, 5)]


def test_memory_that_ends_loses_no_answer(random_model: Path, expected: list[str]) -> None:
    """Dynamic shapes take over where rows must take no more than they need."""
    engine, prompts = load(random_model), questions()
    memory = engine._batch.memory
    device = SmallDevice(engine, 4 * memory.cost(CONTEXT))
    assert ask_together(engine, prompts) == expected
    assert device.refused
    assert engine.memory().preempted
    assert ask(engine, prompts[:1]) == expected[:1]
    engine.close()


def test_a_small_budget_takes_dynamic_shapes(
    random_model: Path, expected: list[str], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Rows of few lengths take more: 256 tokens of the largest request instead of 224."""
    monkeypatch.setattr(kv_memory, 'BLOCK', 32)
    monkeypatch.setattr(kv_memory, 'free_host_memory', lambda: 549_440)
    with caplog.at_level(logging.WARNING):
        engine = load(random_model, cache_mb=0)
    memory = engine._batch.memory
    assert (memory.cost(200), memory.budget) == (224 * memory.token_bytes, 122_000)
    assert steps_of(engine) is None
    assert 'too little memory for decoding steps of static shapes' in caplog.text
    assert ask(engine, questions()[:1]) == expected[:1]
    engine.close()


def test_memory_that_stays_keeps_its_place() -> None:
    memory = KVMemory(2, (2, 4), torch.float32, torch.device('cpu'))
    memory.stays = True
    first, second, third = memory.add([10, 100, BLOCK + 1])
    assert (first.slab.size, third.slab.length) == (2, 2 * BLOCK)
    stamp, slab = first.slab.stamp, first.slab
    assert memory.parts([first, second, third], [20, 110, BLOCK + 9]) == [
        (slab, 2, BLOCK), (third.slab, 1, 2 * BLOCK)]
    memory.remove(second)
    assert memory.parts([first], [20]) == [(slab, 1, BLOCK)]
    memory.grow([(first, BLOCK + 1)])
    assert (slab.size, slab.stamp) == (2, stamp), 'the next answer finds it where it was'
    assert first.slab is third.slab
    assert memory.parts([third], [BLOCK + 9]) is None, 'a step would write into the other row'
    (again,) = memory.add([10])
    assert (again.slab, slab.stamp) == (slab, stamp)
    memory.remove(again)
    memory.trim()
    assert memory.bytes == 2 * memory.cost(2 * BLOCK)
    memory.budget = memory.bytes + memory.cost(1)
    (exact,) = memory.add([10])
    assert exact.slab.size == 1


@pytest.mark.parametrize('shapes', ['dynamic', 'static'])
def test_attention_is_what_the_settings_say(
    random_model: Path, expected: list[str], shapes: str
) -> None:
    """In the language model, too, where prompts are read and where answers are written."""
    engine = load(random_model, shapes, attention='eager')
    decoder, tokens = engine._batch._decoder, set()
    eager = decoder._attention
    assert eager is attention.eager

    def noted(query: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        tokens.add(query.shape[2])
        return eager(query, *arguments, **options)  # type: ignore[no-any-return]

    decoder._attention = noted
    assert ask(engine, questions()) == expected
    assert max(tokens) > 50
    assert 2 in tokens, 'the heads that share a key head, of one token'
    engine.close()


def test_unknown_shapes_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r'decode_shapes .*auto, static, dynamic'):
        EngineConfig('mimo', decode_shapes='padded')
