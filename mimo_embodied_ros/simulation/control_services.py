"""Services that pause, step and reset a simulation, as those of mujoco_ros2_control.

They have its types where mujoco_ros2_control_msgs is installed, else those of std_srvs: SetBool for
``~/set_pause``, and Trigger for ``~/reset_world`` and ``~/step_simulation``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from std_srvs.srv import SetBool, Trigger

from mimo_embodied_ros.worlds.world import TICK

if TYPE_CHECKING:
    from rclpy.node import Node

    from .optional_interfaces import OptionalInterfaces
    from .world_runner import WorldRunner


class ControlServices:
    """The services of one simulation."""

    def __init__(self, node: Node, runner: WorldRunner, interfaces: OptionalInterfaces) -> None:
        """Serve."""
        self._runner = runner
        for name, of_std_srvs, service, callback in (
            ('SetPause', SetBool, 'set_pause', self._set_pause),
            ('ResetWorld', Trigger, 'reset_world', self._reset),
            ('StepSimulation', Trigger, 'step_simulation', self._step),
        ):
            kind = interfaces.find(f'mujoco_ros2_control_msgs/srv/{name}') or of_std_srvs
            node.create_service(kind, f'~/{service}', callback)

    def _set_pause(self, request: Any, response: Any) -> Any:
        paused = bool(getattr(request, 'paused', getattr(request, 'data', False)))
        changed = self._runner.pause(paused=paused)
        response.success = True
        response.message = f'the simulation {"is" if changed else "was already"} ' + (
            'paused' if paused else 'running')
        return response

    def _reset(self, request: Any, response: Any) -> Any:
        overrides = getattr(request, 'state_overrides', None)
        if getattr(request, 'keyframe', '') or (
                overrides and (overrides.joint_states.name or overrides.free_joints)):
            response.message = 'keyframes and state_overrides are not served; leave them empty'
            return response
        self._runner.reset()
        response.success, response.message = True, 'the world is as it was at first'
        return response

    def _step(self, request: Any, response: Any) -> Any:
        steps = int(getattr(request, 'steps', 1))
        if not self._runner.paused:
            response.message = 'the simulation is not paused; call set_pause first'
        elif steps < 1:
            response.message = 'steps is 0; give 1 or more'
        else:
            response.success = self._runner.step(steps)
            response.message = f'{steps} steps of {TICK:g} s' if response.success else (
                'the simulation was resumed while steps were pending')
        return response

