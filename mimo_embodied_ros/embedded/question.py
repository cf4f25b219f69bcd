r"""A question about a drawn scene, with its answer in MiMo-Embodied's own formats.

A question can be put in full, with the prompt that the package sends to any model and the think
block, JSON, ``\boxed{}`` or steps of the reply; and bare, with the informative words alone.
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
        kind: for the statistics: point, box, absent, relation names, plan, ...
        task: which prompt and parser it goes through.
        text: what the caller says.
        answer: what stands after the think block, coordinates in pixels of the scene.
        short: the answer without the wrappers; empty when the kind has no short form.
        reasoning: what to say in the think block when thinking is on.
        things: what the answer points at, in its order.
        odometry: where the vehicle was, for prompts that tell it.

    """

    kind: str
    task: Task
    text: str
    answer: str
    short: str = ''
    reasoning: str = ''
    things: tuple[Thing, ...] = ()
    odometry: tuple[Odometry, ...] = ()

    def prompt(self, *, thinking: bool = False) -> str:
        """The user's turn after the image, as the package sends it."""
        moved = {'speed': format_speed(self.odometry), 'path': format_past_path(self.odometry)
                 } if self.odometry else {}
        text = self.task.fill(self.text, **moved)
        return text if thinking else text + NO_THINK

    def reply(self, *, thinking: bool = False) -> str:
        """The whole of what the model says."""
        thought = f'{self.reasoning}\n' if thinking and self.reasoning else ''
        return f'<think>\n{thought}</think>\n\n{self.answer}'


def pixel_of(thing: Thing | RoadObject) -> str:
    """The place of a thing, as MiMo-Embodied writes it."""
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
    """A question of yes or no, which half of the time says so.

    Args:
        rng: decides that.
        kind: as of a `Question`.
        text: the question.
        yes: its answer.
        things: the things that the think block says the places of.

    """
    tail = YES_NO_TAIL if rng.random() < 0.5 else ''
    word = 'yes' if yes else 'no'
    thought = ' and '.join(f'the {t.name} is at {pixel_of(t)}' for t in things)
    return Question(kind, Task.SPATIAL, text + tail, boxed_answer(word), word,
                    f'So, {thought}.' if thought else '', things)
