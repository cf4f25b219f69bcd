"""The parameters of the node ``mimo_viewer``; they are read once, when it starts."""

from __future__ import annotations

from mimo_embodied_ros.ros.parameters import Parameter

PARAMETERS = (
    Parameter('node', 'mimo_embodied', 'Name of the node whose answers are shown.', read_only=True),
    Parameter('memory', 'mimo_memory', 'Name of the node that remembers; its things are shown.',
              read_only=True),
    Parameter('reliable', False, "Ask for reliable delivery of the cameras' images.",
              read_only=True),
    Parameter('history_mb', 256, 'Megabytes of images to keep until their answers arrive. An '
              'answer whose image is no longer kept is drawn on grey.', (1, 100_000), unit='MB',
              read_only=True),
    Parameter('jpeg_quality', 80, 'JPEG quality of annotated/compressed.', (1, 100),
              read_only=True),
    Parameter('lifetime', 10.0, 'How long markers of answers and of tracked points are '
              'shown; 0: until the next ones.',
              (0.0, 86400.0), unit='s', read_only=True),
    Parameter('marker_size', 0.03, 'Diameter of the sphere that marks a point.', (0.001, 10.0),
              unit='m', read_only=True),
)
