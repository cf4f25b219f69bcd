"""Measure a model on scenes that it was not trained on: ``make eval``.

Every question goes the whole way that a robot's goes: prompt, resize, generation, parsing. The
scenes are drawn at the cameras' own sizes, from a seed that training does not use.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.answers import Affordances, SpatialAnswer, TaskPlan, TextAnswer
from ..core.errors import MimoError
from ..core.frames import Frame
from ..core.query import Query, Task
from ..engine import EngineConfig, load_engine
from ..engine.answering import answer_query
from . import questions, scenes
from .train import CAMERAS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.answers import Content
    from ..engine import Engine

TARGETS = {'point_hit': 0.97, 'yes_no': 0.97, 'absent_refused': 0.97, 'plan_steps': 0.9,
           'plan_places': 0.9}
_NEAR = 0.1  # of the image's sides: how far a plan's place may be from the truth


class Scores:
    """Shares of right answers by figure and by what it is split by."""

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self._right: dict[tuple[str, str], list[bool]] = defaultdict(list)

    def add(self, figure: str, part: str, *, right: bool) -> None:
        """Count one answer."""
        self._right[figure, part].append(right)

    def report(self) -> dict[str, float | dict[str, float]]:
        """Shares by figure, and by part where it has some."""
        out: dict[str, float | dict[str, float]] = {}
        for (figure, part), right in sorted(self._right.items()):
            share = round(sum(right) / len(right), 4)
            if part:
                parts = out.setdefault(figure, {})
                assert isinstance(parts, dict)
                parts[part] = share
            else:
                out[figure] = share
        return out

    def counts(self) -> dict[str, int]:
        """How many answers stand behind each share."""
        return {f'{figure} {part}'.strip(): len(v) for (figure, part), v in self._right.items()}


def _ask(engine: Engine, scene: scenes.Table | scenes.Road, question: questions.Question,
         ) -> Content | None:
    """The typed answer, or None where the package could not say."""
    query = Query(question.task, question.text, (Frame(scene.pixels),))
    try:
        return answer_query(engine, query)[0].content
    except MimoError:
        return None


def _hits(content: Content | None, scene: scenes.Table, thing: scenes.Thing) -> bool:
    if not isinstance(content, Affordances) or len(content.points) != 1:
        return False
    point, place = content.points[0], scenes.mask(scene, thing)
    row, column = int(point.y), int(point.x)
    return (0 <= row < place.shape[0] and 0 <= column < place.shape[1]
            and bool(place[row, column]))


def _overlap(content: Content | None, thing: scenes.Thing) -> float:
    """Intersection over union of the first box."""
    if not isinstance(content, Affordances) or not content.boxes:
        return 0.0
    box, true = content.boxes[0], thing.box
    width = min(box.x_max, true[2]) - max(box.x_min, true[0])
    height = min(box.y_max, true[3]) - max(box.y_min, true[1])
    shared = max(0.0, width) * max(0.0, height)
    area = (box.x_max - box.x_min) * (box.y_max - box.y_min)
    return shared / (area + thing.size - shared)


def _words_right(content: Content | None, question: questions.Question) -> bool:
    if isinstance(content, SpatialAnswer):
        return content.text.strip().lower() == question.short
    return isinstance(content, TextAnswer) and content.text.strip() == question.short


def _plan_right(content: Content | None, question: questions.Question) -> bool:
    """Whether objects, targets and order are those of the true steps."""
    if not isinstance(content, TaskPlan):
        return False
    said = [step.text.split(' [')[0].strip() for step in content.steps]
    true = [line.split('. ', 1)[1].split(' [')[0] for line in question.answer.splitlines()]
    return said == true


def _places_right(
    content: Content | None, scene: scenes.Table, question: questions.Question
) -> bool:
    if not isinstance(content, TaskPlan) or len(content.steps) != len(question.things):
        return False
    height, width = scene.pixels.shape[:2]
    return all(
        len(step.points) == 1
        and abs(step.points[0].x - thing.x) <= _NEAR * width
        and abs(step.points[0].y - thing.y) <= _NEAR * height
        for step, thing in zip(content.steps, question.things))


def _tables(seed: str) -> Callable[[], scenes.Table]:
    rng = random.Random(seed)

    def draw() -> scenes.Table:
        return scenes.draw_table(rng, *rng.choice(CAMERAS))

    return draw


def evaluate(engine: Engine, number: int, seed: int) -> Scores:
    """Ask ``number`` questions for each figure."""
    scores = Scores()
    rng = random.Random(f'held out {seed}')
    for width, height in CAMERAS:
        for _ in range(number):
            scene = scenes.draw_table(rng, width, height)
            question = questions.point(rng, scene)
            right = _hits(_ask(engine, scene, question), scene, question.things[0])
            scores.add('point_hit', f'{width}x{height}', right=right)
    draw = _tables(f'held out tables {seed}')
    for kind in questions.RELATIONS:
        asked = 0
        while asked < number:
            scene = draw()
            relation = questions.relation(rng, scene, kind)
            if relation is not None:
                asked += 1
                right = _words_right(_ask(engine, scene, relation), relation)
                scores.add('yes_no', kind, right=right)
    for _ in range(number):
        scene = draw()
        content = _ask(engine, scene, questions.absent(rng, scene))
        scores.add('absent_refused', '', right=content == Affordances())
        box = questions.box(rng, scene)
        scores.add('other', 'box_iou_over_0.7',
                   right=_overlap(_ask(engine, scene, box), box.things[0]) > 0.7)
    for figure, maker in (('exists', questions.exists), ('colour', questions.colour),
                          ('count', questions.count), ('nearest_choice', questions.which_nearest),
                          ('list', questions.listing)):
        made = (question for question in ((s, maker(rng, s)) for s in iter(draw, None))
                if question[1] is not None)
        for scene, question in islice(made, number // 2):
            assert question is not None
            scores.add('other', figure, right=_words_right(_ask(engine, scene, question), question))
    asked = 0
    while asked < number:
        scene = draw()
        plan = questions.plan(rng, scene)
        if plan is None:
            continue
        content = _ask(engine, scene, plan)
        if plan.kind == 'plan_absent':
            scores.add('other', 'plan_absent_refused',
                       right=isinstance(content, TaskPlan) and not content.steps)
            continue
        asked += 1
        scores.add('plan_steps', '', right=_plan_right(content, plan))
        scores.add('plan_places', '', right=_places_right(content, scene, plan))
    for _ in range(number // 4):
        road = scenes.draw_road(rng, *rng.choice(CAMERAS))
        for question in questions.road(rng, road):
            if question.task is not Task.POINTS:
                right = _words_right(_ask(engine, road, question), question)
                scores.add('other', 'road', right=right)
    return scores


def main() -> int:
    """Print the figures and write them to ``report.json``."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--model', default='models/mimo_tiny')
    parser.add_argument('--out', type=Path, default=Path('eval_out'))
    parser.add_argument('--number', type=int, default=200, help='questions a figure')
    parser.add_argument('--seed', type=int, default=1)
    options = parser.parse_args()
    engine = load_engine(EngineConfig(model=options.model))
    begin = time.monotonic()
    try:
        scores = evaluate(engine, options.number, options.seed)
    finally:
        engine.close()
    shares = scores.report()
    missed = []
    for figure, value in shares.items():
        for part, share in (value if isinstance(value, dict) else {'': value}).items():
            target = TARGETS.get(figure)
            note = '' if target is None else f'   target {target:.0%}'
            if target is not None and share < target:
                note += ', MISSED'
                missed.append(f'{figure} {part}'.strip())
            print(f'{figure:15s} {part:20s} {share:7.1%}{note}')
    options.out.mkdir(parents=True, exist_ok=True)
    report = {'model': engine.info.name, 'seed': options.seed, **shares,
              'questions': scores.counts(), 'missed': missed}
    (options.out / 'report.json').write_text(json.dumps(report, indent=2) + '\n', 'utf-8')
    print(f'{sum(scores.counts().values())} answers in {time.monotonic() - begin:.0f} s; '
          f'{options.out}/report.json')
    if missed:
        print(f'below their targets: {", ".join(missed)}', file=sys.stderr)
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
