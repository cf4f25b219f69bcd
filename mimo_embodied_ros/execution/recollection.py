"""What the robot remembers: told to the model that plans, and looked for where it was seen last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import CancelledError, MimoError
from mimo_embodied_ros.core.skills import GROUNDED
from mimo_embodied_ros.msg import AffordancePoint, SkillArgument, TaskStep

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mimo_embodied_ros.client import MimoClient
    from mimo_embodied_ros.core.skills import Argument, Skill

    from .control import Control
    from .policy import StepPolicy

_TOLD = 5  # things, at most, that a plan is told of


class Recollection:
    """Asks the node that remembers; without one, nothing is remembered.

    Attributes:
        problem: why the newest question was not answered, or what it says of the place; empty:
            nothing is wrong.

    """

    def __init__(
        self, mimo: MimoClient, memory: str, frame: str, skills: Mapping[str, Skill],
        policies: Mapping[str, StepPolicy], control: Control,
    ) -> None:
        """Take the settings.

        Args:
            mimo: client that asks.
            memory: name of the node that remembers; empty: there is none.
            frame: of the robot's base, in which places are told.
            skills: of the robot.
            policies: of the skills; those that ``finds`` can be used to look for a thing.
            control: cancels the wait for an answer.

        """
        self._mimo, self._frame, self._control = mimo, frame, control
        self._asks, self.problem = bool(memory), ''
        self._looks = sorted(
            ((skill, argument) for skill in skills.values() if policies[skill.name].finds
             for argument in skill.arguments if argument.type in GROUNDED),
            # to turn to an object takes less than to go to a place
            key=lambda look: GROUNDED.index(look[1].type))

    def sentences(self, instruction: str) -> list[str]:
        """Say what is remembered of the things that an instruction names."""
        return [_sentence(thing, self._frame) for thing in self._recall(instruction)[:_TOLD]]

    def looks(self, name: str) -> Iterator[Any]:
        """Yield steps, ``msg/TaskStep``, that look where a thing was seen last."""
        if not self._looks:
            return
        things = [thing for thing in self._recall(name) if thing.place_valid]
        for thing in things[:1]:
            for skill, argument in self._looks:
                yield _look(skill, argument, name, thing.position)

    def _recall(self, what: str) -> list[Any]:
        self.problem = ''
        if not self._asks:
            return []
        try:
            things = self._control.result_of(
                self._mimo.recall(what, target_frame=self._frame)).things
        except CancelledError:
            raise
        except MimoError as error:  # the plan goes on as one without a memory would
            self.problem = str(error)
            return []
        self.problem = next((thing.place_problem for thing in things), '')
        return list(things)


def _look(skill: Skill, argument: Argument, name: str, position: Any) -> Any:
    point = AffordancePoint(
        label=name, position_status=AffordancePoint.OK, position=position)
    return TaskStep(
        skill=skill.name, description=f'{skill.name} where {name} was seen last',
        arguments=[SkillArgument(
            name=argument.name, type=int(argument.type), value=name,
            grounding=SkillArgument.SEEN, point=point)])


def _sentence(thing: Any, frame: str) -> str:
    """Say where a thing was seen, from the robot's base: x is ahead, y to the left."""
    ago = f'{thing.age.sec} s ago' if thing.age.sec < 120 else f'{thing.age.sec // 60} min ago'
    said = f'The {thing.name} was last seen {ago}'
    # in odometry's frame, x is not ahead of the robot
    if thing.place_valid and frame and frame != thing.base_pose.header.frame_id:
        ahead, left = thing.position.x, thing.position.y
        said += (f', {abs(ahead):.1f} m {"ahead of" if ahead >= 0 else "behind"} the robot and '
                 f'{abs(left):.1f} m to its {"left" if left >= 0 else "right"}')
    missed = ' It was not there any more when the robot looked again.' if thing.missed else ''
    return f'{said}.{missed}'
