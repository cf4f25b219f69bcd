"""Print what the embedded model writes about drawn scenes, to compare it between environments."""

from __future__ import annotations

import random
from itertools import count, islice
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.embedded import plan_questions, road_questions, table_questions
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.worlds import road_scene, table_scene
from support.paths import EMBEDDED_MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mimo_embodied_ros.embedded.question import Question

SIZES = ((640, 480), (848, 480), (1280, 720))


def drawn_questions(rng: random.Random) -> Iterator[tuple[Frame, Question]]:
    """Draw six tables and three roads, and yield questions about them."""
    for number in range(6):
        table = table_scene.draw_table(rng, *SIZES[number % 3])
        for question in islice(table_questions.about_table(rng, table), 10):
            yield Frame(table.pixels), question
        if (plan := plan_questions.plan(rng, table)) is not None:
            yield Frame(table.pixels), plan
    for size in SIZES:
        road = road_scene.draw_road(rng, *size)
        for question in (*road_questions.about_road(rng, road), road_questions.drive(rng, road),
                         road_questions.critical_objects(road)):
            yield Frame(road.pixels), question


def main() -> None:
    """A line for each question; every second one is asked with thinking."""
    engine = load_engine(EngineConfig(str(EMBEDDED_MODEL), device='cpu', threads=1))
    rng = random.Random('the same everywhere')
    for number, (frame, question) in zip(count(), drawn_questions(rng)):
        query = Query(question.task, question.text, (frame,), thinking=number % 2 == 1,
                      odometry=question.odometry)
        reply = engine.generate(build_prompt(query, engine.limits), max_new_tokens=200)
        print(query.task.name, query.text, repr(reply.text), reply.finish_reason, sep=' | ')


if __name__ == '__main__':
    main()
