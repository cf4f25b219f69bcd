"""The state of a plan, kept on disk so that the plan can be resumed after a restart."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros import msg
from mimo_embodied_ros.core.characters import valid_values
from mimo_embodied_ros.core.errors import (
    InvalidRequestError,
    MimoError,
    ResultCode,
    StepFailedError,
)
from mimo_embodied_ros.core.files import expand, parse_json
from mimo_embodied_ros.core.files import reason as os_reason
from mimo_embodied_ros.ros.fields import fields_of, set_fields

from .robot_calls import StillRunningError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mimo_embodied_ros.core.skills import Skill

_VERSION = 3
_OWN_RESULTS = {ResultCode.PLAN_REFUSED, ResultCode.STEP_FAILED}
# of a plan that was never under way, so that there is nothing to go on with
_NO_PLAN = {ResultCode.INVALID_REQUEST, ResultCode.OUTPUT_TRUNCATED, ResultCode.PARSE_FAILED,
            ResultCode.EMPTY_ANSWER, ResultCode.POINT_OUT_OF_IMAGE}
# what the robot or the model says of a step, and not that a server or a camera is absent
_OF_A_STEP = {*_OWN_RESULTS, *_NO_PLAN, ResultCode.UNKNOWN, ResultCode.TIMEOUT}
_TYPES = {'instruction': str, 'cameras': list, 'plans': int, 'done': list, 'goal_ids': list,
          'servers': dict}


@dataclass
class HeldFact:
    """A fact about the robot that a step has given, and the condition to check whether it holds."""

    fact: str  # such as "holding red cube"
    condition: str  # such as "the gripper holds red cube"; empty: the skill's conditions alone
    skill: str  # of the step


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
        goal_ids: of the calls of the newest step, as `robot_calls.goal_ids` gave them.
        servers: by the services that it has called, as `robot_calls.find_servers` gave them.

    """

    instruction: str
    cameras: Sequence[str] = ()
    plan: Any = field(default_factory=msg.TaskPlan)
    plans: int = 0
    history: list[Any] = field(default_factory=list)
    held: list[HeldFact] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    goal_ids: list[str] = field(default_factory=list)
    servers: dict[str, list[str]] = field(default_factory=dict)


def is_over(error: Exception | None, fault: MimoError | None, *, resumed: bool) -> bool:
    """Whether a plan has ended by its own result, so that there is nothing to resume.

    Args:
        error: with which the plan ended.
        fault: how the newest request to the model or the robot failed.
        resumed: the plan had begun before.

    """
    if error is None:
        return True
    if isinstance(error, StillRunningError):  # of a step from before; it may end later
        return False
    if isinstance(error, StepFailedError):
        return fault is None or fault.code in _OF_A_STEP
    code = getattr(error, 'code', None)
    return code in _OWN_RESULTS or (code in _NO_PLAN and not resumed)


class StateFile:
    """Keeps the state of one robot's plan in a file of its own; without a path nothing is kept.

    Attributes:
        path: of the file; None without one.

    """

    def __init__(self, path: str, robot: str, skills: Mapping[str, Skill]) -> None:
        """Name the file.

        Args:
            path: what ``state_file`` says, for all robots; empty: no file.
            robot: full name of the node that executes the plan, which becomes a part of the file's
                name: ``plan.json`` of ``/robot1/mimo_executor`` is
                ``plan.robot1.mimo_executor.json``.
            skills: of the robot, by name; a plan of other skills is not resumed.

        """
        self._robot, self._skills = robot, {name: _digest(skill) for name, skill in skills.items()}
        self._shared = expand(path) if path else None  # what earlier releases wrote
        self.path = self._shared and self._shared.with_name(
            f'{self._shared.stem}{robot.replace("/", ".")}{self._shared.suffix}')

    def exists(self) -> bool:
        """Whether there is a file."""
        return self.path is not None and os.path.exists(self.path)  # noqa: PTH110 - never raises

    def save(self, state: PlanState) -> None:
        """Write the file completely or not at all, even when the power or the disk fails.

        Raises:
            OSError: the file cannot be written; the one that was written before stays.

        """
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f'{self.path.name}.part')
        try:
            with part.open('w', encoding='utf-8') as file:
                json.dump({
                    'version': _VERSION, 'robot': self._robot, 'instruction': state.instruction,
                    'skills': self._skills, 'cameras': list(state.cameras),
                    'plan': fields_of(state.plan), 'plans': state.plans,
                    'history': fields_of(state.history),
                    'held': [vars(held) for held in state.held], 'done': state.done,
                    'goal_ids': state.goal_ids, 'servers': state.servers,
                }, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError:
            if part.is_file():
                part.unlink()
            raise

    def load(self) -> PlanState:
        """Read the file.

        Raises:
            InvalidRequestError: there is no plan to resume, or the file cannot be read, or it is
                of another robot or of other skills.

        """
        if self.path is None or not self.exists():
            reason = f'{self.path} does not exist' if self.path else 'set state_file to keep one'
            msg_ = '; '.join(filter(None, (f'there is no plan to resume: {reason}', self.old())))
            raise InvalidRequestError(msg_)
        try:
            fields = valid_values(parse_json(self.path.read_text('utf-8')))
            if fields.pop('version') != _VERSION:
                raise ValueError('another release of this package wrote it')  # noqa: TRY301
            robot, skills = fields.pop('robot'), dict(fields.pop('skills'))
            fields['plan'] = set_fields(msg.TaskPlan(), fields['plan'])
            fields['history'] = [set_fields(msg.TaskStep(), step) for step in fields['history']]
            fields['held'] = [HeldFact(**held) for held in fields['held']]
            state = PlanState(**fields)
            if wrong := [n for n, kind in _TYPES.items() if not isinstance(fields[n], kind)]:
                raise ValueError(f'{wrong[0]} is {fields[wrong[0]]!r}')  # noqa: TRY301
        except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidRequestError
                ) as error:
            why = os_reason(error, named=False) if isinstance(error, OSError) else error
            msg_ = f'{self.path} cannot be read: {why}; delete it, and send the plan again'
            raise InvalidRequestError(msg_) from error
        if robot != self._robot:
            self._refuse(f'the robot {robot}, and this one is {self._robot}; start the executor '
                         'under that name and namespace')
        if other := sorted(name for name in skills.keys() | self._skills
                           if skills.get(name) != self._skills.get(name)):
            self._refuse(f'other skills than skills_file has now ({", ".join(other)}); start the '
                         'executor with those of then')
        if not state.plan.steps:
            state.plans = 0  # the first one was under way, and is to be made again
        return state

    def _refuse(self, reason: str) -> None:
        msg_ = f'{self.path} holds a plan of {reason}, or delete the file and send the plan again'
        raise InvalidRequestError(msg_)

    def old(self) -> str:
        """A sentence about the file of an earlier release, which all robots shared; else ''."""
        if self._shared is None or not os.path.isfile(self._shared):  # noqa: PTH113 - never raises
            return ''
        return (f'{self._shared} is of an earlier release, does not name its robot and is not '
                'used; delete it, and send its plan again')

    def delete(self) -> None:
        """Forget a plan that has ended.

        Raises:
            OSError: the file cannot be deleted.

        """
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _digest(skill: Skill) -> str:
    """Return what changes when a skill does; its lines in the file do not count."""
    return hashlib.sha256(repr(skill).encode(errors='replace')).hexdigest()[:16]


def _sync_folder(folder: Path) -> None:
    """Let the new name of a file outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
