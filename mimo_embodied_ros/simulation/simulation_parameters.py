"""The parameters of the node ``simulation``; they are read once, when it starts."""

from __future__ import annotations

from mimo_embodied_ros.ros.parameters import COUNT, Parameter

PARAMETERS = (
    Parameter('world', 'tabletop', 'What is simulated: tabletop (an arm, with physics), drawn (a '
              'drawn tabletop), room (a mobile base), road (a car with six cameras), or the path '
              'of an MJCF file.', read_only=True),
    Parameter('seed', 0, 'Decides everything that is random in the world.', COUNT, read_only=True),
    Parameter('things', [], 'Things that are in the world in any case, such as [red cube, blue '
              'bowl]; the others are random.', read_only=True),
    Parameter('renderer', 'auto', 'What makes the pictures of physical worlds: OpenGL (gl), ray '
              'casts that need none (rays), or OpenGL where it works (auto).',
              choices=('auto', 'gl', 'rays'), read_only=True),
    Parameter('rate', 1.0, 'Seconds of simulated time in a second; 0: as many as can be.',
              (0.0, 1000.0), read_only=True),
    Parameter('paused', False, 'Stand still at first, until set_pause or step_simulation is '
              'called.', read_only=True),
    Parameter('camera_rate', 5.0, 'Images of each camera in a second of simulated time.',
              (0.01, 100.0), unit='Hz', read_only=True),
    Parameter('drop', 0.2, 'Probability that the gripper of the drawn tabletop loses a thing in a '
              'pick or in a place.', (0.0, 1.0), read_only=True),
    Parameter('slippery', 0.0, 'Share of the things on the tabletop that are heavy and slippery.',
              (0.0, 1.0), read_only=True),
    Parameter('knocks', 0.0, 'How often in a minute something pushes a thing on the tabletop, on '
              'average.', (0.0, 600.0), read_only=True),
    Parameter('robot', '', 'The arm at the tabletop: a YAML file, see docs/worlds.md; empty: a '
              'UR5e with a 2F-85.', read_only=True),
    Parameter('enable_stamped_cmd_vel', True, 'cmd_vel is a TwistStamped, as of Nav2 since Kilted; '
              'false: a Twist.', read_only=True),
)
