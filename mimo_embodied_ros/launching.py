"""What the launch files of this package share; it does not import ``launch``, which pip lacks."""

from __future__ import annotations

import re
import shlex
import sys
from typing import TYPE_CHECKING, Any

import yaml

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import expand, reason
from mimo_embodied_ros.core.suggestions import suggestion
from mimo_embodied_ros.core.yaml_files import by_full_name, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_FAILED = {1, 2}  # exit codes of programs that could not start, or got wrong arguments
_COLOUR = re.compile(r'(^|.*/)color/image_raw(/compressed)?')  # as realsense2_camera names it
_DEPTH = 'aligned_depth_to_color/image_raw'  # registered to it


def end_failed_launch(event: Any, context: Any) -> None:
    """End the launch with exit code 1, since a process failed; for its ``on_exit``.

    A crash, which gives another code, does not end all else that runs on a robot.

    Args:
        event: launch's ProcessExited.
        context: launch's LaunchContext.

    Raises:
        RuntimeError: the process failed by itself; launch logs it and ends all processes.

    """
    if event.returncode in _FAILED and not context.is_shutdown:
        msg = f'{event.process_name} has failed, see its last message; the launch ends'
        raise RuntimeError(msg)


def server_command(program: str, model: str, flags: Mapping[str, str], more: str = '') -> list[str]:
    """Return the command line of a vLLM server that ends with all its processes.

    It gets no reasoning parser: ``<think>`` is no token of this model, and the node splits the
    text.

    Args:
        program: of vLLM.
        model: folder or hub name.
        flags: by their names, with underscores. One without a value is left out, and one that is
            ``true`` has no value.
        more: further arguments, as a shell takes them.

    """
    command = [sys.executable, '-m', 'mimo_embodied_ros.process_group', program, 'serve', model]
    for name, value in flags.items():
        if value:
            command += [f'--{name.replace("_", "-")}', *([] if value == 'true' else [value])]
    return command + shlex.split(more)


def existing_file(argument: str, name: str) -> str:
    """Return the path of a file; launch_ros starts a node without a file that is not there.

    Args:
        argument: of the launch file, for the message.
        name: of the file; it may begin with ``~``.

    Raises:
        InvalidRequestError: the file cannot be read.

    """
    path = expand(name)
    try:
        path.open('rb').close()
    except OSError as error:
        msg = f'{argument}: {reason(error)}'
        raise InvalidRequestError(msg) from error
    return str(path)


def follow_image(parameters: dict[str, Any], files: Iterable[str], camera: str = 'camera') -> None:
    """Let the topics that belong to those that are given follow them, where they are not given.

    The topics in the files are those of another camera then. An empty topic of camera info is the
    one beside the image or depth. Depth follows where realsense2_camera has named all of them.

    Args:
        parameters: of the node, over those of the files; changed in place.
        files: of parameters; the last one counts.
        camera: name of the camera.

    """
    image, depth = f'{camera}.image_topic', f'{camera}.depth_topic'
    colour = _COLOUR.fullmatch(parameters.get(image, ''))
    if colour and depth not in parameters and _last(depth, files).endswith(_DEPTH):
        parameters[depth] = colour[1] + _DEPTH
    for topic, info in ((image, 'camera_info_topic'), (depth, 'depth_info_topic')):
        if topic in parameters:
            parameters.setdefault(f'{camera}.{info}', '')


def _last(parameter: str, files: Iterable[str]) -> str:
    """The last value of a parameter in files, of whatever node; empty where there is none."""
    found = [str(value) for file in files for name, value in by_full_name(_content(file))
             if name.endswith(f'.{parameter}')]
    return found[-1] if found else ''


def _content(file: str) -> Any:
    try:
        return read_yaml(file)
    except yaml.YAMLError:  # the node says what is wrong with it
        return None


def misspelt(given: Iterable[str], arguments: Sequence[str]) -> list[str]:
    """Return a sentence for each argument that seems to be one of these; launch passes over it.

    Args:
        given: the arguments on the command line, ``NAME:=VALUE``.
        arguments: the names of those that there are.

    """
    return [f'there is no launch argument {name} here, so it may have no effect; {meant}'
            for name in (text.partition(':=')[0] for text in given)
            if name not in arguments and (meant := suggestion(name, arguments, 0.8))]
