"""Let Fast DDS carry large images, in all that is launched after it.

Its default transports lose them. A camera's driver needs it as well as the node: include it before
the driver's launch file.
"""

import os
from pathlib import Path

from launch.actions import SetEnvironmentVariable

from launch import LaunchDescription

PROFILE = Path(__file__).resolve().parents[1] / 'config' / 'fastdds_large_images.xml'
# Of Kilted and later, and of Jazzy.
VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')


def generate_launch_description() -> LaunchDescription:
    """The variables; a profile of the user's own is kept."""
    return LaunchDescription([
        SetEnvironmentVariable(name, str(PROFILE)) for name in VARIABLES if name not in os.environ])
