"""What an arm can do with things: pick at a point, place at a point, hand over, look.

A skill knows only what a real arm knows: a point, the depth around it, and what its gripper feels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .arm import SLOW
from .grasping import LOWEST, REACH, plan_grasp, plan_place
from .rays import RayRenderer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mimo_embodied_ros.worlds.world import Motion, SkillGoal

    from .arm import Arm
    from .physical_world import PhysicalWorld

    Floats = NDArray[np.float64]

_ABOVE = 0.16  # metres above a thing, on the way
_RIM = 0.028  # metres of the fingers' middle above the wall of a container, to let go
_ROOM = 0.03  # metres above a surface where a held thing is lowered slowly
_CARRY = (0.22, 0.33, 0.12)  # metres: where the arm shows what it holds, at the side of the table
_GENTLE = 20.0  # newtons of the fingers, until something slipped out
_SPACING = 0.003  # metres between the points of depth that are used
_ENOUGH = 20  # points of depth, without which nothing is known of a place


class ArmSkills:
    """The skills of an arm.

    Attributes:
        by_name: the skills.

    """

    def __init__(
        self, world: PhysicalWorld, arm: Arm, camera: str, hand: tuple[float, float, float]
    ) -> None:
        """Take the arm.

        Args:
            world: of the arm.
            arm: that moves.
            camera: whose depth the grasps are planned by.
            hand: the middle of a person's open hand, metres.

        """
        self._world, self._arm, self._camera, self._hand = world, arm, camera, np.array(hand)
        self._effort = _GENTLE
        self._below = 0.0  # metres from the fingers' middle down to the bottom of what they hold
        self.by_name: dict[str, Callable[[SkillGoal], Motion]] = {
            'pick': self.pick, 'place': self.place, 'hand_over': self.hand_over,
            'look': self.look, 'open_gripper': self.open_gripper,
            'close_gripper': self.close_gripper}

    def holds(self) -> bool:
        """Whether the gripper feels something between its fingers."""
        return self._arm.stalled

    def pick(self, goal: SkillGoal) -> Motion:
        """Grasp what stands at a point, lift it, and show it beside the table."""
        arm, stroke = self._arm, self._arm.robot.stroke
        if goal.object_at is None:
            return 'the goal does not say where to pick; give a point and its frame'
        if self.holds():
            return 'the gripper holds something already; place it first'
        if problem := (yield from self.look(goal)):
            return problem
        cloud = self._cloud(goal.object_at)
        if len(cloud) < _ENOUGH:
            return _unseen(goal.object_at)
        grasp = plan_grasp(cloud, goal.object_at, arm.yaw, stroke)
        if grasp.width > stroke:
            return (f'what stands at {_words(goal.object_at)} is {grasp.width:.2f} m wide, and the '
                    f'gripper opens {stroke:.3f} m')
        yield from arm.grip(stroke)
        above = grasp.point + _up(_ABOVE)
        problem = ((yield from arm.move(above, grasp.yaw))
                   or (yield from arm.move(grasp.point, grasp.yaw, SLOW)))
        if problem:
            yield from arm.home()
            return problem
        yield from arm.grip(0.0, self._effort)
        felt = self.holds()
        problem = yield from arm.move(above, grasp.yaw, 1.5 * SLOW)
        if felt and self.holds():
            self._below = grasp.point[2]
            problem = yield from arm.move(_CARRY, grasp.yaw)
            if self.holds():
                return problem
        yield from arm.home()
        if felt:
            self._effort = 0.0  # the next time as firmly as the gripper can
            return 'what the gripper held slipped out'
        return (f'the gripper closed on nothing at {_words(goal.object_at)}; give the middle of '
                'a thing')

    def place(self, goal: SkillGoal) -> Motion:
        """Let go of what the gripper holds in, on or at what is at a point."""
        if goal.place_at is None:
            return 'the goal does not say where to place; give a point and its frame'
        if problem := (yield from self.look(goal)):
            return problem
        cloud = self._cloud(goal.place_at)
        if len(cloud) < _ENOUGH:
            return _unseen(goal.place_at)
        spot = plan_place(cloud, goal.place_at)
        lowest = spot.surface + LOWEST if spot.rim == spot.surface else spot.rim + _RIM
        return (yield from self._let_go(
            np.array([spot.x, spot.y, max(spot.surface + self._below + _ROOM, lowest)]), lowest))

    def hand_over(self, _: SkillGoal) -> Motion:
        """Lay what the gripper holds onto a person's open hand."""
        begin = self._hand + _up(self._below + _ROOM)
        return (yield from self._let_go(begin, self._hand[2] + LOWEST))

    def look(self, _: SkillGoal) -> Motion:
        """Move the arm to where it hides nothing of the table from the camera."""
        arm = self._arm
        if not self.holds():
            return (yield from arm.home())
        if np.linalg.norm(arm.tool_at - _CARRY) < _ROOM:
            return ''
        return (yield from arm.move(_CARRY, arm.yaw))

    def open_gripper(self, _: SkillGoal) -> Motion:
        """Open the gripper where it is."""
        return (yield from self._arm.grip(self._arm.robot.stroke))

    def close_gripper(self, _: SkillGoal) -> Motion:
        """Close the gripper where it is."""
        return (yield from self._arm.grip(0.0))

    def _let_go(self, point: Floats, lowest: float) -> Motion:
        """Lower what the gripper holds from a point on until something is felt, and open."""
        arm = self._arm
        if not self.holds():
            yield from arm.home()
            return 'the gripper holds nothing'
        above, yaw = point + _up(_ABOVE - _ROOM), arm.yaw
        if problem := (yield from arm.move(above, yaw)):
            return problem
        if problem := (yield from arm.move(point, yaw)):
            return problem
        if lost := not self.holds():
            self._effort = 0.0
        yield from arm.move([*point[:2], lowest], yaw, SLOW / 2, feel=True)
        yield from arm.grip(arm.robot.stroke)
        yield from arm.move(above, yaw)
        problem = yield from arm.home()
        return 'what the gripper held slipped out on the way' if lost else problem

    def _cloud(self, point: Floats) -> Floats:
        """What the camera's depth tells about a point's surroundings, (n, 3) metres."""
        world, camera = self._world, self._world.cameras[self._camera]
        x, y, z = camera.pose.inverse.apply(np.asarray(point, float))
        if z <= 0:
            return np.zeros((0, 3))
        column, row = (camera.focal * np.array([x, y]) / z + [camera.width / 2, camera.height / 2])
        half = camera.focal * REACH / z
        step = camera.focal * _SPACING / z
        across, down = (grid.ravel() for grid in np.meshgrid(
            np.arange(max(0, column - half), min(camera.width, column + half), step),
            np.arange(max(0, row - half), min(camera.height, row + half), step)))
        with world.lock:
            cloud = RayRenderer(world.model).positions(
                world.data, self._camera, camera.width, camera.height, across, down)
        near: Floats = cloud[np.hypot(*(cloud - point)[:, :2].T) < REACH]
        return near


def _up(metres: float) -> Floats:
    return np.array([0.0, 0.0, metres])


def _unseen(point: Floats) -> str:
    return f'the camera does not see {_words(point)}; give a point on the table'


def _words(point: Floats) -> str:
    return '({:.2f}, {:.2f}, {:.2f}) m'.format(*point)
