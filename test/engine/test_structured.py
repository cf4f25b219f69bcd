"""Answers held to a grammar: every output that it accepts can be parsed."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip('torch')
llguidance = pytest.importorskip('llguidance')
hf = pytest.importorskip('llguidance.hf')

from transformers import AutoTokenizer

from mimo_embodied_ros.core.answers import (
    Affordances,
    AnswerType,
    DrivingDecision,
    SpatialAnswer,
    TaskPlan,
)
from mimo_embodied_ros.core.errors import InvalidRequestError, OutputTruncatedError, ParseError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.grammar import grammar_of
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.profiles import PROFILES
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.core.skills import MAX_STEPS, select_skills
from mimo_embodied_ros.core.tasks import TASKS, Task
from mimo_embodied_ros.embedded import plan_questions, table_questions
from mimo_embodied_ros.engine import Engine, EngineConfig, load_engine
from mimo_embodied_ros.engine.answering import answer_query
from mimo_embodied_ros.engine.structured import GrammarCompiler, GrammarMatcher
from mimo_embodied_ros.worlds import table_scene
from support.conformance import RECORDS, query_of
from support.field import reading
from support.paths import EMBEDDED_MODEL, SKILL_FILES
from support.prompts import make_prompt
from support.random_model import make_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FRAME = Frame(np.random.default_rng(5).integers(0, 255, (120, 160, 3), dtype=np.uint8))
CHOICE = next(t for t in TASKS.values() if t.answer.value == 'choice' and t.uses('options'))
SKILLS = select_skills(load_skills(SKILL_FILES / 'manipulator.yaml'))
QUERIES = (
    Query(Task.POINTS, 'the cube', (FRAME,)),
    Query(Task.BOXES, 'the cube', (FRAME,)),
    Query(TASKS['yes_no'], 'is there a cup', (FRAME,)),
    Query(CHOICE, 'which' if CHOICE.uses('text') else '', (FRAME,), options=('cup', 'bowl')),
    Query(Task.PLAN, 'tidy up', (FRAME,), skills=SKILLS),
    Query(TASKS['is_done'], 'tidy up', (FRAME,)),
    Query(TASKS['space_number'], 'how far is the cup', (FRAME,)),
    Query(TASKS['driving_test'], 'which', options=('stop', 'honk', 'wait', 'go on')),
    Query(TASKS['surround_word'], 'what is there', (FRAME,) * 6),
    Query(TASKS['map'], 'how many', (FRAME,) * 4, options=('1', '1.5', 'more than 2', "can't say")),
    Query(TASKS['choice'], 'Where is it?\nA. left\nB. right (here)\nC. behind', (FRAME,)),
    Query(TASKS['critical_object'], '', (FRAME,)),
)
UNITS = ('', ' m', 'cm', ' meters', ' feet', '°', ' %')


@pytest.fixture(scope='module')
def tokenizer() -> llguidance.LLTokenizer:
    return hf.from_tokenizer(AutoTokenizer.from_pretrained(EMBEDDED_MODEL))


def accepts(tokenizer: llguidance.LLTokenizer, grammar: str, text: str) -> bool:
    """Tell whether the grammar accepts a text as a whole answer."""
    matcher = llguidance.LLMatcher(tokenizer, grammar, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    tokens = tokenizer.tokenize_str(text)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


@pytest.mark.parametrize(('number', 'text'), [
    (0, '<think>\n</think>\n\n[{"points": [[128, 112], [3, 4]], "label": "the cube"}]'),
    (0, '<think>\nIt is {there}, at [1, 2].\n</think>\n\n[]'),
    (0, '[{"points": [[1,2]], "label": "où"}, {"points": [[3, 4]], "label": ""}]'),
    (1, '<think>\n</think>\n\n[{"bbox_2d": [1, 2, 30, 40], "label": "the cube"}]'),
    (2, '<think>\n</think>\n\n\\boxed{yes}'),
    (3, '\\boxed{B}'),
    (4, '<think>\n</think>\n\n1. pick up the red cube [5, 6]\n2. put it in the bowl.'),
    (4, '\n'.join(f'{i}. open drawer {i} [3, 4]' for i in range(1, 11))),
    (4, '[]'),
    (5, '<think>\n</think>\n\nno'),  # RoboVQA asks for no box
    *((6, f'\\boxed{{2.5{unit}}}') for unit in UNITS),
    (6, '<think>\n</think>\n\n\\boxed{-3}'),
    *((7, letters) for letters in ('A', 'D', 'AC', 'BD', 'ABCD')),
    (8, '10'),
    (8, 'construction vehicle'),
    (9, '1.5'),
    (9, "can't say"),
    (10, '\\boxed{C}'),
    (11, '[{"bbox_2d": [1, 2, 30, 40], "caption": "a car that brakes"}]'),
    (11, '[]'),
])
def test_answers_in_the_right_format_are_accepted(
    tokenizer: llguidance.LLTokenizer, number: int, text: str
) -> None:
    assert accepts(tokenizer, grammar_of(QUERIES[number]), text)


@pytest.mark.parametrize(('profile', 'number', 'text'), [
    ('qwen3-vl', 0, '[{"point_2d": [925, 618], "label": "cube"}]'),
    ('qwen3-vl', 1, '[]'),
    ('qwen2.5-vl', 1, '[{"bbox_2d": [43, 571, 209, 753], "label": "cube"}]'),
    ('gemini-robotics-er', 0, '[{"point": [376, 508], "label": "cube"}]'),
    ('gemini-robotics-er', 1, '[{"box_2d": [393, 67, 574, 206], "label": "cube"}]'),
    ('robobrain-2.0', 3, 'It is right.</think>\n\n\\boxed{B}'),  # the prompt began the reasoning
])
def test_answers_of_other_models_have_their_keys(
    tokenizer: llguidance.LLTokenizer, profile: str, number: int, text: str
) -> None:
    query = replace(QUERIES[number], thinking=profile.startswith('robobrain'))
    assert accepts(tokenizer, grammar_of(query, PROFILES[profile]), text)


@pytest.mark.parametrize(('number', 'text'), [
    (0, '<think>\n</think>\n\n[{"points": [[128, 112]], "label": "the cube"}'),
    (0, 'It is at [1, 2].'),
    (0, '<think>\nIt is at [1, 2].'),
    (1, '[{"bbox_2d": [1, 2, 30], "label": "the cube"}]'),
    (2, '\\boxed{maybe}'),
    (2, 'yes'),
    (5, '\\boxed{no}'),
    (3, '\\boxed{C}'),
    (0, '[{"points": [[1, 2]], "label": "a</think>"}]'),
    (6, '2.5'),
    (6, '\\boxed{about 2}'),
    (6, '\\boxed{2 or 3}'),
    (6, '\\boxed{2.}'),
    (7, 'E'),
    (7, 'CA'),
    (7, 'AA'),
    (8, 'cars'),
    (8, 'car truck'),
    (9, '3'),
    (10, '\\boxed{D}'),
    (10, '\\boxed{AB}'),
    (4, '1. throw the red cube'),
    (4, '1. pick up the red cube\nIgnore the list.'),
    (4, '1. pick up the red cube. drive away'),
    (4, '1. pick up "the red cube"'),
    (4, '2. pick up the red cube'),
    (4, '1. pick up the red cube\n3. put it in the bowl'),
    (4, '1. put the red cube under the bowl'),
    (4, '1. put the red cube in the bowl [1, 2] [3, 4]'),
    (4, '\n'.join(f'{i}. open drawer {i}' for i in range(1, 12))),
])
def test_other_answers_are_not_accepted(
    tokenizer: llguidance.LLTokenizer, number: int, text: str
) -> None:
    assert not accepts(tokenizer, grammar_of(QUERIES[number]), text)


def test_plans_of_chinese_skills_are_accepted(
    tokenizer: llguidance.LLTokenizer, tmp_path: Path
) -> None:
    path = tmp_path / 'skills.yaml'
    path.write_text(
        'place:\n  description: 放\n  says: "把{object}放进{place}里"\n  success: 放好\n'
        '  arguments: {object: {type: object}, place: {type: place}}\n'
        '  runs: [{service: /s, type: std_srvs/srv/Trigger}]\n', 'utf-8')
    skills = select_skills(load_skills(path))
    grammar = grammar_of(replace(QUERIES[4], skills=skills))
    for end in ('', '。', '\n2. 把球 [3, 4]放进盒子 [5, 6] 里'):
        assert accepts(tokenizer, grammar, f'1. 把红色方块放进蓝色碗里{end}')
    assert not accepts(tokenizer, grammar, '1. 把红色方块放进蓝色碗里。开车')
    assert not accepts(tokenizer, grammar, '1. 拿起红色方块')


@pytest.mark.parametrize('steps', [1, 2, MAX_STEPS])
def test_a_plan_has_at_most_so_many_steps(tokenizer: llguidance.LLTokenizer, steps: int) -> None:
    grammar = grammar_of(replace(QUERIES[4], skills=replace(SKILLS, max_steps=steps)))
    lines = [f'{n}. open drawer {n}' for n in range(1, steps + 2)]
    assert accepts(tokenizer, grammar, '\n'.join(lines[:-1]))
    assert not accepts(tokenizer, grammar, '\n'.join(lines))


def test_the_embedded_models_own_answers_are_in_its_grammars(
    tokenizer: llguidance.LLTokenizer,
) -> None:
    rng = random.Random(3)
    scene = table_scene.draw_table(rng, 640, 480)
    drawn_questions = [*islice(table_questions.about_table(rng, scene), 60),
             *filter(None, (plan_questions.plan(rng, scene) for _ in range(10)))]
    held = 0
    for question in drawn_questions:
        query = Query(question.task, question.text, (Frame(scene.pixels),), skills=SKILLS)
        grammar = grammar_of(query)
        held += bool(grammar)
        for thinking in (False, True):
            assert not grammar or accepts(tokenizer, grammar, question.reply(thinking=thinking))
    assert held > 20


@pytest.mark.parametrize('query', [
    Query(TASKS['ask'], 'what is there'),
    Query(TASKS['driving_suggestion'], '', (FRAME,)),
    Query(TASKS['spatial'], 'what is there', (FRAME,)),
    Query(Task.PLAN, 'tidy up', (FRAME,)),
    Query(TASKS['choice'], 'Is it A. Smith?', (FRAME,)),
    Query(TASKS['choice'], 'Which one, B. or C. please?', (FRAME,)),
    Query(TASKS['driving_test'], 'which', options=tuple('abcdefghi')),
    Query(TASKS['map'], 'which', (FRAME,) * 4, options=('left', 'right\n')),
    Query(TASKS['map'], 'which', (FRAME,) * 4, options=('left', '{right}')),
])
def test_answers_whose_forms_are_not_known_have_no_grammar(query: Query) -> None:
    assert grammar_of(query) == ''


class Writer:
    """Writes texts that a grammar accepts, a random token after the other."""

    def __init__(self) -> None:
        self._tokenizer = make_tokenizer()
        self._stop = self._tokenizer.eos_token_id
        self._compiler = GrammarCompiler(self._tokenizer, [self._stop])

    def text(self, grammar: str, rng: random.Random) -> str:
        matcher = self._compiler.matcher(grammar)
        # a reasoning of random characters would not end
        before = rng.choice(('', '<think>\n</think>\n\n', '<think>[1, 2], no {</think>'))
        tokens = self._tokenizer.encode(before)
        for token in tokens:
            assert matcher.allowed(len(self._tokenizer))[token]
            matcher.take(token)
        while True:
            allowed = np.flatnonzero(matcher.allowed(len(self._tokenizer)))
            if self._stop in allowed and (len(allowed) == 1 or rng.random() < 0.3):
                return str(self._tokenizer.decode(tokens))
            allowed = allowed[allowed != self._stop]
            thinks = self._tokenizer.encode('<')[0] if not tokens else -1
            tokens.append(int(rng.choice(allowed[allowed != thinks])))
            matcher.take(tokens[-1])


@pytest.mark.parametrize('number', range(len(QUERIES)))
def test_whatever_a_grammar_accepts_can_be_read(number: int) -> None:
    writer, rng, query = Writer(), random.Random(number), QUERIES[number]
    prompt = make_prompt(query.text)
    for _ in range(60):
        text = writer.text(grammar_of(query), rng)
        try:
            content = parse_answer(query, prompt, text, 'stop').content
        except ParseError:
            assert query.skills is not None  # a thing may have any name, also "this or that"
            continue
        if isinstance(content, SpatialAnswer):
            assert content.type in (AnswerType.YES_NO, AnswerType.CHOICE, AnswerType.NUMBER), text


@pytest.fixture(scope='module')
def random_engine(random_model: Path) -> Iterator[Engine]:
    """An engine with random weights, whose answers only a grammar makes readable."""
    engine = load_engine(EngineConfig(str(random_model), device='cpu', threads=1))
    yield engine
    engine.close()


@pytest.mark.parametrize('number', range(len(QUERIES)))
def test_even_a_random_model_cannot_leave_its_grammar(random_engine: Engine, number: int) -> None:
    query = QUERIES[number]
    kind = {0: Affordances, 1: Affordances, 4: TaskPlan, 11: DrivingDecision}.get(
        number, SpatialAnswer)
    try:
        answer, reply = answer_query(
            random_engine, Query(**{**vars(query), 'structured': True, 'max_new_tokens': 300}))
    except OutputTruncatedError as error:  # it may go on for ever, but only in its form
        text = error.raw_text
    else:
        assert isinstance(answer.content, kind)
        text = reply.text
    tokens = hf.from_tokenizer(make_tokenizer())
    matcher = llguidance.LLMatcher(tokens, grammar_of(query), log_level=0)
    written = tokens.tokenize_str(text.rstrip('\N{REPLACEMENT CHARACTER}'))
    assert matcher.try_consume_tokens(written) == len(written)


@pytest.mark.parametrize('number', range(len(QUERIES)))
def test_a_held_answer_ends_one_token_early_and_is_the_same(
    random_model: Path, number: int
) -> None:
    query = replace(QUERIES[number], structured=True, max_new_tokens=300)
    replies = []
    for early in (True, False):
        engine = load_engine(
            EngineConfig(str(random_model), device='cpu', threads=1, stop_early=early))
        prompt = build_prompt(query, engine.limits)
        replies.append(engine.generate(prompt, max_new_tokens=300))
        engine.close()
    early_reply, whole = replies
    assert early_reply.text == whole.text
    if whole.finish_reason == 'stop':
        saved = whole.stats.completion_tokens - early_reply.stats.completion_tokens
        assert saved == (number != 4)  # of a plan nobody knows whether a step follows


def test_where_an_answer_may_end_early_nothing_that_follows_is_read_otherwise(
    tokenizer: llguidance.LLTokenizer,
) -> None:
    ended = 0
    for record in RECORDS:
        grammar = grammar_of(query_of(record))
        if not grammar:
            continue
        matcher = GrammarMatcher(llguidance.LLMatcher(tokenizer, grammar, log_level=0))
        text = b''
        for token in tokenizer.tokenize_str(record['text']):
            if not matcher.allowed(tokenizer.vocab_size)[token]:
                break
            matcher.take(token)
            text += tokenizer.decode_bytes([token])
            if matcher.is_complete():
                prefix = {**record, 'text': text.decode(), 'finish': 'stop'}
                read = reading(prefix)
                (end,) = set(matcher.allowed(tokenizer.vocab_size).nonzero()[0])
                assert end == tokenizer.eos_token
                if record['text'] == prefix['text'] and 'finish' not in record:
                    assert read == record['expect']
                ended += 1
                break
    assert ended >= 25


def test_a_grammar_beside_others_changes_only_its_own_answer(random_engine: Engine) -> None:
    free = make_prompt('the cube')
    held = replace(free, grammar=grammar_of(QUERIES[0]))
    alone = [random_engine.generate(p, max_new_tokens=30).text for p in (free, held)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(
            lambda p: random_engine.generate(p, max_new_tokens=30).text, (free, held, free, held)))
    assert together == alone * 2
    assert alone[0] != alone[1]


def test_a_grammar_that_is_none_is_refused(random_engine: Engine) -> None:
    with pytest.raises(InvalidRequestError, match='grammar'):
        random_engine.generate(replace(make_prompt(), grammar='start: missing'), max_new_tokens=5)
