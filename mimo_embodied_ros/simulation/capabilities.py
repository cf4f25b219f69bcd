"""What some worlds have beside what all have: an arm, a base, joints, sensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from mimo_embodied_ros.core.frames import Odometry
    from mimo_embodied_ros.worlds.world import Motion


@runtime_checkable
class HasJoints(Protocol):
    """A world with joints."""

    def joint_states(self) -> tuple[Any, ...]:
        """Return names, positions, velocities and, where they are known, efforts; in SI units."""
        ...


@runtime_checkable
class HasArm(Protocol):
    """A world with an arm and its gripper; a reset may replace the arm."""

    arm: Arm


class Arm(Protocol):
    """An arm with a gripper of two fingers."""

    robot: Any

    def joint_states(self) -> tuple[Any, ...]:
        """Return names, positions, velocities and efforts, in SI units."""
        ...

    def follow(self, points: Sequence[tuple[float, Sequence[float]]]) -> Motion:
        """Follow a trajectory: seconds from the start, and radians of each joint."""
        ...

    def grip(self, width: float, max_effort: float = 0.0) -> Motion:
        """Open or close to a width, metres, with an effort, newtons."""
        ...

    @property
    def gripper_width(self) -> float:
        """Metres between the fingers."""
        ...

    @property
    def stalled(self) -> bool:
        """Whether something keeps the fingers from closing."""
        ...


@runtime_checkable
class HasOdometry(Protocol):
    """A world whose robot knows where it is; the stamp is of the world's own time."""

    def odometry(self) -> Odometry:
        """Return pose and twist."""
        ...


@runtime_checkable
class Drives(HasOdometry, Protocol):
    """A world whose robot drives."""

    def drive(self, forward: float, turn: float) -> None:
        """Set the speeds, metres and radians a second; without a new command it stops soon."""
        ...


def joint_states(world: object) -> tuple[Any, ...] | None:
    """Return the state of all joints of a world's robot; None: it has none."""
    robot = world.arm if isinstance(world, HasArm) else world
    return robot.joint_states() if isinstance(robot, HasJoints) else None


@runtime_checkable
class PutsThings(Protocol):
    """A world whose things can be put elsewhere."""

    def put(
        self, name: str, position: ArrayLike, orientation: ArrayLike = (0.0, 0.0, 0.0, 1.0)
    ) -> None:
        """Put a thing somewhere, at rest; raises InvalidRequestError where it cannot be put."""
        ...


@runtime_checkable
class Spawns(Protocol):
    """A world that takes more things."""

    def spawn(
        self, name: str, position: ArrayLike, orientation: ArrayLike = (0.0, 0.0, 0.0, 1.0)
    ) -> None:
        """Add a thing by colour and shape; raises InvalidRequestError where it cannot be added."""
        ...
