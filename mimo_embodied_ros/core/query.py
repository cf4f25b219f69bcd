"""What is asked of the model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .frames import Frame


class Task(str, Enum):
    """The families of questions that the model was evaluated on."""

    PLAN = 'plan'
    POINTS = 'points'
    BOXES = 'boxes'
    SPATIAL = 'spatial'
    ASK = 'ask'


@dataclass(frozen=True)
class Query:
    """One question about one or several frames.

    Attributes:
        task: decides the prompt and how the answer is read.
        text: the instruction, description or question, in plain words.
        frames: in the order in which the model sees them; may be empty for ASK only.
        thinking: let the model reason aloud before it answers.
        max_new_tokens: 0 means the task's default.
        deadline: ``time.monotonic()`` seconds after which an answer is of no use; None is never.

    """

    task: Task
    text: str
    frames: tuple[Frame, ...] = ()
    thinking: bool = False
    max_new_tokens: int = 0
    deadline: float | None = None
