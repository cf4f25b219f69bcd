"""A budget for the reasoning of the model in this process: then it is closed, and answered."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('torch')

import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.readers import end_reasoning, split_reasoning
from mimo_embodied_ros.engine import Engine, EngineConfig, load_engine
from mimo_embodied_ros.engine.answering import State, answer_query
from mimo_embodied_ros.engine.early_end import EarlyEnd
from mimo_embodied_ros.engine.generation import Generation
from mimo_embodied_ros.engine.processor import PromptEncoder, load_processor
from mimo_embodied_ros.worlds import table_scene
from support.paths import EMBEDDED_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.engine.processor import ImageTextProcessor

THINGS = (table_scene.Thing('red', 'cube', 200, 300, 40),
          table_scene.Thing('blue', 'bowl', 450, 200, 50))
FRAME = Frame(table_scene.draw_table(random.Random(1), 640, 480, things=THINGS).pixels)
QUERY = Query(Task.SPATIAL, 'Is the red cube left of the blue bowl?', (FRAME,), thinking=True)
BUDGETS = 1, 2, 6, 25


@pytest.fixture(scope='module')
def engine() -> Iterator[Engine]:
    engine = load_engine(EngineConfig(str(EMBEDDED_MODEL), device='cpu', threads=1))
    yield engine
    engine.close()


@pytest.fixture(scope='module')
def processor() -> ImageTextProcessor:
    return load_processor(EMBEDDED_MODEL)


def ask(engine: Engine, query: Query, budget: int, **options: Any) -> Any:
    prompt = build_prompt(replace(query, thinking_tokens=budget), engine.limits)
    return engine.generate(prompt, max_new_tokens=prompt.max_new_tokens, **options)


def continued(processor: ImageTextProcessor, prompt: Prompt, turn: str) -> str:
    """What transformers writes behind the beginning of the model's turn."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32)
    encoded, encode = PromptEncoder(processor).encode(prompt), processor.tokenizer
    begun = encode(turn, add_special_tokens=False, return_tensors='pt')['input_ids'][0]
    tokens = torch.cat([encoded.tokens, begun])[None]
    written = model.generate(
        tokens, attention_mask=torch.ones_like(tokens),
        pixel_values=torch.cat([image.patches() for image in encoded.images]),
        image_grid_thw=torch.tensor([image.grid for image in encoded.images]),
        mm_token_type_ids=(tokens == processor.image_token_id).int(),
        max_new_tokens=60, do_sample=False)
    return str(encode.decode(written[0, tokens.shape[1]:], skip_special_tokens=True))


def test_the_answer_follows_a_reasoning_that_is_closed_at_its_budget(
    engine: Engine, processor: ImageTextProcessor
) -> None:
    """Token by token what the model writes behind the same turn, with and without drafts."""
    whole = ask(engine, QUERY, 0)
    tokens = processor.tokenizer(whole.text, add_special_tokens=False)['input_ids']
    for budget in BUDGETS:
        pieces: list[str] = []
        reply = ask(engine, QUERY, budget, on_text=lambda text, _: pieces.append(text))  # noqa: B023
        assert reply.finish_reason == 'stop'
        assert ''.join(pieces) == reply.text
        if budget > 1:  # one token does not even open it
            thought = processor.tokenizer.decode(tokens[:budget])
            turn = thought + end_reasoning(thought)
            prompt = build_prompt(QUERY, engine.limits)
            assert reply.text == turn + continued(processor, prompt, turn)
        reasoning, answer = split_reasoning(reply.text)
        assert len(processor.tokenizer(reasoning)['input_ids']) <= budget
        assert answer
        written = processor.tokenizer(reply.text, add_special_tokens=False)['input_ids']
        assert reply.stats.completion_tokens == len(written) + 1  # and the one that ends it


def test_a_budget_that_is_not_reached_changes_nothing(engine: Engine) -> None:
    whole = ask(engine, QUERY, 0)
    for budget in (whole.stats.completion_tokens, 500, 10_000):
        reply = ask(engine, QUERY, budget)
        assert (reply.text, reply.stats.completion_tokens) == (
            whole.text, whole.stats.completion_tokens)
    short = replace(QUERY, max_new_tokens=10)
    assert ask(engine, short, 10).text == ask(engine, short, 0).text
    silent = ask(engine, replace(QUERY, thinking=False), 1)
    assert silent.text == '<think>\n</think>\n\n\\boxed{yes}'


def test_answers_of_a_batch_keep_their_own_budgets(engine: Engine) -> None:
    alone = [ask(engine, QUERY, budget).text for budget in (*BUDGETS, 0)]
    with ThreadPoolExecutor(len(alone)) as pool:
        together = pool.map(lambda budget: ask(engine, QUERY, budget).text, (*BUDGETS, 0))
        assert list(together) == alone
    assert len(set(alone)) == len(alone) - 1  # the smallest two are the same


@pytest.mark.parametrize('task', [Task.SPATIAL, Task.POINTS])
def test_a_held_answer_follows_a_reasoning_that_was_closed(engine: Engine, task: Task) -> None:
    pytest.importorskip('llguidance')
    text = QUERY.text if task is Task.SPATIAL else 'the red cube'
    query = replace(QUERY, task=task, text=text)
    for budget in BUDGETS:
        held = replace(query, structured=True, thinking_tokens=budget)
        assert answer_query(engine, held)[0] == answer_query(
            engine, replace(held, structured=False))[0]


def test_the_answer_is_told_as_such_from_where_the_reasoning_was_closed(engine: Engine) -> None:
    told: list[tuple[State, str]] = []
    query = replace(QUERY, thinking_tokens=6)
    answer, _ = answer_query(
        engine, query, on_progress=lambda state, text, _: told.append((state, text)))
    assert answer.reasoning == 'So, the red'
    answered = ''.join(text for state, text in told if state is State.ANSWERING)
    assert answered.endswith('\\boxed{yes}')
    assert any(state is State.THINKING for state, _ in told)


def test_a_reasoning_in_circles_is_closed_where_it_has_a_budget(
    processor: ImageTextProcessor, engine: Engine
) -> None:
    """Without one the answer ends; with one the request is still answered."""
    encoded = PromptEncoder(processor).encode(build_prompt(QUERY, engine.limits))
    tokens = processor.tokenizer('<think>\n' + 'red cube, ' * 200, add_special_tokens=False)
    ends = {}
    for budget in (0, 10_000):
        generation = Generation(
            encoded, 10_000, processor.tokenizer.backend_tokenizer, (), EarlyEnd(None, None),
            thinking_tokens=budget)
        for token in tokens['input_ids']:
            if generation.forced() or not generation.write(token):
                break
        ends[budget] = generation.reason, processor.tokenizer.decode(generation.forced())
        assert len(generation.tokens) < len(tokens['input_ids'])
    assert ends == {0: ('repetition', ''), 10_000: ('', '\n</think>\n\n')}


@pytest.mark.parametrize(('text', 'rest'), [
    ('<think>\n', '</think>\n\n'), ('<think>\nred', '\n</think>\n\n'),
    ('<think>\nred\n</', 'think>\n\n'), ('<think>\nred\n</think', '>\n\n'),
])
def test_a_closing_tag_that_has_begun_is_completed(text: str, rest: str) -> None:
    assert end_reasoning(text) == rest
