"""A robot that does plans: the real node and executor, a mock robot, and a table that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from rclpy.node import Node

from mimo_embodied_ros import action, msg
from mimo_embodied_ros.client import MimoClient
from mimo_embodied_ros.core.errors import MimoError
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.execution.executor_node import MimoExecutor
from mimo_embodied_ros.execution.mock_robot import MockRobot
from support.robot import Robot, parameters
from support.tabletop import INSTRUCTION, SCENE
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from pathlib import Path

GRASP, LIFT, RELEASE = '/gripper/grasp', '/arm/lift', '/gripper/release'
SKILLS = f"""
pick:
  description: Grasp a thing and lift it.
  says: "pick up {{object}}"
  arguments: {{object: {{type: object}}}}
  preconditions: ["{{object}} can be reached"]
  success: the gripper holds {{object}}
  lacks: holding
  gives: holding {{object}}
  runs:
    - action: {GRASP}
      type: mimo_embodied_ros/action/RunSkill
      goal: {{skill: grasp, object: "{{object}}"}}
    - action: {LIFT}
      type: mimo_embodied_ros/action/RunSkill
      goal: {{skill: lift}}
      timeout: 5
place:
  description: Put what is held somewhere.
  says: "put {{object}} {{where}} {{place}}"
  arguments:
    object: {{type: object}}
    where: {{type: choice, options: [in, on]}}
    place: {{type: place}}
  success: "{{object}} is {{where}} {{place}}"
  needs: holding {{object}}
  ends: holding {{object}}
  runs:
    - service: {RELEASE}
      type: std_srvs/srv/Trigger
      expect: {{success: true}}
"""
# the model is asked about no step
NO_CHECKS = 'default: {before: false, look: false, after: false}\n'
Status = msg.ExecutionStatus


class World:
    """The table, a mock robot, the node and the executor; a camera that always publishes."""

    def __init__(
        self, ros: Any, tmp_path: Path, policy: str = '', *, model: bool = True,
        skills: str = SKILLS, **values: Any
    ) -> None:
        self.ros = ros
        skills_file, rules = tmp_path / 'skills.yaml', tmp_path / 'policy.yaml'
        skills_file.write_text(skills)
        rules.write_text(policy or '{}')
        self.values = {'skills_file': str(skills_file), 'policy_file': str(rules), 'settle': 1.0,
                       'state_file': str(tmp_path / 'state' / 'plan.json'), **values}
        self.state = tmp_path / 'state' / 'plan.mimo_executor.json'
        self.things, self.held = list(SCENE.things), []
        self.published = 0
        self.slips = 0  # how often what is held falls back on the table, and nobody notices
        self.robot = Robot(ros, skills_file=str(skills_file), wait_for_image=WAIT_S)
        if model:
            self.robot.start()
        self.mock = MockRobot(self.robot.other, load_skills(skills_file), 0.1, self.change)
        self.camera_timer = self.robot.other.create_timer(0.25, self._publish)
        self.other = Node('tree', context=ros.context)
        self.mimo = MimoClient(self.other, wait_s=WAIT_S)
        self.status: list[Any] = []
        self.robot.other.create_subscription(
            Status, '/mimo_executor/status', self.status.append, 100)
        self.executor: Any = None

    def start(self) -> World:
        self.executor = self.ros.node(
            'mimo_executor', MimoExecutor, parameter_overrides=parameters(**self.values))
        return self

    def _publish(self) -> None:
        self.robot.show(self.things)
        self.published += 1

    def show_only(self, *names: str) -> None:
        """Take the other things away, and wait until the camera has shown that."""
        self.things = [thing for thing in self.things if thing.name in names]
        before = self.published
        self.ros.wait_for(lambda: self.published > before + 1)

    def change(self, name: str, fields: Any) -> None:
        """Change the table as the robot does: what it holds or puts in the bowl is not visible."""
        if name == GRASP:
            if self.slips:
                self.slips -= 1
                return
            self.held = [t for t in self.things if t.name == fields['object']]
            self.things = [t for t in self.things if t not in self.held]
        elif name == RELEASE and self.slips:
            self.slips -= 1
            self.things += self.held
            self.held = []

    def goal(self, **fields: Any) -> Any:
        goal = action.ExecutePlan.Goal(**{'instruction': INSTRUCTION, **fields})
        return self.mimo.send(action.ExecutePlan, 'mimo_executor/execute_plan', goal)

    def plan(self) -> Any:
        return self.mimo.plan(INSTRUCTION, timeout=5 * WAIT_S).result().plan

    def called(self) -> list[str]:
        return [name for name, _ in self.mock.calls]

    def phases(self) -> list[int]:
        return [status.phase for status in self.status]

    def close(self) -> None:
        self.mimo.close()
        self.other.destroy_node()


def error_of(request: Any) -> MimoError:
    with pytest.raises(MimoError) as caught:
        request.result(5 * WAIT_S)
    return caught.value
