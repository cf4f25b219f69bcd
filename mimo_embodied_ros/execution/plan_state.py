"""How far a plan is, kept on disk so that it can go on after a restart."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros import msg
from mimo_embodied_ros.core.errors import InvalidRequestError

from .fields import fields_of, set_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

_VERSION = 1


@dataclass
class HeldFact:
    """A fact about the robot that a step has given, and how to tell whether it is still so."""

    fact: str  # such as "holding red cube"
    condition: str  # such as "the gripper holds red cube"


@dataclass
class PlanState:
    """What has become of an instruction so far.

    Attributes:
        instruction: what is to be done in the end.
        cameras: what the model sees.
        plan: the newest, with the status of its steps.
        plans: how often the model has planned, or a plan was given.
        history: every step that was tried, as it ended.
        held: facts that hold.
        done: what was done for good, such as "put red cube in blue bowl".

    """

    instruction: str
    cameras: Sequence[str] = ()
    plan: Any = field(default_factory=msg.TaskPlan)
    plans: int = 0
    history: list[Any] = field(default_factory=list)
    held: list[HeldFact] = field(default_factory=list)
    done: list[str] = field(default_factory=list)


class StateFile:
    """Keeps the state of one plan; without a path nothing is kept."""

    def __init__(self, path: str) -> None:
        """Take the file's path; empty: none."""
        self._path = Path(path).expanduser() if path else None

    def save(self, state: PlanState) -> None:
        """Write it, whole or not at all, also when the power goes.

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
        """Read it.

        Raises:
            InvalidRequestError: nothing is under way, or the file cannot be read.

        """
        if self._path is None or not self._path.exists():
            where = f'{self._path} is not there' if self._path else 'set state_file to keep one'
            msg_ = f'no plan is under way that could go on: {where}'
            raise InvalidRequestError(msg_)
        try:
            fields = json.loads(self._path.read_text('utf-8'))
            if fields.pop('version') != _VERSION:
                raise ValueError('it is of another version of this package')  # noqa: TRY301
            fields['plan'] = set_fields(msg.TaskPlan(), fields['plan'])
            fields['history'] = [set_fields(msg.TaskStep(), step) for step in fields['history']]
            fields['held'] = [HeldFact(**held) for held in fields['held']]
            return PlanState(**fields)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidRequestError
                ) as error:
            msg_ = f'{self._path} cannot be read: {error}; delete it, and give the plan again'
            raise InvalidRequestError(msg_) from error

    def delete(self) -> None:
        """Forget a plan that has ended."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
