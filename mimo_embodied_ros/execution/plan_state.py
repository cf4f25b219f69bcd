"""The state of a plan, kept on disk so that the plan can be resumed after a restart."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros import msg
from mimo_embodied_ros.core.characters import valid_values
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import expand

from .fields import fields_of, set_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

_VERSION = 1


@dataclass
class HeldFact:
    """A fact about the robot that a step has given, and the condition to check whether it holds."""

    fact: str  # such as "holding red cube"
    condition: str  # such as "the gripper holds red cube"


@dataclass
class PlanState:
    """How far the execution of an instruction is.

    Attributes:
        instruction: what to do in the end.
        cameras: names of the cameras that the model sees; empty: its default one.
        plan: the newest plan, with the status of its steps.
        plans: number of plans so far, one that came with the goal included.
        history: copies of all steps that were tried, as each one ended.
        held: facts that hold now.
        done: descriptions of steps that are done for good, such as "put red cube in blue bowl".

    """

    instruction: str
    cameras: Sequence[str] = ()
    plan: Any = field(default_factory=msg.TaskPlan)
    plans: int = 0
    history: list[Any] = field(default_factory=list)
    held: list[HeldFact] = field(default_factory=list)
    done: list[str] = field(default_factory=list)


class StateFile:
    """Keeps the state of one plan in a file; without a path nothing is kept."""

    def __init__(self, path: str) -> None:
        """Take the path of the file; empty: no file."""
        self._path = expand(path) if path else None

    def save(self, state: PlanState) -> None:
        """Write the file completely or not at all, even when the power fails.

        Raises:
            OSError: the file cannot be written.

        """
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix('.part')
        with part.open('w', encoding='utf-8') as file:
            json.dump({
                'version': _VERSION, 'instruction': state.instruction,
                'cameras': list(state.cameras), 'plan': fields_of(state.plan),
                'plans': state.plans, 'history': fields_of(state.history),
                'held': [vars(held) for held in state.held], 'done': state.done,
            }, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)

    def load(self) -> PlanState:
        """Read the file.

        Raises:
            InvalidRequestError: there is no plan to resume, or the file cannot be read.

        """
        if self._path is None or not self._path.exists():
            reason = f'{self._path} does not exist' if self._path else 'set state_file to keep one'
            msg_ = f'there is no plan to resume: {reason}'
            raise InvalidRequestError(msg_)
        try:
            fields = valid_values(json.loads(self._path.read_text('utf-8')))
            if fields.pop('version') != _VERSION:
                raise ValueError('another version of this package wrote it')  # noqa: TRY301
            fields['plan'] = set_fields(msg.TaskPlan(), fields['plan'])
            fields['history'] = [set_fields(msg.TaskStep(), step) for step in fields['history']]
            fields['held'] = [HeldFact(**held) for held in fields['held']]
            return PlanState(**fields)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidRequestError
                ) as error:
            msg_ = f'{self._path} cannot be read: {error}; delete it, and send the plan again'
            raise InvalidRequestError(msg_) from error

    def delete(self) -> None:
        """Forget a plan that has ended."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
