"""The questions of the benchmarks: about drawn tabletops, as a robot asks them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.embedded.plan_questions import plan
from mimo_embodied_ros.embedded.table_questions import RELATIONS, absent, point, relation
from mimo_embodied_ros.worlds import table_scene

if TYPE_CHECKING:
    import random

    from mimo_embodied_ros.embedded.question import Question

SIZE = 1280, 720
_TRIES = 100


def _yes_no(rng: random.Random, scene: table_scene.Table) -> Question | None:
    return relation(rng, scene, rng.choice(RELATIONS))


# In this order, so that each eight questions are 2 plans, 3 points and 3 yes/no. A frame has not
# enough things for more than that, so further questions also ask for things that are not there.
_MIX = (plan, point, _yes_no, plan, point, _yes_no, point, _yes_no)
_MORE = (plan, absent, _yes_no, plan, point, _yes_no, absent, _yes_no)
POINT, YES_NO = 1, 2  # indices in _MIX


def about_one_frame(rng: random.Random, count: int = len(_MIX)) -> list[Query]:
    """Draw different questions about one new frame of 1280x720 pixels."""
    while True:
        scene = table_scene.draw_table(rng, *SIZE, least=6)
        frames = (Frame(scene.pixels),)
        queries: dict[str, Query] = {}
        for number in range(count):
            makers = _MIX if number < len(_MIX) else _MORE
            for _ in range(_TRIES):
                question = makers[number % len(makers)](rng, scene)
                if question and question.kind != 'plan_absent' and question.text not in queries:
                    queries[question.text] = Query(question.task, question.text, frames)
                    break
            else:  # nothing on the table can be moved
                break
        if len(queries) == count:
            return list(queries.values())


def about_new_frames(rng: random.Random) -> list[Query]:
    """Draw the same mix of questions, each about a new frame."""
    return [about_one_frame(rng)[place] for place in range(len(_MIX))]


def long_plan(rng: random.Random) -> Query:
    """Draw a question for a plan of four steps, the embedded model's longest answer."""
    while True:
        scene = table_scene.draw_table(rng, *SIZE, least=6)
        for _ in range(_TRIES):
            question = plan(rng, scene)
            if question and len(question.things) == 4:
                return Query(question.task, question.text, (Frame(scene.pixels),))
