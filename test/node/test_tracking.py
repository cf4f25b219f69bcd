"""Points that are followed from image to image, over real DDS with the embedded model."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration
from rclpy.lifecycle import TransitionCallbackReturn

from mimo_embodied_ros import action, msg
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.ros.images import encode_image
from support.documentation import run_python_blocks
from support.paths import DOCS
from support.tabletop import SCENE, draw_tabletop

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from support.robot import Robot

TRACKED, LOST, ASKED_AGAIN = (
    msg.TrackedPoint.TRACKED, msg.TrackedPoint.LOST, msg.TrackedPoint.ASKED_AGAIN)
CUBE, *OTHERS = SCENE.things
STEP = 8  # pixels from image to image


def moved(pixels: int) -> NDArray[np.uint8]:
    """The table, with the red cube moved to the right."""
    return draw_tabletop((replace(CUBE, x=CUBE.x + pixels), *OTHERS)).pixels


def track(robot: Robot, feedback: list[Any] | None = None, **goal: Any) -> Any:
    return robot.send(action.TrackAffordances, 'track_affordances', feedback,
                      **{'query': 'red cube', **goal})


def point(feedback: list[Any]) -> Any:
    return feedback[-1].affordances.points[0]


def see_and_hear(robot: Robot, pixels: NDArray[np.uint8], feedback: list[Any]) -> Any:
    """Publish an image and wait for the first feedback about it; return its message."""
    header = robot.see(pixels)
    # a new answer may soon tell of the same image
    return robot.ros.wait_for(lambda: next(
        (f.affordances for f in feedback if f.affordances.header == header), None))


def is_watched(robot: Robot) -> bool:
    """Whether the images of the camera are decoded although nobody asks."""
    return any('follow camera' in thread.name for thread in threading.enumerate())


def test_a_point_stays_on_a_thing_that_moves(robot: Robot) -> None:
    feedback: list[Any] = []
    topic = robot.received(msg.TrackedAffordances, '/mimo_embodied/tracked_affordances')
    robot.see()
    handle = track(robot, feedback)
    robot.ros.wait_for(lambda: feedback)
    first = point(feedback)
    assert first.state == TRACKED
    assert abs(first.point.x - CUBE.x) < CUBE.radius
    for number in range(1, 8):
        message = see_and_hear(robot, moved(number * STEP), feedback)
        now, = message.points
        assert now.state == TRACKED
        assert abs(now.point.x - first.point.x - number * STEP) < 2
        assert abs(now.point.y - first.point.y) < 2
        assert now.uncertainty < 3
    assert message.camera == 'camera'
    assert (message.image_width, message.image_height) == (640, 480)
    assert now.answer_age.sec + now.answer_age.nanosec > 0
    handle.cancel_goal_async()
    ended = robot.result(handle)
    assert ended.status == GoalStatus.STATUS_CANCELED
    assert ended.result.error_code == ResultCode.CANCELLED
    assert (ended.result.answers, ended.result.images) == (1, 8)
    assert ended.result.affordances == message
    robot.ros.wait_for(lambda: len(topic) == len(feedback))
    robot.ros.wait_for(lambda: not is_watched(robot))


def test_the_model_is_asked_again_about_a_point_that_is_lost(robot: Robot) -> None:
    feedback: list[Any] = []
    prompts = robot.prompts()
    robot.see(age_s=1.0)  # what is not seen for a moment only may be occluded
    track(robot, feedback, ask_again_after=Duration(nanosec=50_000_000))
    robot.ros.wait_for(lambda: feedback)
    # nothing is where the cube was
    without = see_and_hear(robot, draw_tabletop(OTHERS).pixels, feedback).points[0]
    assert without.state in {LOST, ASKED_AGAIN}
    assert math.isnan(without.point.x)
    assert math.isnan(without.uncertainty)
    robot.ros.wait_for(lambda: len(prompts) > 1)
    header = robot.see(moved(150))

    def found() -> bool:
        tracked = feedback[-1].affordances
        return bool(tracked.header == header and tracked.points
                    and tracked.points[0].state == TRACKED)

    robot.ros.wait_for(found)
    assert abs(point(feedback).point.x - CUBE.x - 150) < CUBE.radius
    assert point(feedback).answer_age == Duration()


def test_the_model_is_asked_again_at_once_where_a_bag_begins_anew(robot: Robot) -> None:
    feedback: list[Any] = []
    robot.see()
    track(robot, feedback, ask_again_after=Duration(nanosec=10_000_000))
    for number in range(1, 4):
        see_and_hear(robot, moved(number), feedback)
    robot.see(moved(STEP), age_s=100.0)
    robot.ros.wait_for(lambda: not point(feedback).answer_age.sec
                       and point(feedback).answer_age == Duration())
    assert point(feedback).state == TRACKED
    assert abs(point(feedback).point.x - CUBE.x - STEP) < CUBE.radius


def test_a_point_that_is_lost_stays_so_where_nobody_is_asked(robot: Robot) -> None:
    feedback: list[Any] = []
    prompts = robot.prompts()
    robot.see()
    track(robot, feedback, ask_again_after=Duration(sec=-1))
    robot.ros.wait_for(lambda: feedback)
    for _ in range(5):
        message = see_and_hear(robot, draw_tabletop(OTHERS).pixels, feedback)
    assert message.points[0].state == LOST
    assert len(prompts) == 1


def test_what_is_not_there_is_asked_for_until_it_comes(robot: Robot) -> None:
    feedback: list[Any] = []
    robot.see(draw_tabletop(OTHERS).pixels)
    track(robot, feedback, ask_again_after=Duration(nanosec=50_000_000))
    robot.ros.wait_for(lambda: feedback)
    assert not feedback[-1].affordances.points
    robot.see()
    robot.ros.wait_for(lambda: feedback[-1].affordances.points)
    assert point(feedback).state == TRACKED


@pytest.mark.parametrize(('kind', 'name', 'request_field', 'text'), [
    (action.FindAffordances, 'find_affordances', 'query', 'red cube'),
    (action.PlanTask, 'plan_task', 'instruction', 'put the red cube in the blue bowl'),
])
def test_an_answer_is_carried_to_the_newest_image(
    robot: Robot, kind: Any, name: str, request_field: str, text: str
) -> None:
    thinks, may_answer = threading.Event(), threading.Event()
    generate = robot.node.engine.generate

    def slow(prompt: Any, **options: Any) -> Any:
        thinks.set()
        may_answer.wait()
        return generate(prompt, **options)

    robot.node.engine.generate = slow
    asked = robot.see()
    handle = robot.send(kind, name, **{request_field: text, 'follow': True})
    robot.ros.wait_for(thinks.is_set)
    camera = robot.node.session.followed('')
    for number in range(1, 8):
        header = robot.see(moved(number * STEP))
        robot.ros.wait_for(
            lambda n=number: camera._recent[-1].frame.pixels.tobytes() == moved(n * STEP).tobytes())
    may_answer.set()
    result = robot.result(handle).result
    answer = result.affordances if name == 'find_affordances' else result.plan
    assert answer.header == asked
    places = answer.points if name == 'find_affordances' else answer.steps[0].points
    assert result.newest.header == header
    now = result.newest.points[0]
    assert now.state == TRACKED
    assert abs(now.point.x - places[0].x - 7 * STEP) < 2
    robot.ros.wait_for(lambda: not is_watched(robot))


def test_without_follow_nothing_is_decoded_but_what_is_asked_about(robot: Robot) -> None:
    robot.see()
    result = robot.ask(action.FindAffordances, 'find_affordances', query='red cube').result
    assert result.newest == msg.TrackedAffordances()
    assert not is_watched(robot)


def test_a_goal_ends_after_its_duration_and_keeps_its_rate(robot: Robot) -> None:
    feedback: list[Any] = []
    robot.see()
    handle = track(robot, feedback, rate=0.001, duration=Duration(sec=1))
    robot.ros.wait_for(lambda: feedback)
    for number in range(1, 4):
        robot.see(moved(number))
    ended = robot.result(handle)
    assert ended.status == GoalStatus.STATUS_SUCCEEDED
    assert ended.result.error_code == ResultCode.NONE
    assert len(feedback) == 1


@pytest.mark.parametrize(('goal', 'reason'), [
    ({'rate': -1.0}, 'rate is -1'),
    ({'rate': math.nan}, 'rate is nan'),
    ({'duration': Duration(sec=-1)}, 'duration is -1'),
    ({'camera': 'rear'}, "there is no camera 'rear'"),
    ({'task': 'boxes'}, 'gives no points'),
    ({'task': 'paint'}, "no task 'paint'"),
    ({'timeout': Duration(sec=-1)}, 'timeout is -1'),
])
def test_a_goal_that_cannot_be_served_says_why(
    robot: Robot, goal: dict[str, Any], reason: str
) -> None:
    robot.see()
    ended = robot.result(track(robot, **goal))
    assert ended.status == GoalStatus.STATUS_ABORTED
    assert ended.result.error_code == ResultCode.INVALID_REQUEST
    assert reason in ended.result.error_msg
    robot.ros.wait_for(lambda: not is_watched(robot))


def test_follow_needs_a_camera(robot: Robot) -> None:
    result = robot.ask(action.FindAffordances, 'find_affordances', query='red cube', follow=True,
                       images=[encode_image(SCENE.pixels)]).result
    assert result.error_code == ResultCode.INVALID_REQUEST
    assert 'follow needs a camera' in result.error_msg


def test_deactivation_ends_a_goal(robot: Robot) -> None:
    feedback: list[Any] = []
    robot.see()
    handle = track(robot, feedback)
    robot.ros.wait_for(lambda: feedback)
    assert robot.ros.call(robot.node.trigger_deactivate) is TransitionCallbackReturn.SUCCESS
    ended = robot.result(handle)
    assert ended.status == GoalStatus.STATUS_ABORTED
    assert ended.result.error_code == ResultCode.PREEMPTED
    refused = robot.result(track(robot)).result
    assert refused.error_code == ResultCode.MODEL_NOT_READY


def test_the_example_of_the_docs_prints_where_the_cube_is(robot: Robot, tmp_path: Path) -> None:
    robot.see()
    printed = run_python_blocks(DOCS / 'tracking.md', robot.ros.environment, tmp_path)
    assert printed.split() == [
        str(float(round(CUBE.x, -2))), str(float(round(CUBE.y, -2))), 'True']
