"""Rendered rooms and the questions about them: labels, answers and the stored pictures."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip('mujoco', reason='mujoco is not installed')
pytest.importorskip('torch')

from mimo_embodied_ros.core.errors import ParseError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.tasks import TASKS
from mimo_embodied_ros.embedded import renders, room_questions
from mimo_embodied_ros.embedded.judging import room_right
from mimo_embodied_ros.embedded.rendered_rooms import rendered_room
from mimo_embodied_ros.embedded.untrained_model import LIMITS
from mimo_embodied_ros.worlds.room_scene import RoomScene
from mimo_embodied_ros.worlds.table_scene import SeenThing
from mimo_embodied_ros.worlds.things import COLOURS, ROOM_SHAPES

if TYPE_CHECKING:
    from pathlib import Path

    from mimo_embodied_ros.core.answers import Content
    from mimo_embodied_ros.embedded.question import Question

SIZE = 168, 140


@pytest.fixture(scope='module')
def rooms() -> list[RoomScene]:
    rng, out = random.Random(3), []
    while len(out) < 12:
        scene = rendered_room(rng, *SIZE)
        if scene is not None:
            out.append(scene)
    return out


def test_labels_agree_with_what_is_seen(rooms: list[RoomScene]) -> None:
    assert sum(len(scene.things) for scene in rooms) > len(rooms)
    for scene in rooms:
        assert scene.pixels.shape == (SIZE[1], SIZE[0], 3)
        assert scene.labels is not None
        for number, thing in enumerate(scene.things, 1):
            assert thing.shape in ROOM_SHAPES
            rows, columns = np.nonzero(scene.labels == number)
            assert scene.labels[int(thing.y), int(thing.x)] == number
            assert thing.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            # what is seen has the thing's colour more than any other
            seen = scene.pixels[rows, columns].astype(float).mean(0)
            likeness = {name: seen @ rgb / np.linalg.norm(rgb) for name, rgb in COLOURS.items()}
            assert thing.colour in sorted(likeness, key=likeness.__getitem__)[-2:]


def test_what_is_nearer_looks_larger_and_lower(rooms: list[RoomScene]) -> None:
    pairs = 0
    for scene in rooms:
        for a in scene.things:
            for b in scene.things:
                assert isinstance(a, SeenThing)
                assert isinstance(b, SeenThing)
                if scene.gap(a) + 1 < scene.gap(b):
                    pairs += 1
                    assert a.box[3] > b.box[3] - 2, (a, b)
    assert pairs


def two_things() -> RoomScene:
    """A yellow box half a metre before the base, and a yellow ball four metres away."""
    box = SeenThing('yellow', 'box', 40.5, 70.5, 20, '', (20, 50, 60, 90), (0.97, 0.0, 0.3))
    ball = SeenThing('yellow', 'ball', 120.5, 40.5, 5, '', (115, 35, 125, 45), (4.37, -1.0, 0.2))
    return RoomScene(
        np.zeros((112, 168, 3), np.uint8), (box, ball), 0.0, rendered=True, front=0.17)


def test_answers_are_true() -> None:
    scene, rng = two_things(), random.Random(0)
    asked = {}
    for want in ('any', 'plan', 'nearest', 'word', 'point', 'box'):
        for question in room_questions.questions(rng, scene, 60, want):
            text = question.text.replace('the ', '').removesuffix(' Answer yes or no.')
            asked[question.task, text] = question.short
    spatial, plan = TASKS['spatial'], TASKS['plan']
    done, possible = TASKS['is_done'], TASKS['is_possible']
    expected = {
        (spatial, 'Is yellow box nearer than yellow ball?'): 'yes',
        (spatial, 'Is yellow ball nearer than yellow box?'): 'no',
        (spatial, 'Is yellow box left of yellow ball?'): 'yes',
        (done, 'robot is next to yellow box'): 'yes',
        (done, 'robot is next to yellow ball'): 'no',
        (done, 'go to yellow box'): 'yes',
        (done, 'go to yellow ball'): 'no',
        (done, 'yellow ball can be reached'): 'yes',
        (possible, 'go to yellow ball'): 'yes',
        (plan, 'go to yellow box'): '1. go to the yellow box [40, 70]',
        (plan, 'go to yellow ball and then to yellow box'):
            '1. go to the yellow ball [120, 40]\n2. go to the yellow box [40, 70]',
    }
    assert {key: asked.get(key) for key in expected} == expected
    absent = {(task.name, answer) for (task, key), answer in asked.items()
              if task in {plan, TASKS['points'], done, possible}
              and any(colour in key for colour in COLOURS if colour != 'yellow')}
    assert absent == {('plan', '[]'), ('points', '[]'), ('is_done', 'no'), ('is_possible', 'no')}


def content_of(reply: str, question: Question, room: RoomScene) -> Content | None:
    """What the package reads of a model's reply; None: it refuses the reply."""
    query = Query(question.task, question.text, (Frame(room.pixels),))
    try:
        return parse_answer(query, build_prompt(query, LIMITS), reply, 'stop').content
    except ParseError:
        return None


def test_answers_are_judged_by_the_truth(rooms: list[RoomScene]) -> None:
    rng, judged = random.Random(2), set()
    for room in rooms:
        for maker in room_questions.MAKERS:
            question = maker(rng, room)
            if question is None:
                continue
            judged.add(question.kind)
            assert room_right(content_of(question.reply(), question, room), question, room)
            wrong = {'yes': 'no', 'no': 'yes', 'nearer': 'farther', 'farther': 'nearer'}.get(
                question.short, '1. look around' if question.task is TASKS['plan'] else
                '[{"points": [[1, 1]], "label": "it"}]')
            assert not room_right(content_of(
                f'<think>\n</think>\n\n{wrong}', question, room), question, room), question
    assert judged >= {'point', 'absent', 'check', 'nearer', 'plan', 'plan_absent'}


def test_a_room_without_things_has_only_questions_that_can_be_answered() -> None:
    scene = replace(two_things(), things=())
    for want in ('any', 'plan', 'nearest', 'box', 'point', 'word'):
        made = room_questions.questions(random.Random(1), scene, 10, want)
        assert made
        assert {question.short for question in made} <= {'[]', 'no'}


def test_stored_rooms_are_loaded_as_they_were(tmp_path: Path) -> None:
    renders.render(tmp_path, 'room', renders.EACH, processes=1, sizes=[SIZE], masks=True)
    kept = renders.Renders(tmp_path, 'room').scenes(SIZE)
    assert len(kept) == renders.EACH
    assert all(isinstance(scene, RoomScene) and scene.front > 0 for scene in kept)
    scene = next(scene for scene in kept if scene.things)
    flipped = renders.mirrored(scene)
    assert isinstance(flipped, RoomScene)
    thing, other = scene.things[0], flipped.things[0]
    assert (other.x, other.name) == (SIZE[0] - thing.x, thing.name)
    assert flipped.labels is not None
    assert flipped.labels[int(other.y), int(other.x)] == 1
    assert flipped.gap(other) == scene.gap(thing)
