"""The executor looks for what is not visible where it was seen last; over real DDS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from mimo_embodied_ros import action, msg
from mimo_embodied_ros.client import MimoClient
from mimo_embodied_ros.core.errors import StepFailedError
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.execution.executor_node import MimoExecutor
from mimo_embodied_ros.execution.mock_robot import MockRobot
from mimo_embodied_ros.memory_node.memory_node import MimoMemory
from support.robot import FRAME, parameters
from support.seeing_robot import LEFT, K, Seeing, flat_depth
from support.tabletop import SCENE
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TASK = 'pick up the red cube'
LOOK, PICK = '/look', '/pick'
SKILLS = f"""
pick:
  description: Grasp a thing and lift it.
  says: "pick up {{object}}"
  arguments: {{object: {{type: object}}}}
  success: the gripper holds {{object}}
  runs:
    - action: {PICK}
      type: mimo_embodied_ros/action/RunSkill
      goal: {{object: "{{object}}"}}
look_at:
  description: Turn to a thing.
  says: "look at {{object}}"
  arguments: {{object: {{type: object}}}}
  success: "{{object}} is in view"
  reveals: true
  runs:
    - action: {LOOK}
      type: mimo_embodied_ros/action/RunSkill
      goal:
        object_at: {{header: {{frame_id: "{{object.frame}}"}}, point: "{{object.position}}"}}
"""
POLICY = """
default: {repeat: 0, then: give_up, before: false, after: false}
look_at: {finds: true}
"""
CUBE, *OTHERS = SCENE.things


class Fetching(Seeing):
    """A robot whose camera always publishes what is before it, and which remembers.

    Attributes:
        mock: does its skills.
        before: things that are before the camera now.
        shown: number of images.

    """

    def __init__(self, ros: Any, folder: Path, memory: str) -> None:
        skills, policy = folder / 'skills.yaml', folder / 'policy.yaml'
        skills.write_text(SKILLS)
        policy.write_text(POLICY)
        super().__init__(ros, folder, skills_file=str(skills), wait_for_image=WAIT_S)
        self.before, self.shown = list(SCENE.things), 0
        self.memory = ros.node(
            'mimo_memory', MimoMemory, parameter_overrides=parameters(file=''))
        self.executor = ros.node('mimo_executor', MimoExecutor, parameter_overrides=parameters(
            skills_file=str(skills), policy_file=str(policy), memory=memory, settle=1.0,
            target_frame='base_link', check_goal=False))
        self.mock = MockRobot(self.other, load_skills(skills), 0.1, self._on_done)
        self.texts: list[str] = []
        self.other.create_subscription(
            msg.ExecutionStatus, '/mimo_executor/status', lambda s: self.texts.append(s.text), 100)
        ros.wait_for(self.node.topics.observations.get_subscription_count)
        self.camera_timer = self.other.create_timer(0.25, self._publish)

    def _publish(self) -> None:
        self.show(self.before)

    def show(self, things: Any) -> None:
        """Publish an image of these things with depth, intrinsics and odometry of its time."""
        super().show(things)
        header = Header(stamp=self.other.get_clock().now().to_msg(), frame_id=FRAME)
        odometry = Odometry(header=Header(stamp=header.stamp, frame_id='odom'),
                            child_frame_id='base_link')
        odometry.pose.pose.orientation.z = odometry.pose.pose.orientation.w = LEFT
        self.odometry.publish(odometry)
        for publisher in (self.info, self.depth_info):
            publisher.publish(CameraInfo(header=header, width=640, height=480, k=K))
        self.depth.publish(flat_depth(header))
        self.shown += 1

    def _on_done(self, name: str, _: Any) -> None:
        if name == LOOK:  # the cube is before the camera again
            self.before = list(SCENE.things)


@pytest.fixture
def mimo(ros: Any) -> Iterator[MimoClient]:
    node = ros.node('tree')
    with MimoClient(node, wait_s=WAIT_S) as client:
        yield client


def fetch(robot: Fetching, mimo: MimoClient) -> Any:
    """Plan while the cube is seen, and do that when it is out of view."""
    plan = mimo.plan(TASK, timeout=5 * WAIT_S, target_frame='odom').result().plan
    robot.ros.wait_for(robot.memory.memory.things)
    robot.before, shown = OTHERS, robot.shown
    robot.ros.wait_for(lambda: robot.shown > shown + 1)
    return mimo.send(action.ExecutePlan, 'mimo_executor/execute_plan',
                     action.ExecutePlan.Goal(plan=plan))


def test_a_thing_is_looked_for_where_it_was_seen_last(
    ros: Any, tmp_path: Path, mimo: MimoClient
) -> None:
    robot = Fetching(ros, tmp_path, 'mimo_memory')
    result = fetch(robot, mimo).result(5 * WAIT_S)
    assert result.error_code == 0
    assert [name for name, _ in robot.mock.calls] == [LOOK, PICK]
    looked_at = robot.mock.calls[0][1]['object_at']
    assert looked_at['header']['frame_id'] == 'base_link'
    found = mimo.recall('red cube', target_frame='base_link').result().things[0]
    assert looked_at['point']['x'] == pytest.approx(found.position.x, abs=0.05)
    assert 'look_at where red cube was seen last' in robot.texts
    robot.mock.destroy()


def test_without_a_memory_it_is_not_visible(ros: Any, tmp_path: Path, mimo: MimoClient) -> None:
    robot = Fetching(ros, tmp_path, '')
    with pytest.raises(StepFailedError, match='red cube is not visible'):
        fetch(robot, mimo).result(5 * WAIT_S)
    assert not robot.mock.calls
    robot.mock.destroy()


def test_a_plan_is_told_where_its_things_are(
    ros: Any, tmp_path: Path, mimo: MimoClient
) -> None:
    robot = Fetching(ros, tmp_path, 'mimo_memory')
    mimo.find('red cube', target_frame='odom', timeout=5 * WAIT_S).result()
    robot.ros.wait_for(robot.memory.memory.things)
    prompts = robot.prompts()
    mimo.send(action.ExecutePlan, 'mimo_executor/execute_plan',
              action.ExecutePlan.Goal(instruction=TASK)).result(5 * WAIT_S)
    said = prompts[0].text.partition(' current goal')[0]
    assert said.startswith('Remembered: The red cube was last seen ')
    assert said.endswith(' m ahead of the robot and 0.4 m to its left.')
    robot.mock.destroy()
