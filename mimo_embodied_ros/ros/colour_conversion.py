"""Chooses the library that converts the colours of images: cv_bridge or rosbags-image."""

from __future__ import annotations

import functools
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_PROBE = """
import pathlib, sys, types, cv_bridge
assert pathlib.Path(sys.argv[1]) in pathlib.Path(cv_bridge.__file__).parents, cv_bridge.__file__
pixel = types.SimpleNamespace(
    height=1, width=1, encoding='bgr8', is_bigendian=0, step=3, data=bytes([1, 2, 3]))
assert cv_bridge.CvBridge().imgmsg_to_cv2(pixel, 'rgb8').tolist() == [[[3, 2, 1]]]
"""


@functools.cache
def colour_converter() -> Callable[[Any, str], Any]:
    """Choose the library that converts colours: ``(message, encoding) -> array``.

    cv_bridge where ROS 2 provides it, rosbags-image otherwise. That cv_bridge can be imported is
    not enough: PyPI has one of ROS 1, and one that was built for another numpy crashes the process
    when it is used. So it must be in the ament index, be imported from there, and convert a pixel
    in a process of its own.
    """
    try:
        from ament_index_python import get_package_prefix

        probe = [sys.executable, '-c', _PROBE, get_package_prefix('cv_bridge')]
        subprocess.run(probe, check=True, capture_output=True, text=True, timeout=60)
        from cv_bridge import CvBridge

        convert: Callable[[Any, str], Any] = CvBridge().imgmsg_to_cv2
    except (ImportError, LookupError, OSError, subprocess.SubprocessError) as error:
        # LookupError and OSError: not in the index, no index
        reason = getattr(error, 'stderr', None) or error
        logging.getLogger(__name__).debug('images by rosbags-image, no cv_bridge: %s', reason)
        from rosbags.image import image_to_cvimage

        return image_to_cvimage
    return convert
