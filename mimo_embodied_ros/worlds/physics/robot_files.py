"""Read which arm stands at a table from a YAML file with the fields of `Robot`.

``mjcf`` and ``gripper_mjcf`` are paths from the folder of the file on, or ``menagerie:NAME`` with a
name that mujoco-menagerie knows, which downloads it at first; ``menagerie:NAME/ENTRY`` names one of
its files.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import mujoco
import yaml

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import expand, reason, yaml_reason
from mimo_embodied_ros.core.yaml_files import read_yaml
from mimo_embodied_ros.share import import_extra

from .robots import Robot, ur5e
from .scenery import find

_MENAGERIE = 'menagerie:'
_OBJECTS = mujoco.mjtObj


def load_robot(name: str = '') -> Robot:
    """Return a robot.

    Args:
        name: path of a YAML file, or ur5e; empty: ur5e.

    Raises:
        InvalidRequestError: the file is wrong, or what it names is not there.

    """
    if name in {'', 'ur5e'}:
        return ur5e()
    file = Path(expand(name))
    try:
        content = read_yaml(file)
    except (OSError, yaml.YAMLError) as error:
        why = reason(error, named=False) if isinstance(error, OSError) else yaml_reason(error)
        msg = f'the robot {name} cannot be read: {why}'
        raise InvalidRequestError(msg) from error
    values = content if isinstance(content, dict) else {}
    known = {field.name: field.default is MISSING for field in fields(Robot)}
    missing = [field for field, needed in known.items() if needed and field not in values]
    unknown = [str(field) for field in values if field not in known]
    if missing or unknown:
        msg = (f'the robot {name} has no {missing[0]}' if missing else
               f'the robot {name} has {unknown[0]}, which is no field') + (
            f'; give {", ".join(field for field, needed in known.items() if needed)}')
        raise InvalidRequestError(msg)
    for field in ('mjcf', 'gripper_mjcf'):
        if values.get(field):
            values[field] = _file(str(values[field]), file.parent)
    given: dict[str, Any] = {field: tuple(value) if isinstance(value, list) else value
                             for field, value in values.items()}
    try:
        robot = Robot(**given)
        model = robot.kinematics()
    except (ValueError, TypeError, AttributeError) as error:
        msg = f'the robot {name} cannot be loaded: {error}'
        raise InvalidRequestError(msg) from error
    _check(robot, model, name)
    return robot


def _check(robot: Robot, model: mujoco.MjModel, name: str) -> None:
    needed: list[tuple[Any, str, str]] = [
        *((_OBJECTS.mjOBJ_JOINT, 'joint', joint) for joint in (*robot.joints, robot.finger_joint)),
        (_OBJECTS.mjOBJ_SITE, 'site', robot.tool),
        (_OBJECTS.mjOBJ_ACTUATOR, 'actuator', robot.gripper),
        *((_OBJECTS.mjOBJ_BODY, 'body', body) for body in robot.fingers)]
    for kind, word, wanted in needed:
        if find(model, kind, wanted) < 0:
            msg = f'the robot {name} has no {word} {wanted!r} in {robot.mjcf}'
            raise InvalidRequestError(msg)
    if len(robot.home) != len(robot.joints):
        msg = (f'the robot {name} has {len(robot.joints)} joints and {len(robot.home)} positions '
               'in home')
        raise InvalidRequestError(msg)


def _file(value: str, folder: Path) -> str:
    if not value.startswith(_MENAGERIE):
        return str(folder / expand(value))
    name, _, entry = value.removeprefix(_MENAGERIE).partition('/')
    menagerie = import_extra(
        'mujoco_menagerie', f'{value} needs mujoco-menagerie', 'menagerie')
    try:
        robot = menagerie.get(name)
        return str(robot.xml(entry or robot.default_model))
    except (menagerie.MenagerieError, OSError) as error:
        msg = f'{value} cannot be had: {error}'
        raise InvalidRequestError(msg) from error
