"""Let Fast DDS carry large images, in all nodes that are launched after this file.

The default transports of Fast DDS lose them. The camera's driver needs this as well as the node:
include this file before the driver's launch file.
"""

import os
from pathlib import Path

from launch.actions import SetEnvironmentVariable

from launch import LaunchDescription

PROFILE = Path(__file__).resolve().parents[1] / 'config' / 'fastdds_large_images.xml'
# the variable of Kilted and later, and the one of Jazzy
VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')


def generate_launch_description() -> LaunchDescription:
    """Set the variables, unless the user has set them."""
    return LaunchDescription([
        SetEnvironmentVariable(name, str(PROFILE)) for name in VARIABLES if name not in os.environ])
