"""The node ``simulation``: a world with its cameras, its robot and its clock.

Names and types are those that real cameras, arms and bases and mujoco_ros2_control have;
docs/simulation.md lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.node import Node
from rclpy.time import Time
from rosgraph_msgs.msg import Clock

from mimo_embodied_ros.program import run
from mimo_embodied_ros.ros import process
from mimo_embodied_ros.ros.parameters import read_table

from .camera_publisher import CameraPublisher
from .control_services import ControlServices
from .frames import Frames
from .optional_interfaces import OptionalInterfaces
from .simulation_parameters import PARAMETERS
from .skill_server import MotionServer, SkillServer
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
        world = world or make_world(settings['world'], WorldOptions(
            settings['seed'], tuple(settings['things']), settings['renderer'], settings['drop']))
        interfaces = OptionalInterfaces()
        self.runner = WorldRunner(world, settings['rate'], paused=settings['paused'])
        self._frames = Frames(world)
        self._cameras = CameraPublisher(self, self.runner, settings['camera_rate'])
        self._clock_topic = self.create_publisher(Clock, '/clock', 1)
        ControlServices(self, self.runner, interfaces)
        motions = MotionServer(self, self.runner, self._cameras)
        self._servers: list[Any] = [
            SkillServer(self, 'gripper/run_skill', self.runner, motions, self._frames)]
        if remark := interfaces.remark():
            self.get_logger().info(remark)
        self._made = True
        self._cameras.start()
        self.runner.start(self._publish_clock, self._cameras.on_tick)

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
            for server in self._servers:
                server.destroy()
        super().destroy_node()

    def _publish_clock(self) -> None:
        with process.until_shutdown():
            self._clock_topic.publish(
                Clock(clock=Time(nanoseconds=round(self.runner.time * 1e9)).to_msg()))


def main(args: Sequence[str] | None = None) -> int:
    """Simulate until interrupted."""
    return process.run(Simulation, NAME, args)


if __name__ == '__main__':
    run(main)
