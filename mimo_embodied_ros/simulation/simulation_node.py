"""The node ``simulation``: a world with its cameras, its robot and its clock.

Names and types are those that real cameras, arms and bases and mujoco_ros2_control have;
docs/simulation.md lists them.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rclpy.node import Node
from rclpy.time import Time
from rosgraph_msgs.msg import Clock

from mimo_embodied_ros.program import run
from mimo_embodied_ros.ros import process
from mimo_embodied_ros.ros.parameters import read_table

from .arm_actions import serve_arm
from .camera_publisher import CameraPublisher
from .capabilities import Drives, HasArm
from .control_services import ControlServices
from .frames import Frames
from .motion_actions import MotionActions
from .navigation_action import Navigates, serve_navigation
from .optional_interfaces import OptionalInterfaces
from .robot_publisher import RobotPublisher
from .simulation_parameters import PARAMETERS
from .skill_action import serve_skills
from .standard_services import StandardServices
from .world_runner import WorldRunner
from .worlds import WorldOptions, make_world

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mimo_embodied_ros.worlds.world import World

NAME = 'simulation'


class Simulation(Node):
    """A world that others meet as a robot with cameras.

    Attributes:
        runner: lets the time of the world pass.

    """

    _made = False

    def __init__(self, name: str = NAME, *, world: World | None = None, **options: Any) -> None:
        """Make the world, and let its time pass.

        Args:
            name: name of the node.
            world: that is simulated; None: the one that the parameters name.
            options: more arguments of rclpy's Node.

        Raises:
            InvalidRequestError: a parameter is wrong, or there is no such world.

        """
        super().__init__(name, **options)
        settings = read_table(self, PARAMETERS)
        world = world or make_world(settings['world'], WorldOptions(**{
            field.name: settings[field.name] for field in fields(WorldOptions)}))
        interfaces = OptionalInterfaces()
        self.runner = WorldRunner(world, settings['rate'], paused=settings['paused'])
        frames = Frames(world)
        self._cameras = CameraPublisher(self, self.runner, settings['camera_rate'])
        self._clock_topic = self.create_publisher(Clock, '/clock', 1)
        ControlServices(self, self.runner, interfaces)
        StandardServices(self, self.runner, frames, interfaces)
        robot = RobotPublisher(self, self.runner, frames, interfaces,
                               stamped=settings['enable_stamped_cmd_vel'])
        self._actions = MotionActions(self, self.runner, self._cameras)
        if world.skills:
            serve_skills(self._actions, f'{"base" if isinstance(world, Drives) else "gripper"}/'
                         'run_skill', world, frames)
        if isinstance(world, HasArm):
            serve_arm(self._actions, world, interfaces)
        if isinstance(world, Navigates):
            serve_navigation(self._actions, world, frames, interfaces)
        if remark := interfaces.remark():
            self.get_logger().info(remark)
        self._made = True
        self.runner.must_wait = lambda: self._cameras.late
        self._cameras.start()
        self.runner.start(self._publish_clock, robot.on_tick, self._cameras.on_tick)

    @property
    def world(self) -> World:
        """The world, which goes on meanwhile."""
        return self.runner.world

    def reset(self, seed: int | None = None) -> None:
        """Begin anew: with another scene, or with None the same one; from any thread."""
        self.runner.reset(seed)

    def destroy_node(self) -> None:
        """End the world's and the cameras' threads, too."""
        if self._made:
            self.runner.close()
            self._cameras.close()
            self._actions.destroy()
        super().destroy_node()

    def _publish_clock(self) -> None:
        self._clock_topic.publish(
            Clock(clock=Time(nanoseconds=round(self.runner.time * 1e9)).to_msg()))


def main(args: Sequence[str] | None = None) -> int:
    """Simulate until interrupted."""
    return process.run(Simulation, NAME, args)


if __name__ == '__main__':
    run(main)
