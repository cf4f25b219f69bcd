"""Find what is installed: the share folder with models and configuration, and extra libraries."""

from __future__ import annotations

import os
import shlex
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .core.errors import InvalidRequestError, ModelNotReadyError

if TYPE_CHECKING:
    from .core.errors import MimoError

PACKAGE = 'mimo_embodied_ros'


def share_folder() -> Path:
    """Return the package's share folder, searched by prefix like the ament index.

    In a source checkout it is the repository, so that tools work without an installation.

    Raises:
        ModelNotReadyError: the package is not installed completely.

    """
    prefixes = [p for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
    folders = [Path(p) / 'share' / PACKAGE for p in (*prefixes, sys.prefix)]
    folders.append(Path(__file__).parents[1])
    for folder in folders:
        if (folder / 'models').is_dir():
            return folder
    msg = f'no folder {PACKAGE}/models in {", ".join(map(str, folders))}; install the package'
    raise ModelNotReadyError(msg)


def install_command(requirements: str) -> str:
    """Return the command that installs what a part of this package needs, such as ``model``."""
    try:
        folder = share_folder() / 'requirements'
    except ModelNotReadyError:  # not installed completely
        folder = Path('requirements')
    return f'pip install -r {shlex.quote(str(folder / requirements) + ".txt")}'


def import_extra(
    module: str, need: str, requirements: str, kind: type[MimoError] = InvalidRequestError
) -> Any:
    """Import a module that may be absent.

    Args:
        module: full name.
        need: what needs it, in words that end with its name.
        requirements: of the package that has it, such as ``video``.
        kind: of the error.

    Raises:
        MimoError: it cannot be imported; the text says how to install it.

    """
    try:
        return import_module(module)
    except ImportError as error:
        msg = f'{need}, which cannot be imported ({error}); run `{install_command(requirements)}`'
        raise kind(msg) from error


def carry_large_images() -> None:
    """Let Fast DDS carry large images in this process, as the launch files do.

    Call it before rclpy is initialised; processes that are started later inherit it. A profile that
    the user has set is kept.
    """
    profile = share_folder() / 'config' / 'fastdds_large_images.xml'
    os.environ.setdefault(fast_dds_variable(), str(profile))


def fast_dds_variable() -> str:
    """Return the environment variable that gives Fast DDS a profile; Kilted warns of Jazzy's."""
    try:
        major = int(version('rclpy').partition('.')[0])
    except (PackageNotFoundError, ValueError):
        major = 0
    return f'FAST{"DDS" if major > 7 else "RTPS"}_DEFAULT_PROFILES_FILE'


def embedded_model() -> str:
    """Return the folder of the default model.

    Raises:
        ModelNotReadyError: the package is not installed completely.

    """
    return str(share_folder() / 'models' / 'mimo_tiny')
