"""The parameters of the node ``mimo_memory``; they are read once, when it starts."""

from __future__ import annotations

from mimo_embodied_ros.ros.parameters import Parameter

PARAMETERS = (
    Parameter('node', 'mimo_embodied', 'Name of the node whose answers are remembered.',
              read_only=True),
    Parameter('file', '~/.ros/mimo_memory.db', 'File of the memory, for one robot. Empty: in '
              'memory only, until the node ends.', read_only=True, path=True),
    Parameter('odometry_topic', 'odom', 'Topic of odometry. Where it begins anew, places in its '
              'frame from before are no places any more. Empty: there is none.',
              read_only=True),
    Parameter('fixed_frames', ['map'], 'Frames that do not move, besides that of odometry: of a '
              'map, or of an arm that is mounted. Places in other frames are not remembered.',
              read_only=True),
    Parameter('map_id', '', 'Name of the map, or of the place where the arm is mounted. Places in '
              'fixed_frames hold as long as it is the same. Empty: until the node ends.',
              read_only=True),
    Parameter('tf_buffer', 10.0, 'How long transforms of tf2 are kept, to tell places in other '
              'frames; 0: only odometry is used.', (0.0, 3600.0), unit='s', read_only=True),
    Parameter('max_things', 1000, 'Most things that are remembered, and most searches; those seen '
              'longest ago are forgotten first.', (1, 1_000_000), read_only=True),
    Parameter('max_age', 2_592_000.0, 'How long what is not seen again is remembered.',
              (1.0, 1e9), unit='s', read_only=True),
    Parameter('max_mb', 100, 'Megabytes that the memory may take.', (1, 1_000_000), unit='MB',
              read_only=True),
)
