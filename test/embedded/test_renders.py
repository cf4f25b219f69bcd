"""Rendered tables: their labels, how they are kept, and the questions about what is where."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mimo_embodied_ros.core.answers import TaskPlan
from mimo_embodied_ros.core.plan_checking import check_plan
from mimo_embodied_ros.core.plan_readers import read_steps
from mimo_embodied_ros.core.resize import FACTOR
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.core.skills import select_skills
from mimo_embodied_ros.embedded import (
    evaluate,
    held_out,
    plan_questions,
    renders,
    state_questions,
    table_questions,
    vision_supervision,
)
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.worlds import table_scene
from mimo_embodied_ros.worlds.table_scene import SeenThing, Table
from mimo_embodied_ros.worlds.things import MOVABLE
from support.paths import EMBEDDED_MODEL, SKILL_FILES

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip('mujoco')

from mimo_embodied_ros.embedded.rendered_tables import TableStage

SIZE = (224, 168)
SEED = 3  # these tables have no arm, which takes longer


def render(folder: Path) -> None:
    renders.render(folder, 'table', 2 * renders.EACH, seed=SEED, processes=1, sizes=[SIZE],
                   masks=True)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp('renders')
    render(out)
    return out


@pytest.fixture(scope='module')
def tables(folder: Path) -> list[Table]:
    scenes = renders.Renders(folder, 'table').scenes(SIZE)
    assert len(scenes) == 2 * renders.EACH
    return [scene for scene in scenes if isinstance(scene, Table)]


@pytest.fixture(scope='module')
def grippers() -> tuple[Table, Table]:
    """A gripper whose fingers hold a thing, and an empty one."""
    rng = random.Random(3)
    stage = TableStage(rng, arm=1.0)
    scenes = [stage.picture(rng, *SIZE) for _ in range(12)]
    seen = {state_questions.held_thing(s) is None: s for s in scenes if s and s.gripper}
    return seen[False], seen[True]


@pytest.fixture
def held(grippers: tuple[Table, Table]) -> Table:
    return grippers[0]


def test_labels_are_those_of_the_segmentation(tables: list[Table], held: Table) -> None:
    for scene in (*tables, held):
        cells = set()
        for thing in scene.things:
            assert isinstance(thing, SeenThing)
            mask = table_scene.mask(scene, thing)
            assert mask[int(thing.y), int(thing.x)]
            rows, columns = np.nonzero(mask)
            assert thing.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert mask.sum() >= 40
            cells.add(vision_supervision.token_of(thing, SIZE[1] // FACTOR, SIZE[0] // FACTOR))
        assert len(cells) == len(scene.things), 'an image token tells of one thing'
        assert scene.free is not None
        assert scene.labels is not None
        assert not scene.labels[int(scene.free[1]), int(scene.free[0])]


def test_a_held_thing_is_seen_between_the_fingers(held: Table) -> None:
    thing = state_questions.held_thing(held)
    assert thing in held.things
    assert thing is not None
    assert thing.shape in MOVABLE


def test_rendering_goes_on_where_it_stopped(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    kept = folder / 'table-00000.jsonl'
    written = kept.stat().st_mtime_ns
    (folder / 'table-00001.jsonl').unlink()
    for number in range(3):
        (folder / f'table-00001-{number}.jpg').unlink()
    render(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert kept.stat().st_mtime_ns == written


def test_a_mirrored_scene_has_left_and_right_exchanged(tables: list[Table]) -> None:
    rows, columns = SIZE[1] // FACTOR, SIZE[0] // FACTOR
    for scene in tables:
        other = renders.mirrored(scene)
        assert isinstance(other, Table)
        np.testing.assert_array_equal(other.pixels, scene.pixels[:, ::-1])
        for a, b in zip(scene.things, other.things):
            np.testing.assert_array_equal(
                table_scene.mask(other, b), table_scene.mask(scene, a)[:, ::-1])
            rows_columns = np.nonzero(table_scene.mask(other, b))
            assert (b.box[0], b.box[2]) == (rows_columns[1].min(), rows_columns[1].max() + 1)
            one, two = (vision_supervision.token_of(t, rows, columns) for t in (a, b))
            assert one // columns == two // columns
            assert one % columns == columns - 1 - two % columns
        for a, b in zip(scene.things, scene.things[1:]):
            names = a.name, b.name
            seen = [table_questions._compared(s, *(t for name in names for t in s.things
                                                   if t.name == name), ('left', 'right'))
                    for s in (scene, other)]
            assert seen in ([], ['', ''], ['left', 'right'], ['right', 'left'])


def test_nothing_that_is_hidden_is_asked_for(tables: list[Table]) -> None:
    """As seen things, or as things that are not there."""
    scene = max(tables, key=lambda s: len(s.things))
    hidden = SeenThing('green', 'ball', 0, 0, 0, f'in the {scene.things[0].name}')
    if any(t.name == hidden.name for t in scene.things):
        hidden = SeenThing('blue', 'cone', 0, 0, 0, hidden.place)
    scene = replace(scene, hidden=(hidden,),
                    things=tuple(t for t in scene.things if t.name != hidden.name))
    rng = random.Random(1)
    for question in islice(table_questions.about_table(rng, scene), 300):
        assert question.kind == 'check' or hidden.name not in question.text
        assert question.kind not in {'count', 'list'}
    plans = filter(None, (plan_questions.plan(rng, scene) for _ in range(60)))
    assert not any(hidden.name in plan.text for plan in plans)


_STATES = (
    (r'(?:put |stack )?(?:the )?(\w+ \w+) (?:is )?(?:in|into|on|onto|on top of) (?:the )?(\w+ \w+)',
     lambda where, name, holder: where.get(name, '').split(' ', 1)[-1] == f'the {holder}'),
    (r'(?:pick up|the gripper holds) (?:the )?(\w+ \w+)',
     lambda where, name: where.get(name) == 'held'),
    (r'(?:hand over|a person holds) (?:the )?(\w+ \w+)', lambda where, name: name not in where),
    (r'the gripper (?:is empty|holds nothing)', lambda where: 'held' not in where.values()),
)


def test_checks_tell_what_the_world_knows(
    tables: list[Table], grippers: tuple[Table, Table]
) -> None:
    rng = random.Random(2)
    told: dict[int, set[str]] = defaultdict(set)
    for scene in (*[t for t in tables if any(x.place for x in t.things)], *grippers):
        where = {t.name: t.place for t in (*scene.things, *scene.hidden)}
        for _ in range(150):
            question = state_questions.check(rng, scene)
            if question.task.name != 'is_done':
                continue
            for number, (words, truth) in enumerate(_STATES):
                match = re.fullmatch(words, question.text)
                # what is out of the picture may be in a gripper that is not seen
                if match and (scene.gripper or number != 1 or match.group(1) in where):
                    assert (question.short == 'yes') == truth(where, *match.groups()), question.text
                    told[number].add(question.short)
                    break
    assert all(told[number] == {'yes', 'no'} for number in range(len(_STATES))), told


def test_plans_have_skills_and_do_not_pick_up_what_is_held(
    tables: list[Table], held: Table
) -> None:
    rules = select_skills(load_skills(SKILL_FILES / 'simulated_arm.yaml'), open_ended=True)
    rng = random.Random(4)
    kinds = set()
    for scene in (*tables, *(table_scene.draw_table(rng, *SIZE) for _ in range(20))):
        for kind in plan_questions.KINDS:
            question = plan_questions.plan(rng, scene, [kind])
            if question is None or question.kind == 'plan_absent':
                continue
            plan = check_plan(TaskPlan(question.text, read_steps(question.answer) or ()), rules)
            assert plan.steps
            assert not plan.problem, question.text
            kinds.add(kind)
            if kind == 'clear':
                picked = [t.x for t in question.things[::2]]
                assert picked == sorted(picked)
                goal = question.things[1]
                assert {t.name for t in question.things[::2]} == {
                    t.name for t in scene.things
                    if t.shape in MOVABLE and not t.place.endswith(goal.name)}
    assert kinds == set(plan_questions.KINDS)
    thing = state_questions.held_thing(held)
    assert thing is not None
    for _ in range(40):
        question = plan_questions.plan(rng, held)
        if question is not None and question.kind == 'plan':
            assert f'pick up the {thing.name}' not in question.answer


def test_points_are_measured_on_rendered_scenes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the folder has is not rendered again; a point is right in the segmentation's mask."""
    for module in (held_out, evaluate):
        monkeypatch.setattr(module, 'CAMERA_SIZES', (SIZE,))
    scenes = held_out.RenderedScenes(folder, tables=2 * renders.EACH, roads=0, rooms=0)
    engine = load_engine(EngineConfig(model=str(EMBEDDED_MODEL), max_batch=8))
    try:
        exam = evaluate.Exam(engine, 8, 1, scenes)
        exam.points()
    finally:
        engine.close()
    assert exam.scores.counts()['point_hit 224x168'] == 8
    assert 0 < exam.scores.report()['point_hit']['224x168'] <= 1
