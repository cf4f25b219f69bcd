"""Calls of skills, checked against the definitions of their types when the skills are read."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from builtin_interfaces.msg import Duration
from nav_msgs.srv import GetPlan
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Empty
from std_srvs.srv import SetBool, Trigger

from mimo_embodied_ros.action import PlanTask, RunSkill
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.skills import Condition
from mimo_embodied_ros.ros.conditions import concerns, unmet
from mimo_embodied_ros.ros.fields import set_fields
from mimo_embodied_ros.ros.placeholders import fill_placeholders, placeholder_values
from mimo_embodied_ros.ros.skill_interfaces import absent_endpoints, load_checked_skills
from support.paths import SKILL_FILES

if TYPE_CHECKING:
    from pathlib import Path

# an argument of each type; the call begins in line 15
SKILL = """
do:
  description: Do it.
  says: "do {object} {place} {point} {pose} {number} {text} {choice}"
  success: it is done
  arguments:
    object: {type: object}
    place: {type: place}
    point: {type: point}
    pose: {type: pose, poses: {home: {frame: map, position: [0, 0, 0]}}}
    number: {type: number, range: [0.5, 300000]}
    text: {type: text}
    choice: {type: choice, options: [a, bc]}
  runs:
  - """
PLAN, RUN, SET = (
    'service: /s\n    type: nav_msgs/srv/GetPlan\n    ',
    'action: /a\n    type: mimo_embodied_ros/action/RunSkill\n    ',
    'service: /s\n    type: std_srvs/srv/SetBool\n    ')
INFO = 'service: /s\n    type: sensor_msgs/srv/SetCameraInfo\n    request:\n      camera_info: '
TASK = 'action: /a\n    type: mimo_embodied_ros/action/PlanTask\n    goal:\n      '
JOINTS = 'topic: /t\n      type: sensor_msgs/msg/JointState\n'
TYPED_OTHERWISE = '{topic: /t, type: std_msgs/msg/Empty, equal: {a: 1}}'
PARAMETERS = ('service: /s\n    type: rcl_interfaces/srv/SetParameters\n    request:\n      '
              'parameters:\n')


def written(folder: Path, text: str) -> Path:
    path = folder / 'skills.yaml'
    path.write_text(text)
    return path


@pytest.mark.parametrize(('call', 'line', 'problem'), [
    ('action: /a\n    type: std_srvs/action/Do', 16, 'std_srvs/action/Do is not installed'),
    ('service: /s\n    type: absent_msgs/srv/Do', 16, 'install absent_msgs, or source'),
    ('service: /s\n    type: std_srvs/srv/Triger', 16, 'has no srv of this name; Trigger may be'),
    (RUN + 'goal:\n      skil: x', 18, 'has no field skil; it has skill, .*; skill may be meant'),
    (RUN + 'goal:\n      object_at:\n        point: {x: 1, w: 2}', 19,
     'geometry_msgs/msg/Point has no field w; it has x, y, z'),
    (RUN + 'goal:\n      skill: 5', 18, 'skill of .* is 5: give a text, in quotation marks'),
    (RUN + 'goal:\n      skill: "{number}"', 18, 'is 0.0: give a text'),
    (RUN + 'goal:\n      object_at: "{object.goal}"', 18, 'PointStamped has no field pose'),
    (RUN + 'goal:\n      object_at: "{object.frame}"', 18, 'give the fields of a .*PointStamped'),
    (RUN + 'goal: {}\n    expect:\n      error_code: no', 19, 'is False: give a number'),
    (RUN + 'goal: {}\n    expect:\n      succes: true', 19, 'RunSkill_Result has no field succes'),
    (RUN + 'goal: {}\n    expect:\n      error_code: 70000', 19, 'give one from 0 to 65535'),
    (SET + 'request: {data: 1}', 17, 'data of .* is 1: give true or false'),
    (PLAN + 'request:\n      tolerance: wide', 18, "tolerance of .* is 'wide': give a number"),
    (PLAN + 'request:\n      start:\n        header:\n          stamp:\n            sec: '
     '"{object.bearing}"\n            nanosec: -1', 22, 'give one from 0 to 4294967295'),
    (INFO + '{width: 1.5}', 18, 'width of .* is 1.5: give a whole number'),
    (INFO + '{k: [1, 2]}', 18, 'k of .* is .1, 2.: give 9 items'),
    (INFO + '{d: far}', 18, "d of .* is 'far': give a list"),
    (INFO + '\n        d:\n        - 1\n        - far', 21, "d of .*item 1 is 'far': give a n"),
    (TASK + 'cameras: "{object}"', 18, "cameras of .* is 'x': give a list"),
    (TASK + 'max_steps: "{number}"', 18, 'max_steps of .* is 300000.0: give one from 0 to 65535'),
    (TASK + 'timeout: soon', 18, 'give the fields of a builtin_interfaces/msg/Duration: sec'),
    (PARAMETERS + '      - name: x\n        value:\n          bool_value: "{text}"', 21,
     "bool_value of .* is 'x': give true or false"),
    (PARAMETERS + '      - name: x\n      - nam: x', 20, 'Parameter has no field nam'),
    ('service: /a b\n    type: std_srvs/srv/Trigger', 15, 'Invalid service name'),
    (SET + 'request: {}\n  - service: /s\n    type: std_srvs/srv/Trigger', 19,
     'another call of /s has the type std_srvs/srv/SetBool'),
])
def test_a_call_that_its_type_does_not_have_names_file_and_line(
    tmp_path: Path, call: str, line: int, problem: str
) -> None:
    path = written(tmp_path, SKILL + call + '\n')
    with pytest.raises(InvalidRequestError, match=f'^{path}, line {line}: .*{problem}'):
        load_checked_skills(path)


@pytest.mark.parametrize(('condition', 'line', 'problem'), [
    ('result: /s\n      equal:\n        succes: true', 7, 'Trigger_Response has no field succes'),
    ('result: /s\n      least:\n        success: 1', 7, 'is 1: give true or false'),
    ('topic: /t\n      type: absent_msgs/msg/T\n      equal: {a: 1}', 6, 'install absent_msgs'),
    ('topic: /a b\n      type: std_msgs/msg/Bool\n      equal: {data: true}', 5, 'Invalid topic'),
    ('topic: /t\n      type: std_msgs/msg/Bool\n      equal: {dat: true}', 7, 'no field dat;'),
    (f'{JOINTS}      joint: j\n      most:\n        positio: 1', 9, 'no field positio;'),
    (f'{JOINTS}      equal: {{name: []}}\n    - {TYPED_OTHERWISE}', 8,
     'another condition of /t has the type sensor_msgs'),
])
def test_a_condition_that_its_type_does_not_have_names_file_and_line(
    tmp_path: Path, condition: str, line: int, problem: str
) -> None:
    path = written(tmp_path, 'do:\n  description: Do it.\n  says: do\n  success:\n    - '
                   f'{condition}\n  runs: [{{service: /s, type: std_srvs/srv/Trigger}}]\n')
    with pytest.raises(InvalidRequestError, match=f'^{path}, line {line}: .*{problem}'):
        load_checked_skills(path)


@pytest.mark.parametrize(('fields', 'problem'), [
    ({'equal': {'position': 0.3, 'velocity': 0}}, ''),
    ({'equal': {'position': 0.2}}, r'position is [0.3] instead of [0.2] (b)'),
    ({'least': {'position': 0.3}, 'most': {'position': 0.3}}, ''),
    ({'least': {'position': 0.31}}, 'position is [0.3] instead of at least [0.31] (b)'),
    ({'most': {'position': 0.29}}, 'position is [0.3] instead of at most [0.29] (b)'),
    ({'least': {'effort': 0}}, 'effort is [] instead of at least [0] (b)'),
    ({'least': {'velocity': 0}, 'joint': 'a'}, 'velocity is [nan] instead of at least [0] (a)'),
    ({'least': {'header': {'stamp': {'sec': 6}}}, 'joint': ''},
     'header.stamp.sec is 5 instead of at least 6'),
])
def test_a_condition_is_about_fields_of_a_message_or_of_one_joint(
    fields: dict[str, Any], problem: str
) -> None:
    message = JointState(name=['a', 'b'], position=[0.1, 0.3], velocity=[math.nan, 0.0])
    message.header.stamp.sec = 5
    condition = Condition('/t', 'sensor_msgs/msg/JointState', **{'joint': 'b', **fields})
    assert concerns(condition, message)
    assert not condition.joint or not concerns(condition, JointState(name=['c']))
    assert unmet(condition, message) == problem


def test_what_fits_is_read_and_called_as_it_was_checked(tmp_path: Path) -> None:
    path = written(tmp_path, SKILL + RUN + """goal:
      skill: "{choice} of {number}"
      object: "{object}"
      object_at: {header: {frame_id: "{place.frame}"}, point: "{place.position}"}
    expect: {error_code: 0}
  - service: /plan
    type: nav_msgs/srv/GetPlan
    request: {start: "{object.goal}", goal: "{pose.goal}", tolerance: "{place.bearing}"}
  - action: /task
    type: mimo_embodied_ros/action/PlanTask
    goal: {timeout: "{number}", cameras: ["{text}"], max_image_age: {sec: "{number}"}}
""")
    skill = load_checked_skills(path)['do']
    from mimo_embodied_ros.ros import skill_interfaces

    step = skill_interfaces._step(skill, 1)
    values = placeholder_values(step, skill, 'base', 0.5)
    goals = [set_fields(kind(), fill_placeholders(call.fields, step, values))
             for kind, call in zip((RunSkill.Goal, GetPlan.Request, PlanTask.Goal), skill.runs)]
    assert goals[0].skill == 'bc of 300000.0'
    assert goals[1].start.header.frame_id == 'base'
    assert goals[2].timeout == Duration(sec=300000)
    assert goals[2].max_image_age == Duration(sec=300000)


def test_the_skills_that_are_shipped_fit_what_is_installed() -> None:
    said: list[str] = []
    for path in sorted(SKILL_FILES.glob('*.yaml')):
        assert load_checked_skills(path, said.append)
    assert not [text for text in said if 'mimo_embodied_ros' in text]


def test_a_node_that_only_plans_is_told_which_types_it_cannot_check(tmp_path: Path) -> None:
    path = written(tmp_path, SKILL + 'service: /s\n    type: absent_msgs/srv/Do\n    '
                   'request: {anything: "{object}"}\n')
    said: list[str] = []
    assert load_checked_skills(path, said.append)['do'].runs[0].name == '/s'
    assert said == [
        f'{path}: absent_msgs/srv/Do is not installed here, so what uses it was not checked']


def test_servers_and_topics_that_are_absent_or_of_another_type_are_named(
    ros: Any, tmp_path: Path
) -> None:
    node = ros.node('robot', namespace='/r')
    node.create_client(SetBool, '/s')  # a client is no server
    skills = load_checked_skills(written(tmp_path, SKILL + RUN.replace('/a', 'a', 1) + 'goal: {}\n'
                                         '  - ' + SET + 'request: {}\n'))
    condition = Condition('t', 'std_msgs/msg/Bool', equal={'data': True})
    sensed = {'do': replace(skills['do'], runs=(), conditions=(condition,))}
    assert absent_endpoints(node, sensed) == ['the topic /r/t (std_msgs/msg/Bool) has no publisher']
    publisher = node.create_publisher(Empty, 't', 1)
    ros.wait_for(lambda: [*absent_endpoints(node, sensed)] == [
        'the topic /r/t is of type std_msgs/msg/Empty, not std_msgs/msg/Bool'])
    node.destroy_publisher(publisher)
    node.create_publisher(Bool, 't', 1)
    ros.wait_for(lambda: not absent_endpoints(node, sensed))
    assert absent_endpoints(node, skills) == [
        'the action /r/a (mimo_embodied_ros/action/RunSkill) has no server',
        'the service /s (std_srvs/srv/SetBool) has no server']
    node.create_service(SetBool, '/s', lambda _, response: response)
    from rclpy.action import ActionServer

    server = ros.call(ActionServer, node, RunSkill, 'a', lambda _: RunSkill.Result())
    ros.wait_for(lambda: not absent_endpoints(node, skills))
    ros.call(server.destroy)
    ros.wait_for(lambda: len(absent_endpoints(node, skills)) == 1)
    node.create_service(Trigger, 'a/_action/send_goal', lambda _, response: response)
    ros.wait_for(lambda: [*absent_endpoints(node, skills)] == [
        'the action /r/a is of type std_srvs/srv/Trigger, not mimo_embodied_ros/action/RunSkill'])
