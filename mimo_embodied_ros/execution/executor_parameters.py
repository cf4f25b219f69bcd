"""The parameters of the node ``mimo_executor``; they are read once, when it starts."""

from __future__ import annotations

from mimo_embodied_ros.ros.parameters import Parameter

PARAMETERS = (
    Parameter('node', 'mimo_embodied', 'Name of the node that plans and answers.', read_only=True),
    Parameter('skills_file', '', 'YAML file with the skills of the robot, the same file as the '
              "planning node's; see docs/skills.md.", read_only=True, path=True),
    Parameter('policy_file', '', 'YAML file that says what to do when a step fails, see '
              'docs/execution.md; empty: try once more, then plan again.', read_only=True,
              path=True),
    Parameter('target_frame', '', "Frame of the positions that the skills' calls get: z points "
              "up, and the origin is the robot's base. Empty: no 3D positions.", read_only=True),
    Parameter('memory', '', 'Name of the node that remembers, such as mimo_memory: plans are told '
              'what it knows, and things that are not visible are looked for where they were seen '
              'last. Empty: none.', read_only=True),
    Parameter('max_plans', 4, 'Most plans for one goal, the first plan included.', (1, 100),
              read_only=True),
    Parameter('settle', 0.5, 'Time after a step until the cameras show its result; the model gets '
              'no images from before.', (0.01, 60.0), unit='s', read_only=True),
    Parameter('stand_off', 0.8, 'Distance from an object at which a base stops.', (0.01, 100.0),
              unit='m', read_only=True),
    Parameter('check_goal', True, 'Ask the model after the last step whether the instruction is '
              'done.', read_only=True),
    Parameter('wait_for_server', 10.0, 'How long an action or service server may be missing, or '
              'may take to accept a goal; how long the call itself may take is the timeout in '
              'skills_file.', (0.1, 3600.0), unit='s', read_only=True),
    Parameter('wait_for_model', 600.0, 'How long a plan waits for the node that plans and answers '
              'while that is absent, inactive or still loads its model; then the plan ends, and '
              'its state stays.', (0.0, 86400.0), unit='s', read_only=True),
    Parameter('state_file', '', 'File that keeps the state of a plan, so that it can be resumed '
              "after a restart; the node's full name is put before the ending: plan.json of "
              '/robot1/mimo_executor is plan.robot1.mimo_executor.json. Empty: no file.',
              read_only=True, path=True),
)
