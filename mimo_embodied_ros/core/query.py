"""A request to the model: task, text and frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import InvalidRequestError
from .tasks import Task

if TYPE_CHECKING:
    from .frames import Frame, Odometry
    from .skills import SkillList

__all__ = ['Query', 'Task', 'subject']


@dataclass(frozen=True)
class Query:
    """One question about one or several frames.

    Attributes:
        task: decides the prompt and how the answer is parsed.
        text: the instruction, description or question, in plain words.
        frames: in the order in which the model sees them, as the task's ``media`` says.
        thinking: let the model write its reasoning before the answer; None: the task's default.
        thinking_tokens: most tokens of the reasoning, after which the answer follows; 0: no limit
            of its own. It has no effect without thinking.
        system: system prompt; empty: that of the task, else of the model's chat template.
        max_new_tokens: 0 means the task's default.
        deadline: ``time.monotonic()`` seconds after which an answer is of no use; None: no limit.
        options: choices, for the tasks that list them, without letters.
        odometry: of the base up to now, oldest first, for prompts with speed or path; empty: the
            odometry of the frames.
        skills: that a plan may use; None: a plan is free text.
        remembered: what is known beyond the frames, in sentences, which come before the prompt.
        structured: constrain the answer by its grammar, where engine and task have one.
        retry: ask once more, constrained so, where the answer cannot be read.
        experimental: allow a task that the released model is not documented to answer.

    Raises:
        InvalidRequestError: the task is experimental and ``experimental`` is False.

    """

    task: Task
    text: str
    frames: tuple[Frame, ...] = ()
    thinking: bool | None = None
    thinking_tokens: int = 0
    system: str = ''
    max_new_tokens: int = 0
    deadline: float | None = None
    options: tuple[str, ...] = ()
    odometry: tuple[Odometry, ...] = ()
    skills: SkillList | None = None
    remembered: tuple[str, ...] = ()
    structured: bool = False
    retry: bool = False
    experimental: bool = False

    def __post_init__(self) -> None:
        """Refuse an experimental task that is not allowed."""
        if self.task.experimental and not self.experimental:
            msg = (
                f'{self.task.name} is experimental: MiMo-Embodied was published without a format '
                'for it; allow it (experimental) if you want to try'
            )
            raise InvalidRequestError(msg)

    @property
    def thinks(self) -> bool:
        """Whether the model is to write its reasoning."""
        return self.task.thinking if self.thinking is None else self.thinking


def subject(task: Task, frames: tuple[Frame, ...]) -> Frame | None:
    """Return the frame that the answer is about: the first one, or the newest one of a clip.

    It is None where there are no frames. Of several clips it is that of the first clip.
    """
    return frames[subject_index(task, len(frames))] if frames else None


def subject_index(task: Task, count: int) -> int:
    """Return which of ``count`` images is the subject."""
    return count // max(1, len(task.views)) - 1 if task.media.is_timed else 0
