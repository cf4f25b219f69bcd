"""Measure a model on scenes that it was not trained on: ``make eval``.

Each question takes the whole path of a robot's request: prompt, resize, generation, parsing. The
scenes have the sizes of usual cameras and come from a seed that training does not use. This
evaluation stands here and not in ``evaluation``, because it asks the embedded model's own
questions, which ``evaluation`` must not import.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import math
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mimo_embodied_ros.core.answers import Affordances, TaskPlan
from mimo_embodied_ros.core.errors import MimoError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.plan_checking import check_plan
from mimo_embodied_ros.core.plan_readers import read_steps
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.core.skills import select_skills
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.engine.grounding import answer_grounded
from mimo_embodied_ros.share import share_folder
from mimo_embodied_ros.worlds import road_scene, table_clip, table_scene

from . import (
    clip_questions,
    judging,
    plan_questions,
    renders,
    road_questions,
    room_questions,
    table_questions,
)
from .curriculum import CAMERA_SIZES
from .held_out import RenderedScenes
from .scores import Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mimo_embodied_ros.core.answers import Content
    from mimo_embodied_ros.core.skills import SkillList
    from mimo_embodied_ros.engine import Engine
    from mimo_embodied_ros.worlds.room_scene import RoomScene

    from .question import Question

    _Scene = (table_scene.Table | road_scene.Road | road_scene.Surround
              | table_clip.TableClip)

# By figure, or by figure and part; all are least shares but the last, which is a largest error.
TARGETS = {'point_hit': 0.97, 'yes_no': 0.97, 'absent_refused': 0.97, 'plan_steps': 0.9,
           'plan_places': 0.9, 'driving_action': 0.9, 'skills_valid': 0.9, 'skills_objects': 0.9,
           'skills_order': 0.9, 'clip': 0.9, 'surround': 0.9, 'room': 0.9,
           'other check': 0.97, 'other check_alike': 0.97,
           'other colour': 0.9, 'other count': 0.9, 'other which_nearest': 0.9,
           'other box_iou_over_0.5': 0.9, 'point_error': 4.0}
_AT_ONCE = 8


class Scenes(Protocol):
    """Where an exam takes its scenes from; ``size`` is (width, height) in pixels."""

    def table(self, rng: random.Random, size: tuple[int, int]) -> table_scene.Table:
        """Return a table as a camera sees it."""

    def road(self, rng: random.Random, size: tuple[int, int]) -> road_scene.Road:
        """Return a road as a camera sees it."""

    def rooms(self) -> tuple[RoomScene, ...]:
        """Return rooms as a base sees them."""

    def surrounds(self) -> tuple[road_scene.Surround, ...]:
        """Return moments that all cameras of a car see."""

    def clips(self, rng: random.Random) -> Iterator[table_clip.TableClip]:
        """Yield clips of tables, without end where there are any."""

    def mask(self, scene: table_scene.Table, thing: table_scene.Thing) -> NDArray[np.bool_]:
        """Return (height, width) bool: where a thing is to be seen."""


class DrawnScenes:
    """Drawn tables, roads and clips; see `Scenes`."""

    def table(self, rng: random.Random, size: tuple[int, int]) -> table_scene.Table:
        """Draw a table."""
        return table_scene.draw_table(rng, *size)

    def road(self, rng: random.Random, size: tuple[int, int]) -> road_scene.Road:
        """Draw a road."""
        return road_scene.draw_road(rng, *size)

    def rooms(self) -> tuple[RoomScene, ...]:
        """There are none."""
        return ()

    def surrounds(self) -> tuple[road_scene.Surround, ...]:
        """There are none."""
        return ()

    def clips(self, rng: random.Random) -> Iterator[table_clip.TableClip]:
        """Draw clips; larger ones take long, and the model gets frames of a video small."""
        return (table_clip.draw_clip(rng, 320, 240) for _ in itertools.count())

    def mask(self, scene: table_scene.Table, thing: table_scene.Thing) -> NDArray[np.bool_]:
        """Return where a thing is drawn and not hidden."""
        return table_scene.mask(scene, thing)


def _frames(scene: _Scene) -> tuple[Frame, ...]:
    """What a camera sends of a scene."""
    if isinstance(scene, table_clip.TableClip):
        return tuple(Frame(table.pixels, round(i * table_clip.INTERVAL * 1e9))
                     for i, table in enumerate(scene.frames))
    if isinstance(scene, road_scene.Surround):
        return tuple(Frame(road.pixels) for road in scene.roads)
    return (Frame(scene.pixels),)


class Exam:
    """Asks a model about held-out scenes, and keeps the scores."""

    def __init__(
        self, engine: Engine, number: int, seed: int, scenes: Scenes, *, structured: bool = False,
    ) -> None:
        """Take the model and the scenes.

        Args:
            engine: runs the model.
            number: questions for each figure.
            seed: seed of the scenes and questions.
            scenes: where the scenes come from.
            structured: hold answers to a grammar.

        """
        self._scenes = scenes
        self.scores = Scores()
        self._engine = engine
        self._number = number
        self._structured = structured
        self._rng = random.Random(f'held out {seed}')

    def _content(
        self, rules: SkillList | None, scene_and_question: tuple[_Scene, Question]
    ) -> Content | None:
        """The typed answer, or None where the request failed."""
        scene, question = scene_and_question
        structured = self._structured or (rules is not None and self._engine.holds_grammars)
        query = Query(question.task, question.text, _frames(scene), odometry=question.odometry,
                      options=question.options, skills=rules, structured=structured)
        try:
            return answer_grounded(self._engine, query)[0].content
        except MimoError:
            return None

    def _answered(
        self, pairs: Iterator[tuple[_Scene, Question]], rules: SkillList | None = None
    ) -> Iterator[tuple[Any, Question, Content | None]]:
        """Scenes, questions and answers; several questions are asked at once."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            while batch := list(itertools.islice(pairs, _AT_ONCE)):
                contents = pool.map(functools.partial(self._content, rules), batch)
                for (scene, question), content in zip(batch, contents):
                    yield scene, question, content

    def _about_tables(
        self, number: int, maker: Callable[[table_scene.Table], Question | None],
        camera: tuple[int, int] | None = None, rules: SkillList | None = None,
    ) -> Iterator[tuple[table_scene.Table, Question, Content | None]]:
        """Answers about tables, without those about which the maker asks nothing."""
        rng = self._rng
        tables = (self._scenes.table(rng, camera or rng.choice(CAMERA_SIZES))
                  for _ in itertools.count())
        pairs = ((scene, question) for scene in tables if (question := maker(scene)))
        return self._answered(itertools.islice(pairs, number), rules)

    def _roads(self, number: int) -> Iterator[road_scene.Road]:
        return (self._scenes.road(self._rng, self._rng.choice(CAMERA_SIZES))
                for _ in range(number))

    def points(self) -> None:
        """Measure whether points lie on the things, by size of the image."""
        for camera in CAMERA_SIZES:
            for scene, question, content in self._about_tables(
                    self._number, lambda s: table_questions.point(self._rng, s), camera):
                thing = question.things[0]
                self.scores.add('point_hit', '{}x{}'.format(*camera),
                                right=judging.hits(content, self._scenes.mask(scene, thing)))
                error = judging.error(content, scene, thing)
                if not math.isnan(error):  # that it refuses counts as a miss only
                    self.scores.errors.append(error)

    def words(self) -> None:
        """Measure whether answers in words are right: each relation by itself, and the others."""
        rng = self._rng
        for kind in table_questions.RELATIONS:
            ask = functools.partial(table_questions.relation, rng, kind=kind)
            for _, question, content in self._about_tables(self._number, ask):
                self.scores.add('yes_no', kind, right=judging.words_right(content, question))
        for maker in (table_questions.exists, table_questions.check, table_questions.check_alike,
                      table_questions.colour, table_questions.count, table_questions.which_nearest,
                      table_questions.listing):
            ask = functools.partial(maker, rng)
            for _, question, content in self._about_tables(self._number // 2, ask):
                self.scores.add('other', maker.__name__,
                                right=judging.words_right(content, question))
        about_roads = ((road, question) for road in self._roads(self._number // 4)
                       for question in road_questions.about_road(rng, road)
                       if question.task is not Task.POINTS)
        for _, question, content in self._answered(about_roads):
            self.scores.add('other', 'road', right=judging.words_right(content, question))

    def absent(self) -> None:
        """Measure whether things that are not there are refused."""
        for _, _, content in self._about_tables(
                self._number, lambda s: table_questions.absent(self._rng, s)):
            self.scores.add('absent_refused', '', right=content == Affordances())

    def boxes(self) -> None:
        """Measure whether boxes fit."""
        for _, question, content in self._about_tables(
                self._number // 2, lambda s: table_questions.box(self._rng, s)):
            overlap = judging.overlap(content, question.things[0])
            for least in (0.5, 0.7):
                self.scores.add('other', f'box_iou_over_{least}', right=overlap > least)

    def plans(self) -> None:
        """Measure whether all steps of a plan, and all their points, are right."""
        for scene, plan, content in self._about_tables(
                self._number, lambda s: plan_questions.plan(self._rng, s)):
            if plan.kind == 'plan_absent':
                self.scores.add('other', 'plan_absent_refused',
                                right=isinstance(content, TaskPlan) and not content.steps)
            else:
                self.scores.add('plan_steps', '', right=judging.plan_right(content, plan))
                self.scores.add('plan_places', '', right=judging.places_right(content, scene, plan))

    def skills(self) -> None:
        """Measure whether plans of skills are valid, about the right things, and in order."""
        rules = select_skills(
            load_skills(share_folder() / 'config' / 'skills' / 'manipulator.yaml'),
            open_ended=True)  # to swap two things needs the table, which nobody names
        for scene, plan, content in self._about_tables(
                self._number, lambda s: plan_questions.plan(self._rng, s), rules=rules):
            answer = content if isinstance(content, TaskPlan) and not content.problem else None
            if plan.kind == 'plan_absent':
                self.scores.add('other', 'skills_absent_refused',
                                right=answer is None or not answer.steps)
                continue
            true = check_plan(TaskPlan(plan.text, read_steps(plan.answer) or ()), rules)
            self.scores.add('skills_valid', '', right=answer is not None and bool(answer.steps))
            self.scores.add('skills_objects', '', right=answer is not None and (
                sorted(judging.things(answer)) == sorted(judging.things(true))
                and judging.on_things(answer, true, plan.things, scene)))
            self.scores.add('skills_order', '', right=answer is not None and (
                judging.skill_calls(answer) == judging.skill_calls(true)))

    def driving(self) -> None:
        """Measure whether the next action on a road is right, and how well hazard boxes fit."""
        pairs = ((road, question) for road in self._roads(self._number)
                 for question in (road_questions.drive(self._rng, road),
                                  road_questions.critical_objects(road)))
        for road, question, content in self._answered(pairs):
            if question.kind == 'drive':
                self.scores.add('driving_action', '', right=judging.drives_right(content, road))
            elif road_questions.hazards(road):
                self.scores.add('hazard_iou', '', right=judging.hazards_fit(content, road))

        moments = ((moment, question) for moment in self._scenes.surrounds()
                   for question in (road_questions.drive(self._rng, moment),
                                    *road_questions.about_surround(self._rng, moment)))
        for moment, question, content in self._answered(moments):
            if question.kind == 'drive':
                self.scores.add('surround', 'action', right=judging.drives_right(
                    content, moment.roads[0]))
            else:
                self.scores.add('surround', 'view', right=judging.words_right(content, question))

    def rooms(self) -> None:
        """Measure answers about rooms, by kind of the question."""
        pairs = ((room, question) for room in self._scenes.rooms()
                 for maker in room_questions.MAKERS if (question := maker(self._rng, room)))
        for room, question, content in self._answered(pairs):
            self.scores.add('room', question.kind,
                            right=judging.room_right(content, question, room))

    def clips(self) -> None:
        """Measure whether answers about clips are right, by kind of the question."""
        rng = self._rng
        clips = self._scenes.clips(rng)
        for maker in clip_questions.MAKERS:
            pairs = ((clip, question) for clip in clips if (question := maker(rng, clip)))
            for _, question, content in self._answered(
                    itertools.islice(pairs, self._number // 4)):
                self.scores.add('clip', maker.__name__,
                                right=judging.words_right(content, question))


def measure(
    engine: Engine, scenes: Scenes, *, number: int, seed: int, structured: bool
) -> dict[str, Any]:
    """Print the figures that a model reaches with scenes of one kind, and return the report.

    Args:
        engine: runs the model.
        scenes: where the scenes come from.
        number: questions for each figure.
        seed: seed of the scenes and questions.
        structured: hold answers to a grammar.

    Returns:
        Shares of right answers by figure, or by figure and part; ``point_error``, the median
        distance of points from the truth in pixels of a picture 640 wide; ``questions``, the
        number of answers behind each share; and ``missed``, the figures that miss their targets.

    """
    exam = Exam(engine, number, seed, scenes, structured=structured)
    for ask in (exam.points, exam.words, exam.absent, exam.boxes, exam.plans, exam.driving,
                exam.rooms, exam.skills, exam.clips):
        ask()
    shares = exam.scores.report()
    missed = []
    for figure, value in shares.items():
        for part, share in (value if isinstance(value, dict) else {'': value}).items():
            name = f'{figure} {part}'.strip()
            shown = '{:7.1f}' if figure == 'point_error' else '{:7.1%}'
            target = TARGETS.get(figure, TARGETS.get(name))
            note = '' if target is None else '   target' + shown.format(target)
            reached = target is None or (
                share <= target if figure == 'point_error' else share >= target)
            if not reached:
                note += ', MISSED'
                missed.append(name)
            print(f'{figure:15s} {part:20s} {shown.format(share)}{note}')
    if missed:
        print(f'targets missed: {", ".join(missed)}', file=sys.stderr)
    return {**shares, 'questions': exam.scores.counts(), 'missed': missed}


def main() -> int:
    """Print the figures and write them to ``report.json``."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--model', default='models/mimo_tiny')
    parser.add_argument('--out', type=Path, default=Path('eval_out'))
    parser.add_argument('--number', type=int, default=200, help='questions for each figure')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--structured', action='store_true',
                        help='hold points, boxes and choices to a grammar')
    parser.add_argument('--renders', type=Path, default=renders.FOLDER / 'held_out',
                        help='folder of the rendered scenes (default: %(default)s)')
    options = parser.parse_args()
    engine = load_engine(EngineConfig(model=options.model, max_batch=_AT_ONCE))
    begin = time.monotonic()
    try:
        ask = functools.partial(measure, engine, number=options.number, seed=options.seed,
                                structured=options.structured)
        print('--- drawn scenes')
        figures = ask(DrawnScenes())
        print('--- rendered scenes')
        rendered = ask(RenderedScenes(options.renders))
    finally:
        engine.close()
    options.out.mkdir(parents=True, exist_ok=True)
    report = {'model': engine.info.name, 'seed': options.seed,
              'structured': options.structured, **figures, 'rendered': rendered}
    (options.out / 'report.json').write_text(json.dumps(report, indent=2) + '\n', 'utf-8')
    number = sum(sum(part['questions'].values()) for part in (figures, rendered))
    print(f'{number} answers in {time.monotonic() - begin:.0f} s; '
          f'{options.out}/report.json')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
