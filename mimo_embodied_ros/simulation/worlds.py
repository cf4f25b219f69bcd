"""The worlds that can be simulated, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.suggestions import suggestion
from mimo_embodied_ros.geometry.extrinsics import load_extrinsics
from mimo_embodied_ros.share import import_extra, share_folder
from mimo_embodied_ros.worlds.drawn_table import DrawnTable
from mimo_embodied_ros.worlds.table_camera import OPTICAL_FRAME

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mimo_embodied_ros.worlds.world import World

_PHYSICS = 'mimo_embodied_ros.worlds.physics'


@dataclass(frozen=True)
class WorldOptions:
    """What a world is made with; see the parameters of the node ``simulation``."""

    seed: int = 0
    things: tuple[str, ...] = ()
    renderer: str = 'auto'
    drop: float = 0.2


def make_world(name: str, options: WorldOptions) -> World:
    """Make a world.

    Args:
        name: of the world, or the path of an MJCF file.
        options: of the world.

    Raises:
        InvalidRequestError: there is no such world, it cannot be made, or its simulator is not
            installed.

    """
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


def _module(name: str) -> Any:
    """Import a module of worlds with physics.

    Raises:
        InvalidRequestError: MuJoCo is not installed.

    """
    import_extra('mujoco', 'worlds with physics need mujoco', 'simulation')
    return import_extra(f'{_PHYSICS}.{name}', f'this world needs {name}', 'simulation')


WORLDS: dict[str, Callable[[WorldOptions], World]] = {'drawn': _drawn}
"""What makes each world."""
