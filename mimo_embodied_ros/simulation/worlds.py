"""The worlds that can be simulated, by name."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import expand
from mimo_embodied_ros.core.suggestions import suggestion
from mimo_embodied_ros.geometry.extrinsics import load_extrinsics
from mimo_embodied_ros.share import import_extra, share_folder
from mimo_embodied_ros.worlds.drawn_table import DrawnTable
from mimo_embodied_ros.worlds.table_camera import OPTICAL_FRAME
from mimo_embodied_ros.worlds.things import COLOURS, ROOM_SHAPES, SHAPES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from mimo_embodied_ros.worlds.world import World


@dataclass(frozen=True)
class WorldOptions:
    """What a world is made with; see the parameters of the node ``simulation``."""

    seed: int = 0
    things: Sequence[str] = ()
    renderer: str = 'auto'
    drop: float = 0.2
    slippery: float = 0.0
    knocks: float = 0.0
    robot: str = ''


def make_world(name: str, options: WorldOptions) -> World:
    """Make a world.

    Args:
        name: of the world, or the path of an MJCF file.
        options: of the world.

    Raises:
        InvalidRequestError: there is no such world, it cannot be made, or its simulator is not
            installed.

    """
    if name.endswith(('.xml', '.mjcf')):
        return _mjcf(expand(name), options)
    if name not in WORLDS:
        hint = suggestion(name, WORLDS) or f'give one of {", ".join(WORLDS)}'
        msg = f'there is no world {name!r}; {hint}, or the path of an MJCF file (.xml)'
        raise InvalidRequestError(msg)
    return WORLDS[name](options)


def drawn_camera_file() -> Path:
    """Return the path of the pose of the drawn table's camera, as extrinsics_file has it."""
    return share_folder() / 'config' / 'extrinsics' / 'tabletop.yaml'


def _drawn(options: WorldOptions) -> World:
    camera = load_extrinsics(drawn_camera_file()).lookup(DrawnTable.frame, OPTICAL_FRAME, 0)
    return DrawnTable(options.seed, camera, options.drop)


def _tabletop(options: WorldOptions) -> World:
    table = _physics('arm_table')
    return cast('World', table.ArmTable(
        options.seed, slippery=options.slippery, knocks=options.knocks,
        robot=_physics('robot_files').load_robot(options.robot), renderer=_renderer(options),
        **_first(options, SHAPES)))


def _room(options: WorldOptions) -> World:
    room = _physics('base_room')
    return cast('World', room.BaseRoom(
        options.seed, renderer=_renderer(options), **_first(options, ROOM_SHAPES)))


def _road(options: WorldOptions) -> World:
    if options.things:
        msg = 'things are for the tabletop and the room; what is on the road is random by seed'
        raise InvalidRequestError(msg)
    return cast('World', _physics('road').PhysicalRoad(options.seed, renderer=_renderer(options)))


def _mjcf(path: Path, options: WorldOptions) -> World:
    return cast('World', _physics('mjcf').MjcfWorld(path, renderer=_renderer(options)))


def _first(options: WorldOptions, shapes: Collection[str]) -> dict[str, Any]:
    """The argument for the things that are in the world in any case; none: the world's own.

    Raises:
        InvalidRequestError: there are no such things in the world.

    """
    pairs = []
    for thing in options.things:
        colour, _, shape = thing.partition(' ')
        if colour not in COLOURS or shape not in shapes:
            msg = (f'there is no {thing!r} in this world; give a colour ({", ".join(COLOURS)}) and '
                   f'a shape ({", ".join(shapes)})')
            raise InvalidRequestError(msg)
        pairs.append((colour, shape))
    if len(set(pairs)) < len(pairs):
        msg = f'things are {", ".join(options.things)}; give each once, since names are unique'
        raise InvalidRequestError(msg)
    return {'first': pairs} if pairs else {}


def _physics(module: str) -> Any:
    """Import a module of the worlds with physics.

    Raises:
        InvalidRequestError: MuJoCo is not installed.

    """
    import_extra('mujoco', 'worlds with physics need mujoco', 'simulation')
    return import_module(f'mimo_embodied_ros.worlds.physics.{module}')


def _renderer(options: WorldOptions) -> Any:
    """What makes the renderer of a model."""
    return _physics('renderers').renderer_called(options.renderer)


WORLDS: dict[str, Callable[[WorldOptions], World]] = {
    'tabletop': _tabletop, 'drawn': _drawn, 'room': _room, 'road': _road}
"""What makes each world."""
