"""Values that an executor puts into the calls of a skill: words, numbers and positions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from geometry_msgs.msg import Point, Vector3

from mimo_embodied_ros import msg
from mimo_embodied_ros.core.answers import ArgumentType
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.ros.placeholders import fill_placeholders, placeholder_values
from support.paths import SKILL_FILES

if TYPE_CHECKING:
    from mimo_embodied_ros.core.skills import Skill

SKILLS = load_skills(SKILL_FILES / 'mobile_base.yaml')
OK, NO_DEPTH = msg.AffordancePoint.OK, msg.AffordancePoint.NO_DEPTH
HELD, NOT_VISIBLE, SEEN = (
    msg.SkillArgument.HELD, msg.SkillArgument.NOT_VISIBLE, msg.SkillArgument.SEEN)


def step(skill: str, **values: Any) -> tuple[msg.TaskStep, Skill]:
    """A step with one argument, which has these fields."""
    argument = msg.SkillArgument(name=SKILLS[skill].arguments[0].name)
    argument.type = int(SKILLS[skill].arguments[0].type)
    for name, value in values.items():
        setattr(argument, name, value)
    return msg.TaskStep(skill=skill, arguments=[argument]), SKILLS[skill]


def test_a_number_stays_a_number() -> None:
    values = placeholder_values(*step('wait', number=2.5, value='2.5'), 'base_link', 0.8)
    assert values == {'duration': 2.5}


def test_a_pose_by_name_is_that_of_the_file() -> None:
    task_step, skill = step('go_to_pose', value='kitchen')
    values = placeholder_values(task_step, skill, 'base_link', 0.8)
    assert values['pose'] == 'kitchen'
    goal = fill_placeholders(skill.runs[0].fields, task_step, values)['pose']
    assert goal['header'] == {'frame_id': 'map'}
    assert goal['pose']['position'] == {'x': 3.5, 'y': 1.0, 'z': 0.0}
    turned = goal['pose']['orientation']  # by 90 degrees
    assert (turned['z'], turned['w']) == pytest.approx((math.sqrt(0.5), math.sqrt(0.5)))


@pytest.mark.parametrize('normal', [None, (0.0, -1.0, 0.0)])
def test_a_thing_that_is_seen_is_stopped_before_and_reached_for_against_its_normal(
    normal: tuple[float, float, float] | None
) -> None:
    point = msg.AffordancePoint(position=Point(x=0.0, y=2.0, z=0.3), position_status=OK)
    if normal is not None:
        point.normal_valid, point.normal = True, Vector3(**dict(zip('xyz', normal)))
    values = placeholder_values(
        *step('go_to', value='door', grounding=SEEN, point=point), 'base_link', 0.8)
    assert values['place.frame'] == 'base_link'
    assert values['place.bearing'] == pytest.approx(math.pi / 2)
    stop = values['place.goal']['pose']['position']
    assert (stop['x'], stop['y']) == pytest.approx((0.0, 1.2))
    away = normal or (0.0, 0.0, 1.0)  # from above where the normal is not known
    approach = [values['place.approach'][axis] for axis in 'xyz']
    offset = [a - b for a, b in zip(approach, (0.0, 2.0, 0.3))]
    distance = math.dist(approach, (0.0, 2.0, 0.3))
    assert distance > 0
    assert [value / distance for value in offset] == pytest.approx(away)


@pytest.mark.parametrize(('fields', 'says'), [
    ({'grounding': HELD}, 'place.goal is not known: the robot holds door'),
    ({'grounding': NOT_VISIBLE}, 'place.goal is not known: door is not visible'),
    ({'grounding': SEEN, 'point': msg.AffordancePoint(
        position_status=NO_DEPTH, position_problem='no depth image')}, 'no depth image'),
    ({}, 'set target_frame'),
])
def test_a_position_that_is_not_known_is_refused_with_the_reason(
    fields: dict[str, Any], says: str
) -> None:
    task_step, skill = step('go_to', value='door', **fields)
    assert task_step.arguments[0].type == ArgumentType.PLACE
    values = placeholder_values(task_step, skill, 'base_link', 0.8)
    with pytest.raises(InvalidRequestError, match=says):
        fill_placeholders(skill.runs[0].fields, task_step, values)
