"""The mock robot as a program: its actions and services, and calls that it lets fail."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from std_srvs.srv import Trigger

from mimo_embodied_ros.action import RunSkill
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.execution.mock_robot import MockRobot
from support.paths import SKILL_FILES
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from pathlib import Path

SKILLS = """
nod:
  description: Nod.
  says: nod
  success: the robot has nodded
  runs:
    - action: /head/run
      type: mimo_embodied_ros/action/RunSkill
      goal: {skill: nod}
    - service: /head/rest
      type: std_srvs/srv/Trigger
      expect: {success: true}
"""


def run_skill(ros: Any, node: Any, client: ActionClient) -> int:
    """Send a goal; return its status at the end."""
    goal = ros.call(client.send_goal_async, RunSkill.Goal(skill='nod'))
    ros.wait_for(goal.done)
    result = ros.call(goal.result().get_result_async)
    ros.wait_for(result.done)
    return int(result.result().status)


def test_the_program_serves_the_calls_of_a_skill_file(ros: Any, tmp_path: Path) -> None:
    (tmp_path / 'skills.yaml').write_text(SKILLS)
    robot = subprocess.Popen(
        [sys.executable, '-m', 'mimo_embodied_ros.execution.mock_robot', 'skills.yaml',
         '--duration', '0.1', '--fail', '/head/run', '--fail', '/head/rest=2'],
        env=ros.environment, cwd=tmp_path)
    node = ros.node('caller')
    client = ros.call(ActionClient, node, RunSkill, '/head/run')
    assert client.wait_for_server(WAIT_S)
    assert [run_skill(ros, node, client) for _ in range(2)] == [
        GoalStatus.STATUS_ABORTED, GoalStatus.STATUS_SUCCEEDED]
    rests = [ros.call_service(node, Trigger, '/head/rest').success for _ in range(3)]
    assert rests == [False, False, True]
    robot.send_signal(signal.SIGINT)
    assert robot.wait(WAIT_S) == 0


def test_skills_with_one_action_share_its_server_until_it_is_destroyed(ros: Any) -> None:
    node = ros.node('robot')
    robot = MockRobot(node, load_skills(SKILL_FILES / 'tabletop.yaml'))
    client = ros.call(ActionClient, node, RunSkill, '/gripper/run_skill')
    assert client.wait_for_server(WAIT_S)
    assert run_skill(ros, node, client) == GoalStatus.STATUS_SUCCEEDED
    ((name, fields),) = robot.calls
    assert (name, fields['skill']) == ('/gripper/run_skill', 'nod')
    ros.call(robot.destroy)
    ros.wait_for(lambda: not client.server_is_ready())
