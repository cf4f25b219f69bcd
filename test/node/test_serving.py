"""Many requests to one node: their order, shared answers, and exactly one end for each."""

from __future__ import annotations

import itertools
import math
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from action_msgs.msg import GoalInfo, GoalStatus
from action_msgs.srv import CancelGoal
from builtin_interfaces.msg import Duration
from lifecycle_msgs.msg import State
from nav_msgs.msg import Odometry
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from unique_identifier_msgs.msg import UUID

from mimo_embodied_ros import action, msg, srv
from mimo_embodied_ros.core.errors import OutOfMemoryError, ResultCode
from mimo_embodied_ros.ros import messages
from mimo_embodied_ros.ros.images import encode_image
from mimo_embodied_ros.ros.stamps import nanoseconds_of
from mimo_embodied_ros.worlds import road_scene, table_scene
from support.robot import FRAME, Robot
from support.tabletop import SCENE
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from pathlib import Path

LEFT = 'Is the red cube left of the blue bowl?'
LONG = 'put the red cube and the green ball in the blue bowl'


@pytest.fixture
def waiting(ros: Any) -> Robot:
    """With one runner and no image: the first goal waits for an image, the others queue."""
    return Robot(ros, max_batch=1, wait_for_image=WAIT_S).start()


def spatial(robot: Robot, question: str = LEFT, **goal: Any) -> Any:
    return robot.ask(action.AnswerSpatial, 'answer_spatial', question=question, **goal).result


# -- shared work


def test_equal_questions_about_a_frame_are_answered_once(robot: Robot) -> None:
    prompts = robot.prompts()
    robot.see()
    handles = [robot.send(action.AnswerSpatial, 'answer_spatial', question=LEFT) for _ in range(4)]
    results = [robot.result(handle).result for handle in handles]
    assert all(result.answer == results[0].answer for result in results)
    assert len(prompts) == 1
    feedback: list[Any] = []
    again = robot.result(
        robot.send(action.AnswerSpatial, 'answer_spatial', feedback, question=LEFT)).result
    assert len(prompts) == 1
    assert again.answer == results[0].answer
    assert again.stats.completion_tokens == results[0].stats.completion_tokens > 0
    assert again.stats.first_token_time == Duration()
    robot.ros.wait_for(lambda: ''.join(f.delta for f in feedback) == again.raw_text)
    spatial(robot, 'Is the red cube right of the blue bowl?')
    spatial(robot, max_new_tokens=40)
    assert len(prompts) == 3
    robot.see()
    spatial(robot)
    assert len(prompts) == 4


def held(robot: Robot, text: str = LEFT) -> tuple[list[Any], threading.Event]:
    """Let questions of this text wait for the event; returns their prompts and the event."""
    asked, release, generate = [], threading.Event(), robot.node.engine.generate

    def hold(prompt: Any, **options: Any) -> Any:
        if text in prompt.text:
            asked.append(prompt)
            wait_for(lambda: release.is_set() or options['cancelled']())
        return generate(prompt, **options)

    robot.node.engine.generate = hold
    return asked, release


def test_equal_questions_leave_the_runners_to_others(ros: Any) -> None:
    """Four equal ones with four runners; each has its own feedback and its own cancel."""
    robot = Robot(ros, max_batch=4).start()
    asked, release = held(robot)
    robot.see()
    feedback: list[list[Any]] = [[] for _ in range(4)]
    try:
        handles = [robot.send(action.AnswerSpatial, 'answer_spatial', heard, question=LEFT)
                   for heard in feedback]
        scheduler = robot.node.session.scheduler
        ros.wait_for(lambda: len(scheduler) == 3)
        assert scheduler.running == len(asked) == 1
        urgent = spatial(robot, 'Is the red cube right of the blue bowl?', priority=9)
        assert urgent.error_code == ResultCode.NONE
        assert len(scheduler) == 3
        first = next(job for job in list(scheduler._running))
        leading = next(h for h in handles if robot.node._goals._requests[bytes(h.goal_id.uuid)]
                       is first)
        ros.wait_for(ros.call(leading.cancel_goal_async).done)
        assert robot.result(leading).result.error_code == ResultCode.CANCELLED
    finally:
        release.set()
    others = [(h, heard) for h, heard in zip(handles, feedback) if h is not leading]
    for handle, heard in others:
        result = robot.result(handle).result
        assert result.error_code == ResultCode.NONE
        ros.wait_for(lambda h=heard, r=result: ''.join(f.delta for f in h) == r.raw_text)
    assert len(asked) == 1


def test_driving_advice_reads_its_image_once_whatever_the_cache_holds(
    ros: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Three questions of one request; the node says what would keep the image for others."""
    robot = Robot(ros, odometry_topic='odom').start()
    robot.node.engine._batch.vision.cache._capacity = 1000  # bytes; an image takes more
    odometry = robot.other.create_publisher(Odometry, 'odom', 1)
    ros.wait_for(odometry.get_subscription_count)
    seen: list[int] = []
    vision = robot.node.engine._batch.vision
    tower = vision._tower
    vision._tower = lambda patches, grids: (seen.append(len(grids)), tower(patches, grids))[1]
    prompts = robot.prompts()
    road = road_scene.draw_road(random.Random(3), 1280, 720).pixels
    header = robot.see(road)
    odometry.publish(Odometry(header=header, child_frame_id='base_link'))
    intake, stamp_ns = robot.node.session.intake, nanoseconds_of(header.stamp)
    ros.wait_for(lambda: intake.odometry.at(stamp_ns) is not None)
    result = robot.ask(action.PlanDriving, 'plan_driving', locate_hazards=True,
                       trajectory=True).result
    assert len(prompts) >= 3, result.error_msg
    assert seen == [1]
    needed = robot.node.engine.memory().cache_needed
    assert needed > 1000
    ros.wait_for(lambda: f'set cache_mb to {math.ceil(needed / 1e6)}' in capfd.readouterr().err)


def test_images_in_goals_are_the_same_if_their_pixels_are(robot: Robot) -> None:
    prompts = robot.prompts()
    header = Header(frame_id='elsewhere')
    other = SCENE.pixels.copy()
    other[0, 0] ^= 1
    for pixels in (SCENE.pixels, SCENE.pixels, other):
        spatial(robot, images=[encode_image(pixels, header)])
    assert len(prompts) == 2


def test_an_image_is_decoded_once_however_many_ask(ros: Any) -> None:
    robot = Robot(ros, camera__depth_topic='camera/depth').start()
    depth = robot.other.create_publisher(Image, 'camera/depth', 1)
    odometry = robot.other.create_publisher(Odometry, 'odom', 1)
    ros.wait_for(lambda: depth.get_subscription_count() and odometry.get_subscription_count())
    intake = robot.node.session.intake

    def frame() -> Any:
        return intake.frame('', 0.0, 0.0, lambda: False)

    header = robot.see()
    first = frame()
    assert frame().pixels is first.pixels
    depth.publish(Image(header=header, width=2, height=2, step=4, encoding='16UC1',
                        data=np.full(4, 1500, '<u2').tobytes()))
    odometry.publish(Odometry(header=header, child_frame_id='base'))
    ros.wait_for(lambda: frame().depth is not None and frame().odometry is not None)
    assert frame().pixels is first.pixels
    assert frame().depth is frame().depth
    assert frame().image_id == first.image_id
    robot.see()
    assert frame().pixels is not first.pixels
    assert frame().image_id != first.image_id


def test_a_camera_without_a_clock_still_shows_what_is_new(ros: Any) -> None:
    robot = Robot(ros, max_image_age=0.0).start()
    stream: Any = robot.node.session.intake.cameras['camera'].image
    empty = table_scene.draw_table(random.Random(1), 640, 480, things=(
        table_scene.Thing('blue', 'bowl', 420, 200, 58),))
    answers = []
    for number, scene in enumerate((SCENE, empty), 1):
        robot.camera.publish(encode_image(scene.pixels, Header(frame_id=FRAME)))
        ros.wait_for(lambda n=number: stream.poll() or stream.received == n)
        answers.append(robot.ask(action.FindAffordances, 'find_affordances',
                              query='red cube').result.affordances.points)
    assert [len(points) for points in answers] == [1, 0]


# -- whose turn it is


def test_callers_take_turns(waiting: Robot) -> None:
    order: list[str] = []
    asks = [('greedy', n) for n in range(4)] + [('modest', n) for n in range(2)]
    handles = [waiting.send(action.Ask, 'ask', question=f'What do you see, {name} {n}?',
                            caller=name) for name, n in asks]
    for (name, _), handle in zip(asks, handles):
        waiting.ros.call(handle.get_result_async).add_done_callback(
            lambda _, n=name: order.append(n))
    waiting.see()
    waiting.ros.wait_for(lambda: len(order) == len(asks))
    assert order == ['greedy', 'modest', 'greedy', 'modest', 'greedy', 'greedy']


def test_a_goal_that_waits_ends_at_its_deadline(waiting: Robot) -> None:
    waiting.send(action.Ask, 'ask', question='one')
    begin = time.monotonic()
    reply = waiting.ask(action.Ask, 'ask', question='two', timeout=Duration(nanosec=200_000_000))
    assert 0.2 <= time.monotonic() - begin < WAIT_S / 2  # long before there is room for it
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert ResultCode(reply.result.error_code) is ResultCode.TIMEOUT
    assert 'raise timeout' in reply.result.error_msg


def test_a_call_that_waits_does_not_hold_up_the_node(ros: Any) -> None:
    robot = Robot(ros, wait_for_image=WAIT_S).start()
    client = robot.other.create_client(srv.GetTaskPlan, '/mimo_embodied/get_task_plan')
    assert client.wait_for_service(WAIT_S)
    calls = [client.call_async(srv.GetTaskPlan.Request(instruction='pick up the red cube'))
             for _ in range(2)]
    handle = robot.send(action.Ask, 'ask', question='What do you see?')
    robot.see()  # which it would not take
    assert robot.result(handle).result.error_code == ResultCode.NONE
    for call in calls:
        ros.wait_for(call.done)
        assert call.result().error_code == ResultCode.NONE


# -- one end for each goal


class Ends:
    """Collects the end states that the node publishes for each goal of an action."""

    OVER = (GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED)

    def __init__(self, robot: Robot, name: str) -> None:
        from action_msgs.msg import GoalStatusArray
        from rclpy.qos import qos_profile_action_status_default

        self.of: dict[bytes, set[int]] = {}
        robot.other.create_subscription(
            GoalStatusArray, f'/mimo_embodied/{name}/_action/status', self._note,
            qos_profile_action_status_default)

    def _note(self, array: Any) -> None:
        for status in array.status_list:
            if status.status in self.OVER:
                self.of.setdefault(bytes(status.goal_info.goal_id.uuid), set()).add(status.status)


def test_cancel_before_the_goal_is_acknowledged(robot: Robot) -> None:
    robot.see()
    ends = Ends(robot, 'plan_task')
    robot.ask(action.PlanTask, 'plan_task', instruction='pick up the red cube')
    client = robot.clients['plan_task']
    cancel = robot.other.create_client(CancelGoal, '/mimo_embodied/plan_task/_action/cancel_goal')
    assert cancel.wait_for_service(WAIT_S)
    for _ in range(20):
        key = uuid.uuid4().bytes
        goal_id = UUID(uuid=list(key))
        sent, cancelled = robot.ros.call(lambda g=goal_id: (
            client.send_goal_async(action.PlanTask.Goal(instruction=LONG), goal_uuid=g),
            cancel.call_async(CancelGoal.Request(goal_info=GoalInfo(goal_id=g)))))
        robot.ros.wait_for(lambda a=cancelled, s=sent: a.done() and s.done())
        assert sent.result().accepted
        taken = bool(cancelled.result().goals_canceling)
        reply = robot.result(sent.result())
        # the request may have come before the goal, which then nobody knew
        wanted = GoalStatus.STATUS_CANCELED if taken else GoalStatus.STATUS_SUCCEEDED
        assert reply.status == wanted
        robot.ros.wait_for(lambda k=key: k in ends.of)
        assert ends.of[key] == {wanted}


def test_cancel_at_any_time_leads_to_the_end_that_its_answer_announces(robot: Robot) -> None:
    robot.see()
    ends = Ends(robot, 'plan_task')
    seen = set()
    for tokens in itertools.chain([0, 1, 5, 20], range(40, 200, 10)):
        feedback: list[Any] = []
        handle = robot.send(action.PlanTask, 'plan_task', feedback, instruction=LONG,
                            max_new_tokens=400 + tokens)  # so that no answer is shared
        result = robot.ros.call(handle.get_result_async)
        robot.ros.wait_for(lambda f=feedback, r=result, t=tokens: (
            r.done() or t == 0 or any(m.tokens >= t for m in f)))
        cancels = [robot.ros.call(handle.cancel_goal_async) for _ in range(2)]
        robot.ros.wait_for(lambda c=cancels: all(future.done() for future in c))
        robot.ros.wait_for(result.done)
        key = bytes(handle.goal_id.uuid)
        taken = any(future.result().goals_canceling for future in cancels)
        status, answer = result.result().status, result.result().result
        assert (status == GoalStatus.STATUS_CANCELED) is taken
        assert (answer.error_code == ResultCode.CANCELLED) is taken
        robot.ros.wait_for(lambda k=key: k in ends.of)
        assert ends.of[key] == {status}
        seen.add(taken)
    assert seen == {True, False}  # the last came after the end


def test_cancel_while_positions_are_found(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifting, go = threading.Event(), threading.Event()
    lift = messages.answer_message

    def slow(*arguments: Any) -> Any:
        lifting.set()
        assert go.wait(WAIT_S)
        return lift(*arguments)

    monkeypatch.setattr(messages, 'answer_message', slow)
    robot.see()
    handle = robot.send(action.FindAffordances, 'find_affordances', query='red cube',
                        target_frame=FRAME)
    assert lifting.wait(WAIT_S)
    cancel = robot.ros.call(handle.cancel_goal_async)
    robot.ros.wait_for(cancel.done)
    reply = robot.result(handle)
    go.set()
    assert reply.status == GoalStatus.STATUS_CANCELED
    assert ResultCode(reply.result.error_code) is ResultCode.CANCELLED


CLIENT = """
import sys, time
import rclpy
from rclpy.action import ActionClient
from mimo_embodied_ros import action, srv
rclpy.init()
node = rclpy.create_node('mortal')
client = ActionClient(node, action.Ask, '/mimo_embodied/ask')
call = node.create_client(srv.GetTaskPlan, '/mimo_embodied/get_task_plan')
assert client.wait_for_server(120) and call.wait_for_service(120)
goals = [client.send_goal_async(action.Ask.Goal(question=f'What is it? {n}')) for n in range(3)]
call.call_async(srv.GetTaskPlan.Request(instruction='pick up the red cube'))
for goal in goals:
    rclpy.spin_until_future_complete(node, goal)
    assert goal.result().accepted
print('accepted', flush=True)
time.sleep(600)
"""


def test_clients_that_die_leave_nothing_behind(ros: Any, tmp_path: Path) -> None:
    robot = Robot(ros, max_batch=2, wait_for_image=WAIT_S, timeout=10.0).start()
    client = subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(CLIENT)], env=ros.environment,
        cwd=tmp_path,  # not where the sources would be imported
        stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    assert client.stdout.readline() == 'accepted\n'
    ros.wait_for(lambda: len(robot.node._goals._requests) == 3)
    client.send_signal(signal.SIGKILL)
    client.wait()
    client.stdout.close()
    ros.wait_for(lambda: not robot.node._goals._requests)
    scheduler = robot.node.session.scheduler
    ros.wait_for(lambda: not scheduler.running and not len(scheduler))
    robot.see()
    assert robot.ask(action.Ask, 'ask', question='What do you see?').result.error_code == 0


# -- failures


def test_a_request_that_fails_fails_alone(robot: Robot) -> None:
    robot.see()
    generate = robot.node.engine.generate

    def scarce(prompt: Any, **options: Any) -> Any:
        if 'everything' in prompt.text:
            raise OutOfMemoryError('too much of everything')
        if 'nothing' in prompt.text:
            raise ZeroDivisionError('a fault')
        return generate(prompt, **options)

    robot.node.engine.generate = scarce
    handles = [robot.send(action.Ask, 'ask', question=question) for question in (
        'Tell me everything.', 'Tell me nothing.', 'What do you see?')]
    codes = [ResultCode(robot.result(handle).result.error_code) for handle in handles]
    assert codes == [ResultCode.OUT_OF_MEMORY, ResultCode.BACKEND_ERROR, ResultCode.NONE]


def test_a_model_that_is_lost_makes_the_node_unconfigured_and_it_can_be_configured_again(
    robot: Robot
) -> None:
    robot.see()
    node = robot.node
    node.engine.close()  # as if its device had gone
    reply = robot.ask(action.Ask, 'ask', question='What do you see?')
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert ResultCode(reply.result.error_code) is ResultCode.MODEL_NOT_READY

    def state() -> int:
        return int(node._state_machine.current_state[0])

    robot.ros.wait_for(lambda: state() == State.PRIMARY_STATE_UNCONFIGURED)
    assert node.engine is None
    refused = robot.ask(action.Ask, 'ask', question='What do you see?').result
    assert ResultCode(refused.error_code) is ResultCode.MODEL_NOT_READY
    robot.start()
    robot.see()
    assert robot.ask(action.Ask, 'ask', question='What do you see?').result.error_code == 0


# -- standing queries


Standing = srv.SetStandingQuery.Request


def stand(robot: Robot, **request: Any) -> Any:
    request = {'name': 'watch', 'enabled': True, 'rate': 20.0, 'kind': Standing.FIND_AFFORDANCES,
               'text': 'red cube', **request}
    return robot.call(srv.SetStandingQuery, 'set_standing_query', **request)


@pytest.mark.parametrize(('request_', 'says'), [
    ({'name': ' '}, 'no name'),
    ({'text': ''}, 'empty'),
    ({'rate': 0.0}, 'rate is 0'),
    ({'rate': float('nan')}, 'rate is nan'),
    ({'kind': 9}, '0 (plan_task)'),
    ({'task': 'nothing'}, 'nothing'),
    ({'task': 'yes_no'}, 'yes_no'),
    ({'thinking': 7}, 'THINK_OFF'),
    ({'options': ['a']}, 'has no options'),
    ({'kind': Standing.ASK, 'target_frame': 'map'}, 'has no target_frame'),
])
def test_a_wrong_standing_query_is_refused_with_the_reason(
    ros: Any, request_: dict[str, Any], says: str
) -> None:
    answer = stand(Robot(ros), **request_)
    assert ResultCode(answer.error_code) is ResultCode.INVALID_REQUEST
    assert says in answer.error_msg


def test_a_standing_query_is_asked_at_its_rate_while_the_node_is_active(ros: Any) -> None:
    robot = Robot(ros)
    heard = robot.received(msg.AffordancePoints, '/mimo_embodied/affordances')
    assert stand(robot).error_code == ResultCode.NONE  # before there is a model
    robot.start()
    headers = []
    for _ in range(2):
        headers.append(robot.see())
        robot.ros.wait_for(lambda: heard and heard[-1].header == headers[-1])
        assert (heard[-1].query, len(heard[-1].points)) == ('red cube', 1)
    assert robot.ros.call(robot.node.trigger_deactivate) is TransitionCallbackReturn.SUCCESS
    heard.clear()
    robot.activate()
    robot.see()
    robot.ros.wait_for(lambda: heard)
    stand(robot, text='green ball')  # in the place of the first
    robot.ros.wait_for(lambda: heard[-1].query == 'green ball')
    assert stand(robot, enabled=False).error_code == ResultCode.NONE
    assert stand(robot, enabled=False, name='nobody').error_code == ResultCode.NONE
    assert not robot.node._standing_queries._queries


def test_goals_do_not_wait_for_standing_queries(ros: Any) -> None:
    robot = Robot(ros, max_batch=1).start()
    robot.see()
    generate = robot.node.engine.generate

    def endless(prompt: Any, **options: Any) -> Any:
        if LONG in prompt.text:
            wait_for(options['cancelled'])
        return generate(prompt, **options)

    robot.node.engine.generate = endless
    for number in range(3):
        stand(robot, name=str(number), rate=100.0, kind=Standing.PLAN_TASK, text=f'{LONG} {number}')
    scheduler = robot.node.session.scheduler
    ros.wait_for(lambda: any(job.preemptible for job in list(scheduler._running)))
    result = spatial(robot)
    assert ResultCode(result.error_code) is ResultCode.NONE
    # each waits for its answer before it is asked again
    assert len(scheduler) + len(scheduler._running) <= 3
