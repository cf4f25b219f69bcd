"""A simulation under test, over real DDS, and clients of its robot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import Point, PointStamped
from rclpy.action import ActionClient
from rclpy.qos import qos_profile_sensor_data
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from mimo_embodied_ros.action import RunSkill
from mimo_embodied_ros.simulation.simulation_node import Simulation
from support.robot import parameters
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.ros import Ros

try:
    from mujoco_ros2_control_msgs import srv as control
except ImportError:
    control = None


class SimulatedRobot:
    """A simulation and a node that uses it.

    Attributes:
        simulation: under test.
        other: the node that uses it.

    """

    def __init__(self, ros: Ros, skills: str, made: Any = None, **values: Any) -> None:
        """Make the simulation of a world that is made, or with parameters; skills: its action."""
        self.ros = ros
        self.simulation = ros.node(
            'simulation', Simulation, world=made, parameter_overrides=parameters(**values))
        self.other = ros.node('other')
        self._clients: dict[str, ActionClient] = {}
        self._skills = skills

    @property
    def world(self) -> Any:
        return self.simulation.world

    def listen(self, kind: Any, topic: str) -> list[Any]:
        """Return the messages of a topic, as they come."""
        heard: list[Any] = []
        self.other.create_subscription(kind, topic, heard.append, qos_profile_sensor_data)
        return heard

    def service(self, kind: Any, name: str, **request: Any) -> Any:
        """Call a service of the simulation."""
        return self.ros.call_service(self.other, kind, name, **request)

    def pause(self, *, paused: bool) -> Any:
        """Let the simulation stand still, or go on."""
        kind = control.SetPause if control else SetBool
        return self.service(kind, 'simulation/set_pause',
                            **{'paused' if control else 'data': paused})

    def step(self) -> Any:
        """Let a simulation that stands still go on by one step."""
        return self.service(control.StepSimulation, 'simulation/step_simulation', steps=1) if (
            control) else self.service(Trigger, 'simulation/step_simulation')

    def reset(self) -> Any:
        """Let the world be as it was at first."""
        return self.service(
            control.ResetWorld if control else Trigger, 'simulation/reset_world')

    def send(self, kind: Any, name: str, goal: Any) -> Any:
        """Send a goal; return its handle."""
        if name not in self._clients:
            self._clients[name] = self.ros.call(ActionClient, self.other, kind, name)
            assert self._clients[name].wait_for_server(WAIT_S)
        future = self.ros.call(self._clients[name].send_goal_async, goal)
        self.ros.wait_for(future.done)
        return future.result()

    def result(self, handle: Any) -> Any:
        """Wait for the result of a goal."""
        future = self.ros.call(handle.get_result_async)
        self.ros.wait_for(future.done)
        return future.result()

    def begin(self, skill: str, at: Iterable[float] | None = None, frame: str = 'base_link') -> Any:
        """Begin a skill at a point; return the handle."""
        point = PointStamped()
        if at is not None:
            point = PointStamped(header=Header(frame_id=frame),
                                 point=Point(**dict(zip('xyz', map(float, at)))))
        field = 'place_at' if skill == 'place' else 'object_at'
        return self.send(RunSkill, self._skills, RunSkill.Goal(skill=skill, **{field: point}))

    def do(self, skill: str, at: Iterable[float] | None = None, frame: str = 'base_link') -> Any:
        """Do a skill at a point; return the result."""
        return self.result(self.begin(skill, at, frame))
