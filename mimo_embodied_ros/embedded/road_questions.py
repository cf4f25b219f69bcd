"""Questions about a drawn road: its objects, the next action, and the hazards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.frames import Odometry
from mimo_embodied_ros.core.tasks import TASKS, Task
from mimo_embodied_ros.worlds.road_scene import ROAD_OBJECTS, VIEWS, Road, RoadObject, Surround

from .question import (
    Question,
    boxed_answer,
    pixel_of,
    points_json,
    with_random_article,
    yes_no_question,
)

if TYPE_CHECKING:
    import random


def next_action(scene: Road) -> tuple[str, str]:
    """Return what to do next on a road, and why."""
    if scene.light == 'red':
        return 'stop', 'the traffic light is red'
    if scene.pedestrian is not None:
        return 'stop', 'a pedestrian is on the road'
    if scene.car is None:
        if scene.bend != 'straight':
            return f'turn {scene.bend}', f'the road bends {scene.bend}'
        return 'keep going', 'the road is clear'
    return ('slow down', 'a car is near') if scene.car.near else ('keep going', 'the car is far')


def hazards(scene: Road) -> tuple[tuple[RoadObject, str], ...]:
    """Return the objects that a driver must watch, each with the reason."""
    candidates = (
        (scene.traffic_light if scene.light == 'red' else None, 'the traffic light is red'),
        (scene.pedestrian, 'a pedestrian is on the road'),
        (scene.car, 'a car is near' if scene.car and scene.car.near else 'a car is ahead'),
    )
    return tuple((thing, why) for thing, why in candidates if thing is not None)


def drive(rng: random.Random, scene: Road | Surround) -> Question:
    """Ask for the next action; the prompt contains the speed and path of the vehicle."""
    front, task = (scene.roads[0], 'drive_surround') if isinstance(scene, Surround) else (
        scene, 'drive')
    action, why = next_action(front)
    speed = rng.uniform(0, 15)
    path = tuple(
        Odometry(round(-1e9 * age), 'odom', 'base_link', (-speed * age, 0.0, 0.0),
                 (0.0, 0.0, 0.0, 1.0), (speed, 0.0, 0.0), (0.0, 0.0, 0.0))
        for age in (1.5, 1.0, 0.5, 0.0))
    route = rng.choice(('Follow the road.', 'Go straight on.', 'Drive to the next junction.'))
    words = f'{action}, justification: {why}.'
    return Question('drive', TASKS[task], route, boxed_answer(words), words,
                    f'{why.capitalize()}.', odometry=path)


def critical_objects(scene: Road) -> Question:
    """Ask for the boxes around the hazards."""
    reasons = ' and '.join(why for _, why in hazards(scene)) or 'the road is clear'
    boxes = [f'{{"bbox_2d": [{", ".join(str(round(v)) for v in thing.box)}], "caption": "{why}"}}'
             for thing, why in hazards(scene)]
    words = f'[{", ".join(boxes)}]'
    return Question('critical', TASKS['critical_object'], '', words, words,
                    f'{reasons.capitalize()}.')


def about_road(rng: random.Random, scene: Road) -> list[Question]:
    """Make one question of each kind about a road."""
    words = ', '.join(next_action(scene))
    questions = [
        yes_no_question(rng, 'road', 'Is there a car ahead?', yes=scene.car is not None),
        yes_no_question(rng, 'road', 'Is there a pedestrian on the road?',
                        yes=scene.pedestrian is not None),
        Question('road', Task.SPATIAL, 'Which way does the road bend?', boxed_answer(scene.bend),
                 scene.bend),
        Question('road', Task.SPATIAL, 'What colour is the traffic light?',
                 boxed_answer(scene.light), scene.light),
        Question('road', Task.ASK, 'What should the car do?', words, words),
    ]
    things = {thing.name: thing for thing in scene.things}
    for name in ROAD_OBJECTS:
        thing = things.get(name)
        text = with_random_article(rng, name)
        if thing is None:
            question = Question('absent', Task.POINTS, text, '[]', '[]', f'There is no {name}.')
        else:
            place = pixel_of(thing)
            question = Question('road_point', Task.POINTS, text, points_json(text, place),
                                f'[{place}]', f'The {name} is at {place}.')
        questions.append(question)
    return questions


def about_surround(rng: random.Random, scene: Surround) -> list[Question]:
    """Ask which camera shows an object, and whether a camera shows it."""
    questions = []
    for name in ROAD_OBJECTS:
        views = scene.views_of(name)
        if len(views) == 1:
            view = VIEWS[views[0]]
            questions.append(Question(
                'surround', TASKS['surround_question'], f'Which view shows the {name}?',
                boxed_answer(view), view))
        number = rng.choice(views) if views and rng.random() < 0.6 else rng.randrange(len(VIEWS))
        questions.append(replace(
            yes_no_question(rng, 'surround', f'Is there a {name} in the {VIEWS[number]} view?',
                            yes=number in views), task=TASKS['surround_question']))
    return questions
