"""The renderers of physical worlds by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import InvalidRequestError

from . import opengl
from .rays import RayRenderer

if TYPE_CHECKING:
    from collections.abc import Callable

    import mujoco

    from .physical_world import Renderer

RENDERERS = ('auto', 'gl', 'rays')


def renderer_called(name: str) -> Callable[[mujoco.MjModel], Renderer]:
    """Return what makes renderers.

    Args:
        name: rays works everywhere; gl, OpenGL, is faster for large pictures; auto takes gl where
            it works, and rays elsewhere.

    Raises:
        InvalidRequestError: there is no such renderer, or OpenGL does not work here.

    """
    if name not in RENDERERS:
        msg = f'there is no renderer {name!r}; take {", ".join(RENDERERS)}'
        raise InvalidRequestError(msg)
    if name == 'rays' or (name == 'auto' and not opengl.platform()):
        return RayRenderer
    if not opengl.platform():
        msg = ('the renderer gl needs PyOpenGL and EGL or OSMesa, such as by the Debian packages '
               'libegl1 and libgl1-mesa-dri; install them, or take rays')
        raise InvalidRequestError(msg)
    return opengl.OpenGLRenderer
