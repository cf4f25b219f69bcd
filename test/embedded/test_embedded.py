"""The embedded model's scenes, questions, training rows and shipped checkpoint."""

from __future__ import annotations

import dataclasses
import json
import random
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from tokenizers import Tokenizer

from mimo_embodied_ros.core.answers import Affordances, DrivingDecision, SpatialAnswer, TaskPlan
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.resize import smart_resize
from mimo_embodied_ros.embedded import (
    curriculum,
    packed_model,
    packing,
    road_questions,
    table_questions,
    train,
    untrained_model,
    vision_supervision,
)
from mimo_embodied_ros.embedded.examples import make_example
from mimo_embodied_ros.embedded.question import Question
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.engine.answering import answer_query
from mimo_embodied_ros.worlds import road_scene, table_scene
from support.paths import EMBEDDED_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mimo_embodied_ros.engine import Engine

SEEDS = st.integers(0, 2**32)


@given(seed=SEEDS, size=st.sampled_from([(112, 224), (252, 140), (640, 480)]))
@settings(max_examples=25)
def test_every_thing_is_drawn_at_its_position(seed: int, size: tuple[int, int]) -> None:
    scene = table_scene.draw_table(random.Random(seed), *size)
    for thing in scene.things:
        drawn = table_scene.mask(scene, thing)
        assert drawn[int(thing.y), int(thing.x)]
        rows, columns = np.nonzero(drawn)
        edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert edges == pytest.approx(thing.box, abs=0.02 * max(size) + 1.5)


@given(seed=SEEDS)
@settings(max_examples=25)
def test_right_replies_are_read_as_right_answers(seed: int) -> None:
    rng = random.Random(seed)
    height, width = smart_resize(480, 640, untrained_model.LIMITS)
    scene = table_scene.draw_table(rng, width, height)
    drawn_questions = [
        *islice(table_questions.about_table(rng, scene), 12),
        *curriculum._questions(rng, scene, 2, 'plan')]
    for question in drawn_questions:
        thinking = rng.random() < 0.5
        query = Query(question.task, question.text, (Frame(scene.pixels),), thinking=thinking)
        prompt = build_prompt(query, untrained_model.LIMITS)
        assert prompt.text == question.prompt(thinking=thinking)
        answer = parse_answer(query, prompt, question.reply(thinking=thinking), 'stop')
        content = answer.content
        assert not answer.outside
        if question.task is Task.POINTS:
            assert isinstance(content, Affordances)
            assert [(p.x, p.y) for p in content.points] == [
                (round(t.x), round(t.y)) for t in question.things]
        elif question.task is Task.PLAN:
            assert isinstance(content, TaskPlan)
            assert [(p.x, p.y) for s in content.steps for p in s.points] == [
                (round(t.x), round(t.y)) for t in question.things]
            if question.things:
                assert content.steps[0].object == question.things[0].name
        elif question.task is Task.SPATIAL:
            assert isinstance(content, SpatialAnswer)
            assert content.text.lower() == question.short.lower()
            if question.short in {'yes', 'no'}:
                assert content.yes is (question.short == 'yes')


def test_packed_rows_equal_conversations_of_their_own() -> None:
    tokenizer = untrained_model.new_tokenizer(1)
    plain = untrained_model.new_model(tokenizer)
    packed = untrained_model.new_model(tokenizer)
    packed_model.use_packed_attention(packed)
    packer = packing.Packer(tokenizer)
    rng = random.Random(3)
    stage = dataclasses.replace(curriculum.STAGES[-1], images=2)
    worlds, mixes = curriculum.draw_scenes(rng, stage, 0.5)
    batch = curriculum.pack_questions(rng, packer, worlds, mixes, stage)
    rows, columns = batch.grid
    grid = torch.tensor([[1, 2 * rows, 2 * columns]])
    each = batch.patches.shape[0] // 2
    with torch.no_grad():
        logits, (at_row, at_column), *_ = packed_model.answer_questions(
            packed, batch, packed_model.encode_images(packed, batch.patches, batch.grid)[0])
        length = (batch.ids.shape[1] - batch.prefix) // batch.blocks
        compared = 0
        for row in range(2):
            for block in range(batch.blocks):
                begin = batch.prefix + block * length
                here = (at_row == row) & (at_column >= begin) & (at_column < begin + length)
                ids = torch.cat([batch.ids[row, : batch.prefix],
                                 batch.ids[row, begin : begin + length]])[None]
                alone = plain(
                    input_ids=ids, attention_mask=torch.ones_like(ids), image_grid_thw=grid,
                    pixel_values=batch.patches[row * each : (row + 1) * each],
                    mm_token_type_ids=(ids == plain.config.image_token_id).long()).logits[0]
                mine = at_column[here] - begin + batch.prefix
                torch.testing.assert_close(logits[here], alone[mine], atol=1e-4, rtol=1e-4)
                compared += int(here.sum())
    assert compared == len(logits) > 20


def test_taught_attention_leads_from_the_answer_over_the_names_to_the_things() -> None:
    tokenizer = untrained_model.new_tokenizer(1)
    packer = packing.Packer(tokenizer)
    rng = random.Random(5)
    scene = table_scene.draw_table(rng, 196, 168, 4, 4)
    second, first = scene.things[:2]  # not in the scene's order
    text = f'Is the {first.name} left of the {second.name}?'
    question = Question('left', Task.SPATIAL, text, r'\boxed{yes}', 'yes')
    example = make_example(rng, question, scene, 'spoken')
    batch = packer.pack([scene.pixels], [[example]], 1, 64)
    before = batch.ids[0].tolist().index(tokenizer.token_to_id('<|image_pad|>'))

    named = {}
    for row, head, block, token, seen, _, thing in batch.taught['pointed'].tolist():
        assert (row, block) == (0, 0)
        assert head in {0, 3}
        named[token] = seen - before
        assert thing == seen - before
    cells = [vision_supervision.token_of(thing, 6, 7) for thing in (first, second)]
    assert [named[token] for token in sorted(named)] == cells
    recalls = batch.taught['recalled'].tolist()
    recalled = {head: (token, seen) for _, head, _, token, seen, *_ in recalls}
    about = {head: (name, thing) for _, head, *_, name, thing in recalls}
    places = sorted(named)
    assert {head: seen - batch.prefix for head, (_, seen) in recalled.items()} == {
        0: places[0], 3: places[0], 1: places[1], 4: places[1]}
    assert about == {0: (0, cells[0]), 3: (0, cells[0]), 1: (1, cells[1]), 4: (1, cells[1])}
    assert {seen - batch.prefix for *_, seen, _, _ in batch.taught['asked'].tolist()} == {
        next(i for i, t in enumerate(batch.ids[0, batch.prefix :].tolist())
             if 'left' in tokenizer.decode([t]))}
    for token, _ in recalled.values():  # both look from where the answer is decided
        assert 'yes' in tokenizer.decode([int(batch.labels[0, batch.prefix + token])])


def test_a_choice_leads_to_the_right_option_and_its_letter() -> None:
    tokenizer = Tokenizer.from_file(str(EMBEDDED_MODEL / 'tokenizer.json'))
    rng = random.Random(2)
    scenes = (table_scene.draw_table(rng, 196, 168, 6, 6) for _ in range(100))
    scene, question = next((scene, question) for scene in scenes if len(scene.things) > 4
                           and (question := table_questions.which_nearest(rng, scene)))
    example = make_example(rng, question, scene, 'spoken')
    batch = packing.Packer(tokenizer).pack([scene.pixels], [[example]], 1, 80)
    ids = batch.ids[0].tolist()
    lettered = {(token, seen) for _, _, _, token, seen, *_ in batch.taught['lettered'].tolist()}
    letters = {batch.prefix + token: tokenizer.decode([ids[seen]]) for token, seen in lettered}
    assert sorted(letters.values()) == ['A', 'B', 'C', 'D']
    (chosen,) = {seen for *_, seen, _, _ in batch.taught['chosen'].tolist()}
    assert letters[chosen] == question.short
    # the answer recalls the thing in the question, not the options, which are told apart by names
    (recalled,) = {thing for *_, thing in batch.taught['recalled'].tolist()}
    named = next(t for t in scene.things if f'nearest to the {t.name}?' in question.text)
    assert recalled == vision_supervision.token_of(named, 6, 7)


def test_a_number_leads_to_all_that_it_counts() -> None:
    tokenizer = Tokenizer.from_file(str(EMBEDDED_MODEL / 'tokenizer.json'))
    rng = random.Random(4)
    scene = table_scene.draw_table(rng, 196, 168, 6, 6, alike=True)
    question = next(q for _ in range(50)
                    if len((q := table_questions.count(rng, scene)).things) in {2, 3})
    example = make_example(rng, question, scene, 'bare')
    batch = packing.Packer(tokenizer).pack([scene.pixels], [[example]], 1, 20)
    counted = batch.taught['counted'].tolist()
    cells = {vision_supervision.token_of(thing, 6, 7) for thing in question.things}
    (word,) = {batch.prefix + token for _, _, _, token, *_ in counted}
    places = {int(batch.image_at[cell]) for cell in cells}
    assert {seen for *_, seen, _, _ in counted} == places
    assert {number for *_, number, _ in counted} == {int(question.short)}
    assert {seen for *_, seen, _, _ in batch.taught['asked'].tolist()} == {word}


def test_things_of_some_tables_share_two_colours() -> None:
    scene = table_scene.draw_table(random.Random(1), 196, 168, 6, 6, alike=True)
    assert len({thing.colour for thing in scene.things}) == 2


def test_a_stopped_training_is_resumed(tmp_path: Path) -> None:
    stage = dataclasses.replace(curriculum.STAGES[1], images=2)

    def steps(training: train.Training, number: int) -> None:
        for _ in range(number):
            training.train_step(stage, {})
            training.step += 1

    whole = train.Training(tmp_path, seed=1)
    steps(whole, 2)
    whole.save_state()
    steps(whole, 1)
    resumed = train.Training(tmp_path, seed=1)
    assert resumed.restore()
    assert resumed.step == 2
    steps(resumed, 1)
    for name, weights in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], weights, msg=name)


def test_a_training_whose_stages_were_changed_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.Training(tmp_path, seed=1).save_state()
    see, *others = curriculum.STAGES
    monkeypatch.setattr(curriculum, 'STAGES', (see, *others[1:]))  # it has not come so far
    assert train.Training(tmp_path, seed=1).restore()
    monkeypatch.setattr(curriculum, 'STAGES', (dataclasses.replace(see, steps=9), *others))
    with pytest.raises(InvalidRequestError, match=r'a training with other stages.*--work'):
        train.Training(tmp_path, seed=1).restore()


def test_branches_begin_where_the_stage_before_them_has_ended_and_their_mean_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    see, aim, read = (dataclasses.replace(s, images=2, steps=1) for s in curriculum.STAGES[:3])

    def learnt(*stages: curriculum.Stage) -> dict[str, torch.Tensor]:
        monkeypatch.setattr(curriculum, 'STAGES', stages)
        training = train.Training(tmp_path, seed=1)
        training.run(tmp_path / 'log.jsonl')
        return training.model.state_dict()

    ends = [learnt(see), learnt(see, aim), learnt(see, read)]
    branches = (dataclasses.replace(s, branch=True) for s in (aim, read))
    for name, weights in learnt(see, *branches).items():
        torch.testing.assert_close(weights, sum(end[name] for end in ends) / 3)
        if 'visual' in name and weights.ndim == 2:
            assert not torch.equal(ends[1][name], ends[2][name])


@pytest.fixture(scope='module')
def engine() -> Iterator[Engine]:
    loaded = load_engine(EngineConfig(model=str(EMBEDDED_MODEL)))
    yield loaded
    loaded.close()


def test_the_shipped_model_is_small_and_in_safetensors(engine: Engine) -> None:
    assert sum(f.stat().st_size for f in EMBEDDED_MODEL.iterdir()) < 10_000_000
    assert 2_500_000 < engine.info.parameters < 3_500_000
    with safe_open(EMBEDDED_MODEL / 'model.safetensors', 'pt') as weights:
        assert {str(weights.get_tensor(k).dtype) for k in weights.keys()} == {'torch.bfloat16'}
    config = json.loads((EMBEDDED_MODEL / 'config.json').read_text('utf-8'))
    assert config['architectures'] == ['Qwen2_5_VLForConditionalGeneration']


def test_the_shipped_model_answers_in_the_formats_of_the_real_one(engine: Engine) -> None:
    """A small sample of what ``make eval`` measures; nearly all of it must be right."""
    rng = random.Random('shipped')
    right = []
    for _ in range(60):
        scene = table_scene.draw_table(rng, *rng.choice(curriculum.CAMERA_SIZES))
        question = table_questions.point(rng, scene)
        query = Query(question.task, question.text, (Frame(scene.pixels),))
        answer, reply = answer_query(engine, query)
        assert reply.text.startswith('<think>\n</think>\n\n[')
        assert isinstance(answer.content, Affordances)
        thing = question.things[0]
        right.append(len(answer.content.points) == 1 and bool(
            table_scene.mask(scene, thing)[int(answer.content.points[0].y),
                                      int(answer.content.points[0].x)]))
        yes_no = table_questions.relation(rng, scene, 'left')
        if yes_no is not None:
            answer, reply = answer_query(
                engine, Query(yes_no.task, yes_no.text, (Frame(scene.pixels),), thinking=True))
            assert reply.text.startswith('<think>\nSo, ')
            assert answer.reasoning.startswith('So, the ')
            assert isinstance(answer.content, SpatialAnswer)
            right.append(answer.content.text == yes_no.short)
    assert sum(right) >= 0.9 * len(right)


def answers(
    engine: Engine, seed: str, number: int, draw: Callable[..., Any], ask: Callable[..., Any]
) -> Iterator[tuple[Any, Question, Any]]:
    """Draw scenes, ask one question about each, and yield scene, question and answer."""
    rng = random.Random(seed)
    for _ in range(number):
        scene = draw(rng, *rng.choice(curriculum.CAMERA_SIZES))
        question = ask(rng, scene)
        query = Query(
            question.task, question.text, (Frame(scene.pixels),), odometry=question.odometry)
        yield scene, question, answer_query(engine, query)[0].content


def test_the_shipped_model_drives_on_drawn_roads(engine: Engine) -> None:
    """As the sample above, with the tasks as the package asks them: thinking first."""
    right = []
    for road, _, content in answers(
            engine, 'roads', 30, road_scene.draw_road, road_questions.drive):
        assert isinstance(content, DrivingDecision)
        right.append(content.decision == road_questions.next_action(road)[0])
    assert sum(right) >= 0.8 * len(right)


def test_the_shipped_model_tells_whether_a_step_can_be_done_and_is_done(engine: Engine) -> None:
    right = []
    for _, question, content in answers(
            engine, 'checks', 40, table_scene.draw_table, table_questions.check):
        assert isinstance(content, SpatialAnswer)
        right.append(content.yes == (question.short == 'yes'))
    assert sum(right) >= 0.9 * len(right)
