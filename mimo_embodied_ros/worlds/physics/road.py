"""A road seen by the six cameras of a car that drives on it.

The frame is ``odom``: it begins where the car does, x ahead, y to the left, z up from the ground.
"""

from __future__ import annotations

import copy
import math
import random
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from mimo_embodied_ros.core.frames import Odometry
from mimo_embodied_ros.geometry.extrinsics import Transform
from mimo_embodied_ros.worlds.road_scene import Road, RoadObject
from mimo_embodied_ros.worlds.world import TICK, WorldCamera

from . import scenery, traffic
from .physical_world import PhysicalWorld
from .rays import RayRenderer
from .road_plan import BEGIN, CAR, END, LANE, RoadPlan, Vehicle, Walker, random_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mimo_embodied_ros.worlds.world import Motion, SkillGoal, View

    from .physical_world import Renderer

FRAME, BASE_FRAME = 'odom', 'base_link'
SIZE = (448, 252)
"""Columns and rows of the cameras' pictures."""
NEAR = 10.5
"""Metres between two cars below which the one ahead is near."""
_BRAKE, _SPEED_UP = 3.0, 1.5  # metres a second squared
_KEEP = 3.0  # metres that a car keeps before what is in its way
_SEEN = 0.0004  # share of a picture that a thing must fill, to be seen
_TALL = 1.5  # height of the cameras, metres
# yaw in degrees, x and y in metres, angle of view across in degrees; as config/car.yaml orders them
_VIEWS = {
    'front': (0, 2.2, 0.0, 68), 'front_left': (55, 1.6, 0.95, 70),
    'front_right': (-55, 1.6, -0.95, 70), 'back': (180, -2.2, 0.0, 100),
    'back_left': (110, 0.6, 0.95, 70), 'back_right': (-110, 0.6, -0.95, 70),
}
CAMERAS = tuple(_VIEWS)
"""Names of the cameras, in the order in which the model was trained to drive with them."""


class PhysicalRoad(PhysicalWorld):
    """A road on which cars, a pedestrian and a traffic light go on by themselves.

    Attributes:
        frame: ``odom``.
        skills: none; `drive` sets the speed.
        plan: what is on the road, and where it is now.

    """

    frame = FRAME
    skills: Mapping[str, Callable[[SkillGoal], Motion]] = {}

    def __init__(
        self, seed: int = 0, plan: RoadPlan | None = None, size: tuple[int, int] = SIZE,
        renderer: Callable[[mujoco.MjModel], Renderer] = RayRenderer,
    ) -> None:
        """Make a road.

        Args:
            seed: decides all that is not given.
            plan: what is on the road; None: at random.
            size: columns and rows of the cameras' pictures.
            renderer: makes the renderer.

        """
        self._seed, self._size, self._given = seed, size, plan
        self.plan = self._new_plan()
        super().__init__(self._model(), road_cameras(size), self._names(), renderer)
        self._pose()

    def reset(self, seed: int | None = None) -> None:
        """Begin anew: on another road, or with None on the same one."""
        if seed is not None:
            self._seed, self._given = seed, None
        self.plan = self._new_plan()
        self._load(self._model(), road_cameras(self._size), self._names())
        self._pose()

    def drive(self, forward: float, _: float = 0.0) -> None:
        """Set the speed, metres a second; the car keeps to its lane, and stops for obstacles."""
        self.plan.ego.wish = max(0.0, forward)

    def step(self, seconds: float) -> None:
        """Let time pass."""
        with self.lock:
            for _ in range(round(seconds / TICK)):
                for vehicle in self._vehicles():
                    self._advance(vehicle)
                if self.plan.walker is not None:
                    _walk(self.plan.walker)
                self.data.time += TICK
            self._pose()

    def odometry(self) -> Odometry:
        """Return pose and speed of the car with the cameras, which are known exactly."""
        with self.lock:
            ego, course = self.plan.ego, self.plan.course
            yaw, turning = course.heading(ego.along), ego.speed * (
                course.heading(ego.along + 0.5) - course.heading(ego.along - 0.5))
            x, y = course.place(ego.along, ego.left)
            return Odometry(round(1e9 * self.time), FRAME, BASE_FRAME, (x, y, 0.0),
                            (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)),
                            (ego.speed, 0.0, 0.0), (0.0, 0.0, turning))

    def objects(self, view: View) -> tuple[RoadObject, ...]:
        """Return all that a camera shows, also what is beside the road, nearest cars first.

        Args:
            view: of one of the cameras, since which the world has not gone on.

        """
        plan, boxes = self.plan, {}
        for number, name in enumerate(self.bodies, 1):
            rows, columns = np.nonzero(view.labels == number)
            if len(rows) > _SEEN * view.labels.size:
                boxes[name] = (float(columns.min()), float(rows.min()),
                               float(columns.max() + 1), float(rows.max() + 1))
        cars = sorted((car for car in plan.cars if car.name in boxes),
                      key=lambda car: abs(car.along - plan.ego.along))
        out = [RoadObject('car', car.colour, boxes[car.name], near=self._is_near(car))
               for car in cars]
        if 'pedestrian' in boxes:
            out.append(RoadObject('pedestrian', '', boxes['pedestrian'], near=True))
        if plan.light and 'traffic light' in boxes:
            out.append(RoadObject('traffic light', plan.light.at(view.time),
                                  boxes['traffic light']))
        return tuple(out)

    def scene(self, view: View) -> Road:
        """Return what the front camera shows, with the truth about it.

        Args:
            view: of the front camera, since which the world has not gone on.

        """
        seen: dict[str, RoadObject] = {}
        for thing in self.objects(view):
            seen.setdefault(thing.name, thing)
        if self.plan.walker is None or not self.plan.walker.on_road:
            seen.pop('pedestrian', None)
        light = seen.get('traffic light')
        return Road(view.pixels, self.plan.course.bends_at(self.plan.ego.along),
                    light.colour if light else 'none', light, seen.get('pedestrian'),
                    seen.get('car'))

    def _is_near(self, car: Vehicle) -> bool:
        """Whether a car is in the lane right in front."""
        ego = self.plan.ego
        return car.way == ego.way and 0 < car.along - ego.along - CAR[0] < NEAR

    def _new_plan(self) -> RoadPlan:
        if self._given is not None:
            return copy.deepcopy(self._given)  # it changes with time
        return random_plan(random.Random(self._seed))

    def _names(self) -> list[str]:
        names = [car.name for car in self.plan.cars]
        names += ['pedestrian'] if self.plan.walker else []
        return names + (['traffic light'] if self.plan.light else [])

    def _vehicles(self) -> tuple[Vehicle, ...]:
        return self.plan.ego, *self.plan.cars

    def _model(self) -> mujoco.MjModel:
        """Make the model of the plan."""
        plan, rng, spec = self.plan, random.Random(f'{self._seed} looks'), mujoco.MjSpec()
        spec.option.timestep = TICK
        spec.visual.global_.offwidth, spec.visual.global_.offheight = 1920, 1080
        # near and far are in units of the extent
        spec.stat.extent, spec.visual.map.znear, spec.visual.map.zfar = 20, 0.005, 12
        spec.visual.quality.shadowsize = 4096
        traffic.add_road(spec, rng, plan.course)
        for vehicle in self._vehicles():
            body = traffic.add_car(spec, vehicle.name, vehicle.colour)
            if vehicle is plan.ego:
                for name, camera in road_cameras(self._size).items():
                    scenery.add_camera(body, name, camera.pose, camera.focal, camera.height)
        if plan.walker is not None:
            traffic.add_pedestrian(spec, plan.walker.coat)
        if plan.light is not None:
            traffic.add_traffic_light(spec, plan.light, plan.course)
        return scenery.compiled(spec)

    def _advance(self, vehicle: Vehicle) -> None:
        """Move a vehicle by a tick: as fast as it wishes and can still stop for what is ahead."""
        free = max(0.0, self._free(vehicle) - _KEEP)
        wish = min(vehicle.wish, vehicle.speed + _SPEED_UP * TICK, math.sqrt(2 * _BRAKE * free))
        vehicle.speed = max(wish, vehicle.speed - 2 * _BRAKE * TICK, 0.0)
        vehicle.along += vehicle.way * vehicle.speed * TICK

    def _free(self, vehicle: Vehicle) -> float:
        """Metres from a vehicle's bumper to what is ahead in its lane."""
        plan, way = self.plan, vehicle.way
        ahead = [END if way > 0 else BEGIN]
        ahead += [other.along - way * CAR[0] / 2 for other in self._vehicles()
                  if other is not vehicle and other.way == way]
        if plan.walker is not None and plan.walker.on_road:
            ahead.append(plan.walker.along)
        if plan.light is not None and way > 0 and plan.light.at(self.time) == 'red':
            ahead.append(plan.light.along)
        front = vehicle.along + way * CAR[0] / 2
        return min((d for d in (way * (at - front) for at in ahead) if d > 0), default=math.inf)

    def _pose(self) -> None:
        """Show the state of the plan in the model."""
        plan = self.plan
        for vehicle in self._vehicles():
            turn = 0.0 if vehicle.way > 0 else math.pi
            self._put(vehicle.name, vehicle.along, vehicle.left, turn)
        if plan.walker is not None:
            turn = math.copysign(math.pi / 2, plan.walker.speed)
            self._put('pedestrian', plan.walker.along, plan.walker.left, turn)
        if plan.light is not None:
            traffic.show_light(self.model, plan.light.at(self.time))
        mujoco.mj_kinematics(self.model, self.data)

    def _put(self, name: str, along: float, left: float, turn: float) -> None:
        body, course = self.model.body(name).mocapid[0], self.plan.course
        self.data.mocap_pos[body] = *course.place(along, left), 0.0
        self.data.mocap_quat[body] = scenery.yaw_quaternion(course.heading(along) + turn)


def road_cameras(size: tuple[int, int] = SIZE) -> dict[str, WorldCamera]:
    """Return the six cameras of a car, for pictures of so many columns and rows."""
    return {name: _camera(name, size) for name in CAMERAS}


def _camera(name: str, size: tuple[int, int]) -> WorldCamera:
    degrees, x, y, across = _VIEWS[name]
    yaw = math.radians(degrees)
    # a picture that is taller than wide sees as much from top to bottom
    focal = max(size) / 2 / math.tan(math.radians(across) / 2)
    sin, cos = math.sin(yaw), math.cos(yaw)
    optical = np.array([[sin, 0, cos], [-cos, 0, sin], [0, -1, 0]])
    return WorldCamera(name, *size, focal, f'{name}_optical_frame', BASE_FRAME,
                       Transform(optical, np.array([x, y, _TALL])), has_depth=False)


def _walk(walker: Walker) -> None:
    """Move a pedestrian by a tick; on the other side of the road, turn round."""
    walker.left += walker.speed * TICK
    if abs(walker.left) > 2 * LANE and walker.left * walker.speed > 0:
        walker.speed = -walker.speed
