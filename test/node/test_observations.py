"""What answers have shown at which places, as the node publishes it, over real DDS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from mimo_embodied_ros import action, msg
from mimo_embodied_ros.ros.images import decode_compressed
from support.robot import FRAME
from support.seeing_robot import DEPTH, K, Seeing
from support.tabletop import INSTRUCTION, SCENE, draw_tabletop

if TYPE_CHECKING:
    from pathlib import Path

CUBE, *OTHERS = SCENE.things
AHEAD = [-0.5, 0.5, -0.5, 0.5]  # of the camera on the base, see support.seeing_robot


@pytest.fixture
def robot(ros: Any, tmp_path: Path) -> Seeing:
    return Seeing(ros, tmp_path)


@pytest.fixture
def observed(robot: Seeing) -> list[Any]:
    observed: list[Any] = robot.received(msg.Observation, '/mimo_embodied/observation')
    robot.ros.wait_for(robot.node.topics.observations.get_subscription_count)
    return observed


def test_an_observation_has_the_place_the_view_and_a_small_picture(
    robot: Seeing, observed: list[Any]
) -> None:
    header = robot.see_depth()
    answer = robot.find('base_link').affordances
    seen = robot.ros.wait_for(lambda: observed and observed[-1])
    assert (seen.header, seen.camera, seen.base) == (header, 'camera', answer.base)
    assert (seen.kind, seen.text, seen.complete) == ('find_affordances', 'red cube', True)
    thing, = seen.things
    assert thing.name == answer.points[0].label == 'red cube'
    assert (thing.x, thing.y) == (answer.points[0].x, answer.points[0].y)
    assert (seen.frame_id, thing.position) == ('base_link', answer.points[0].position)
    # the view leads from the pixel and its depth to the position
    at, turn = seen.camera_pose.position, seen.camera_pose.orientation
    assert (at.x, at.y, at.z) == pytest.approx((0.2, 0, 0.5))
    assert [turn.x, turn.y, turn.z, turn.w] == pytest.approx(AHEAD)
    assert (seen.fx, seen.cx) == (K[0], K[2] + 0.5)
    left = (seen.cx - thing.x) / seen.fx * DEPTH
    assert thing.position.y == pytest.approx(left)
    depth = np.reshape(seen.depth, (-1, seen.depth_columns))
    assert depth.shape == (48, 64)
    assert depth == pytest.approx(DEPTH)
    picture = decode_compressed(seen.picture)
    assert picture.shape == (240, 320, 3)
    assert np.abs(picture.astype(int) - SCENE.pixels[::2, ::2]).mean() < 6


def test_what_is_not_there_is_observed_too(robot: Seeing, observed: list[Any]) -> None:
    robot.see_depth(pixels=draw_tabletop(OTHERS).pixels)
    assert not robot.find(FRAME).affordances.points
    seen = robot.ros.wait_for(lambda: observed and observed[-1])
    assert (seen.text, seen.complete, seen.things) == ('red cube', True, [])


def test_a_plan_names_its_things(robot: Seeing, observed: list[Any]) -> None:
    robot.see_depth()
    plan = robot.ask(action.PlanTask, 'plan_task', instruction=INSTRUCTION,
                     target_frame=FRAME).result.plan
    seen = robot.ros.wait_for(lambda: observed and observed[-1])
    assert not seen.complete
    assert {thing.name for thing in seen.things} == {
        point.label or step.object for step in plan.steps for point in step.points}


def test_without_a_place_there_is_no_observation(robot: Seeing, observed: list[Any]) -> None:
    robot.see_depth()
    robot.find('')
    robot.find('frame of nobody')
    robot.ask(action.AnswerSpatial, 'answer_spatial', target_frame=FRAME,
              question='Is the green ball in the top or in the bottom half?')
    robot.find(FRAME)
    seen = robot.ros.wait_for(lambda: observed)
    assert [(o.frame_id, o.text) for o in seen] == [(FRAME, 'red cube')]
