"""The services of simulation_interfaces, a standard of simulators, where it is installed.

They are served under their names in the node's namespace, such as ``get_entity_state``. Entities
are the things of the world.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from rclpy.time import Time

from mimo_embodied_ros.core.errors import InvalidRequestError, TransformError
from mimo_embodied_ros.geometry.extrinsics import Transform
from mimo_embodied_ros.geometry.quaternions import quaternion_of

from .capabilities import PutsThings, Spawns

if TYPE_CHECKING:
    from rclpy.node import Node

    from .frames import Frames
    from .optional_interfaces import OptionalInterfaces
    from .world_runner import WorldRunner

_PACKAGE = 'simulation_interfaces'
_SERVICES = {
    'GetSimulatorFeatures': 'get_simulator_features', 'ResetSimulation': 'reset_simulation',
    'StepSimulation': 'step_simulation', 'GetSimulationState': 'get_simulation_state',
    'SetSimulationState': 'set_simulation_state', 'GetEntities': 'get_entities',
    'GetEntityState': 'get_entity_state', 'SetEntityState': 'set_entity_state',
    'SpawnEntity': 'spawn_entity',
}


class StandardServices:
    """The services of one simulation."""

    def __init__(
        self, node: Node, runner: WorldRunner, frames: Frames, interfaces: OptionalInterfaces
    ) -> None:
        """Serve what makes sense for the runner's world."""
        self._runner, self._frames, self._interfaces = runner, frames, interfaces
        self._codes = interfaces.find(f'{_PACKAGE}/msg/Result', 'get_simulator_features and more')
        if self._codes is None:
            return
        self._states = self._type('msg/SimulationState')
        world = runner.world
        self._frame = getattr(world, 'truth_frame', world.frame)  # of the things
        for name, service in _SERVICES.items():
            if (name == 'SetEntityState' and not isinstance(world, PutsThings)) or (
                    name == 'SpawnEntity' and not isinstance(world, Spawns)):
                continue
            kind = self._type(f'srv/{name}')
            if kind is not None:
                node.create_service(kind, service, getattr(self, f'_{service}'))

    def _type(self, name: str) -> Any:
        return self._interfaces.find(f'{_PACKAGE}/{name}')

    def _ok(self, response: Any) -> Any:
        response.result.result = self._codes.RESULT_OK
        return response

    def _failed(self, response: Any, code: int, reason: str) -> Any:
        response.result.result, response.result.error_message = code, reason
        return response

    def _get_simulator_features(self, _: Any, response: Any) -> Any:
        kind, world = self._type('msg/SimulatorFeatures'), self._runner.world
        features = [
            kind.ENTITY_STATE_GETTING, kind.SIMULATION_RESET, kind.SIMULATION_RESET_STATE,
            kind.SIMULATION_RESET_SPAWNED, kind.SIMULATION_STATE_GETTING,
            kind.SIMULATION_STATE_SETTING, kind.SIMULATION_STATE_PAUSE,
            kind.STEP_SIMULATION_SINGLE, kind.STEP_SIMULATION_MULTIPLE]
        if isinstance(world, PutsThings):
            features.append(kind.ENTITY_STATE_SETTING)
        if isinstance(world, Spawns):
            features.append(kind.SPAWNING)
        response.features.features = features
        response.features.custom_info = (
            'entities are the things of the world, with the names that people call them by; '
            'spawn_entity takes such a name, as "green ball", for the uri of the resource')
        return response

    def _reset_simulation(self, request: Any, response: Any) -> Any:
        kind = type(request)
        if request.scope == kind.SCOPE_TIME:
            return self._failed(response, self._codes.RESULT_FEATURE_UNSUPPORTED,
                                'time goes on with a reset; reset the state')
        self._runner.reset()
        return self._ok(response)

    def _step_simulation(self, request: Any, response: Any) -> Any:
        if not self._runner.paused or not request.steps:
            return self._failed(response, self._codes.RESULT_OPERATION_FAILED,
                                'pause the simulation first, and give one step or more')
        if not self._runner.step(int(request.steps)):
            return self._failed(response, self._codes.RESULT_OPERATION_FAILED,
                                'the simulation was resumed while steps were pending')
        return self._ok(response)

    def _get_simulation_state(self, _: Any, response: Any) -> Any:
        response.state.state = (self._states.STATE_PAUSED if self._runner.paused
                                else self._states.STATE_PLAYING)
        return self._ok(response)

    def _set_simulation_state(self, request: Any, response: Any) -> Any:
        kind, state = self._states, request.state.state
        if state not in {kind.STATE_STOPPED, kind.STATE_PLAYING, kind.STATE_PAUSED}:
            return self._failed(response, self._codes.RESULT_FEATURE_UNSUPPORTED,
                                'the states are stopped, playing and paused')
        changed = self._runner.pause(paused=state != kind.STATE_PLAYING)
        if state == kind.STATE_STOPPED:
            self._runner.reset()
        elif not changed:
            return self._failed(response, type(response).ALREADY_IN_TARGET_STATE,
                                'the simulation is in this state already')
        return self._ok(response)

    def _get_entities(self, request: Any, response: Any) -> Any:
        pattern = request.filters.filter
        with self._runner.held() as world:
            names = [thing.name for thing in world.things()]
        response.entities = fnmatch.filter(names, pattern) if pattern else names
        return self._ok(response)

    def _get_entity_state(self, request: Any, response: Any) -> Any:
        with self._runner.held() as world:
            thing = next((t for t in world.things() if t.name == request.entity), None)
            stamp = Time(nanoseconds=round(self._runner.time * 1e9)).to_msg()
        if thing is None:
            return self._failed(response, self._codes.RESULT_NOT_FOUND,
                                f'there is no {request.entity!r}; get_entities lists what is')
        state = response.state
        state.header.stamp, state.header.frame_id = stamp, self._frame
        at, turn = state.pose.position, state.pose.orientation
        at.x, at.y, at.z = thing.position
        turn.x, turn.y, turn.z, turn.w = thing.orientation
        return self._ok(response)

    def _set_entity_state(self, request: Any, response: Any) -> Any:
        if not request.set_pose or request.set_twist or request.set_acceleration:
            return self._failed(response, self._codes.RESULT_FEATURE_UNSUPPORTED,
                                'set_pose alone is served; the entity is at rest then')
        try:
            pose = self._pose(request.state)
            with self._runner.held() as world:
                world.put(request.entity, pose.translation, quaternion_of(pose.rotation))
        except TransformError as error:
            return self._failed(response, type(response).INVALID_POSE, str(error))
        except InvalidRequestError as error:
            return self._failed(response, self._codes.RESULT_NOT_FOUND, str(error))
        return self._ok(response)

    def _spawn_entity(self, request: Any, response: Any) -> Any:
        kind, name = type(response), request.entity_resource.uri
        if request.name not in {'', name}:
            return self._failed(response, kind.NAME_INVALID,
                                f'a {name} has this name, and no other')
        try:
            pose = self._pose(request.initial_pose)
            with self._runner.held() as world:
                world.spawn(name, pose.translation, quaternion_of(pose.rotation))
        except TransformError as error:
            return self._failed(response, kind.INVALID_POSE, str(error))
        except InvalidRequestError as error:
            return self._failed(response, kind.UNSUPPORTED_FORMAT, str(error))
        response.entity_name = name
        return self._ok(response)

    def _pose(self, stamped: Any) -> Transform:
        """Return a pose in the frame of the things.

        Raises:
            TransformError: its frame is not known, or its quaternion is none.

        """
        at, turn = stamped.pose.position, stamped.pose.orientation
        quaternion = (turn.x, turn.y, turn.z, turn.w)
        if abs(sum(part * part for part in quaternion) - 1) > 0.02:
            msg = 'the orientation is no unit quaternion; (0, 0, 0, 1) is upright'
            raise TransformError(msg)
        pose = Transform.of((at.x, at.y, at.z), quaternion)
        if stamped.header.frame_id in {'', self._frame}:
            return pose
        if self._frame != self._runner.world.frame:
            msg = f'{stamped.header.frame_id!r} drifts against {self._frame!r}; give the latter'
            raise TransformError(msg)
        return self._frames.lookup(stamped.header) @ pose
