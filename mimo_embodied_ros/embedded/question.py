r"""A question about a drawn scene, with its answer in MiMo-Embodied's own formats.

A question has a full form, with the prompt that the package sends to any model and the think block,
JSON, ``\boxed{}`` or steps of the reply; and a bare form, with the informative words alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.ego_motion import format_past_path, format_speed
from mimo_embodied_ros.core.prompts import NO_THINK
from mimo_embodied_ros.core.tasks import Task

if TYPE_CHECKING:
    import random

    from mimo_embodied_ros.core.frames import Odometry
    from mimo_embodied_ros.worlds.road_scene import RoadObject
    from mimo_embodied_ros.worlds.table_scene import Thing

YES_NO_TAIL = ' Answer yes or no.'


@dataclass(frozen=True)
class Question:
    """A question, its right answer, and what it is about.

    Attributes:
        kind: name for the statistics: point, box, absent, a relation, plan, ...
        task: the task whose prompt and parser are used.
        text: the caller's text.
        answer: the reply after the think block; coordinates are pixels of the scene.
        short: the answer without its wrappers; empty where the kind has no short form.
        reasoning: the text of the think block when thinking is on.
        things: the things that the answer points at, in its order, or counts.
        odometry: the vehicle's past states, for prompts that contain its speed and path.
        options: the choices, for tasks that list them.

    """

    kind: str
    task: Task
    text: str
    answer: str
    short: str = ''
    reasoning: str = ''
    things: tuple[Thing, ...] = ()
    odometry: tuple[Odometry, ...] = ()
    options: tuple[str, ...] = ()

    def prompt(self, *, thinking: bool = False) -> str:
        """The user's turn after the image, as the package sends it to a model."""
        motion = {'speed': format_speed(self.odometry), 'path': format_past_path(self.odometry)
                  } if self.odometry else {}
        text = self.task.fill(
            self.text, options=self.task.list_options(self.options), **motion)
        return text if thinking else text + NO_THINK

    def reply(self, *, thinking: bool = False) -> str:
        """The complete reply of a model that answers right."""
        thought = f'{self.reasoning}\n' if thinking and self.reasoning else ''
        return f'<think>\n{thought}</think>\n\n{self.answer}'


def pixel_of(thing: Thing | RoadObject) -> str:
    """The point of a thing, as MiMo-Embodied writes it."""
    return f'[{round(thing.x)}, {round(thing.y)}]'


def boxed_answer(text: str) -> str:
    """A spatial answer, as MiMo-Embodied writes it."""
    return f'\\boxed{{{text}}}'


def points_json(label: str, place: str) -> str:
    """An affordance of one point, as MiMo-Embodied writes it."""
    return f'[{{"points": [{place}], "label": "{label}"}}]'


def with_random_article(rng: random.Random, name: str) -> str:
    """The name with an article half of the time."""
    return f'the {name}' if rng.random() < 0.5 else name


def yes_no_question(
    rng: random.Random, kind: str, text: str, *, yes: bool, things: tuple[Thing, ...] = ()
) -> Question:
    """A yes/no question; half of the time its text asks for yes or no.

    Args:
        rng: source of that choice.
        kind: kind of the question.
        text: text of the question.
        yes: whether the answer is yes.
        things: the things whose points the think block names.

    """
    tail = YES_NO_TAIL if rng.random() < 0.5 else ''
    word = 'yes' if yes else 'no'
    thought = ' and '.join(f'the {t.name} is at {pixel_of(t)}' for t in things)
    return Question(kind, Task.SPATIAL, text + tail, boxed_answer(word), word,
                    f'So, {thought}.' if thought else '', things)
