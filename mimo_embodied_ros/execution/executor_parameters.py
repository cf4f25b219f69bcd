"""The parameters of the node ``mimo_executor``; they hold from its start to its end."""

from __future__ import annotations

from mimo_embodied_ros.ros.parameters import Parameter

PARAMETERS = (
    Parameter('node', 'mimo_embodied', 'Name of the node that plans and answers.', read_only=True),
    Parameter('skills_file', '', 'YAML file with the skills of the robot, the same as of the node '
              'that plans; see docs/skills.md.', read_only=True),
    Parameter('policy_file', '', 'YAML file with what to do when a step fails, see '
              'docs/execution.md; empty: once more, then plan again.', read_only=True),
    Parameter('target_frame', '', 'Frame of the positions that the calls of skills get: z is up, '
              "and the robot's base is its origin. Empty: no 3D.", read_only=True),
    Parameter('max_plans', 4, 'How often is planned for one goal, the first plan counted.',
              (1, 100), read_only=True),
    Parameter('settle', 0.5, 'From the end of a step until the cameras have seen what it did; '
              'older images are not used.', (0.01, 60.0), unit='s', read_only=True),
    Parameter('stand_off', 0.8, 'How far before a thing a base stops.', (0.01, 100.0), unit='m',
              read_only=True),
    Parameter('check_goal', True, 'Ask the model whether all is done after the last step.',
              read_only=True),
    Parameter('wait_for_server', 10.0, 'How long a server of the robot may be missing, or may take '
              'to accept a goal.', (0.1, 3600.0), unit='s', read_only=True),
    Parameter('state_file', '', 'File that keeps how far a plan is, so that it can go on after a '
              'restart; empty: none.', read_only=True),
)
