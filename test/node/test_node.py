"""The lifecycle node with the embedded model, over real DDS."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from PIL import Image as PILImage
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from mimo_embodied_ros import action, msg, srv
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.ros import messages
from mimo_embodied_ros.ros.images import encode_image
from mimo_embodied_ros.worlds import table_scene
from support.programs import run_python
from support.robot import FRAME, Robot, parameters
from support.tabletop import INSTRUCTION, SCENE
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from pathlib import Path

def test_answers_carry_the_stamp_and_frame_of_their_image_and_are_published(robot: Robot) -> None:
    published = robot.received(msg.TaskPlan, '/mimo_embodied/task_plan')
    header = robot.see()
    feedback: list[Any] = []
    handle = robot.send(action.PlanTask, 'plan_task', feedback, instruction=INSTRUCTION)
    reply = robot.result(handle)
    plan = reply.result.plan
    assert reply.status == GoalStatus.STATUS_SUCCEEDED
    assert reply.result.error_code == ResultCode.NONE
    assert plan.header == header
    assert (plan.image_width, plan.image_height, plan.camera) == (640, 480, 'camera')
    assert [(s.action, s.object, s.target) for s in plan.steps] == [
        ('pick up', 'red cube', ''), ('put', 'red cube', 'blue bowl')]
    assert plan.steps[0].points[0].x == pytest.approx(180, abs=48)
    assert plan.steps[1].points[0].y == pytest.approx(200, abs=40)
    robot.ros.wait_for(lambda: published)
    assert published[0].plan_id == plan.plan_id
    robot.ros.wait_for(lambda: ''.join(f.delta for f in feedback) == reply.result.raw_text)
    states = [f.state for f in feedback]
    assert states == sorted(states)
    assert {action.PlanTask.Feedback.PREPROCESSING, action.PlanTask.Feedback.ANSWERING} <= {*states}


def test_affordances_have_points_and_an_absent_object_is_no_error(robot: Robot) -> None:
    robot.see()
    result = robot.ask(action.FindAffordances, 'find_affordances', query='the green ball').result
    assert [result.error_code, len(result.affordances.points)] == [ResultCode.NONE, 1]
    point = result.affordances.points[0]
    assert table_scene.mask(SCENE, SCENE.things[2])[int(point.y), int(point.x)]
    assert not point.confidence_valid
    assert point.position_status == msg.AffordancePoint.NOT_REQUESTED
    missing = robot.ask(action.FindAffordances, 'find_affordances', query='the purple cup')
    assert missing.status == GoalStatus.STATUS_SUCCEEDED
    assert missing.result.error_code == ResultCode.NONE
    assert not missing.result.affordances.points


def test_statistics_have_times_and_tokens_that_were_reused(robot: Robot) -> None:
    robot.see()
    first, second = (
        robot.ask(action.FindAffordances, 'find_affordances', query=query).result.stats
        for query in ('the green ball', 'the red cube'))
    assert first.reused_tokens == 0
    assert first.image_tokens < second.reused_tokens < second.prompt_tokens
    for stats in (first, second):
        preprocessing, first_token, generation, total = (
            taken.sec + taken.nanosec / 1e9 for taken in (
                stats.preprocess_time, stats.first_token_time, stats.generation_time,
                stats.total_time))
        assert 0 < preprocessing + first_token < generation < total


def test_a_failed_request_has_statistics(robot: Robot) -> None:
    robot.see()
    result = robot.ask(
        action.FindAffordances, 'find_affordances', query='cube', max_new_tokens=3).result
    assert result.error_code == ResultCode.OUTPUT_TRUNCATED
    assert result.stats.finish_reason == msg.GenerationStats.LENGTH
    assert result.stats.completion_tokens == 3
    took, total = result.stats.generation_time, result.stats.total_time
    assert 0 < messages.seconds(took) < messages.seconds(total)


def test_points_are_lifted_with_the_depth_of_their_stamp(ros: Any) -> None:
    robot = Robot(ros, camera__depth_topic='camera/depth').start()
    info = robot.other.create_publisher(CameraInfo, 'camera/camera_info', 1)
    depth = robot.other.create_publisher(Image, 'camera/depth', 1)
    ros.wait_for(lambda: info.get_subscription_count() and depth.get_subscription_count())
    header = robot.see()
    info.publish(CameraInfo(header=header, width=640, height=480,
                            k=[500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]))
    flat = np.full((480, 640), 1500, '<u2')
    depth.publish(Image(header=header, width=640, height=480, step=1280, encoding='16UC1',
                        data=flat.tobytes()))
    ros.wait_for(lambda: robot.node.session.intake.status('camera').depth_valid
                 and robot.node.session.intake.status('camera').camera_info_valid)
    goal = {'query': 'red cube', 'target_frame': FRAME}
    point = robot.ask(action.FindAffordances, 'find_affordances',
                      **goal).result.affordances.points[0]
    assert point.position_status == msg.AffordancePoint.OK
    assert point.position.z == pytest.approx(1.5)
    # camera info counts from the middle of the first pixel, points from its edge
    assert point.position.x == pytest.approx((point.x - 0.5 - 320) / 500 * 1.5)
    assert point.depth_stddev == pytest.approx(0, abs=1e-6)
    elsewhere = robot.ask(action.FindAffordances, 'find_affordances', query='red cube',
                          target_frame='map').result
    assert elsewhere.affordances.points[0].position_status == msg.AffordancePoint.TF_ERROR
    assert ResultCode(elsewhere.error_code) is ResultCode.TF_ERROR


def test_spatial_and_free_answers(robot: Robot) -> None:
    robot.see()
    answer = robot.ask(action.AnswerSpatial, 'answer_spatial',
                       question='Is the red cube left of the blue bowl?').result.answer
    assert (answer.answer_type, answer.yes) == (msg.SpatialAnswer.YES_NO, True)
    text = robot.ask(action.Ask, 'ask', question='Is there a red cube?').result.answer.answer
    assert text == 'yes'


def test_reasoning_is_streamed_and_returned_apart(robot: Robot) -> None:
    robot.see()
    feedback: list[Any] = []
    handle = robot.send(action.AnswerSpatial, 'answer_spatial', feedback,
                        thinking=action.AnswerSpatial.Goal.THINK_ON,
                        question='Is the red cube left of the blue bowl?')
    result = robot.result(handle).result
    assert 'red cube' in result.reasoning
    assert result.reasoning in result.raw_text
    assert 'red cube' not in result.answer.answer
    assert action.AnswerSpatial.Feedback.THINKING in {f.state for f in feedback}


def test_services_answer_as_the_actions_do(robot: Robot) -> None:
    header = robot.see()
    calls = (
        (srv.GetTaskPlan, 'get_task_plan', {'instruction': 'pick up the red cube'}, 'plan'),
        (srv.GetAffordances, 'get_affordances', {'query': 'red cube'}, 'affordances'),
        (srv.GetSpatialAnswer, 'get_spatial_answer', {'question': 'How many objects are there?'},
         'answer'),
    )
    futures = []
    for kind, name, request, field in calls:
        client = robot.other.create_client(kind, f'/mimo_embodied/{name}')
        assert client.wait_for_service(WAIT_S)
        futures.append((client.call_async(kind.Request(**request)), field))
    for future, field in futures:
        robot.ros.wait_for(future.done)
        assert future.result().error_code == ResultCode.NONE
        assert getattr(future.result(), field).header == header


def test_images_in_the_goal_are_used_instead_of_the_camera(robot: Robot) -> None:
    header = Header(frame_id='another_camera')
    header.stamp.sec = 12
    goal = {'query': 'green ball', 'images': [encode_image(SCENE.pixels, header)]}
    affordances = robot.ask(action.FindAffordances, 'find_affordances', **goal).result.affordances
    assert affordances.header == header
    assert affordances.camera == ''
    both = robot.ask(action.FindAffordances, 'find_affordances', cameras=['camera'], **goal)
    assert both.result.error_code == ResultCode.INVALID_REQUEST


def test_compressed_images_in_the_goal_are_used_as_images_are(robot: Robot) -> None:
    header = Header(frame_id='another_camera')
    header.stamp.sec = 12
    file = io.BytesIO()
    PILImage.fromarray(SCENE.pixels).save(file, 'PNG')
    png = CompressedImage(header=header, format='png', data=file.getvalue())
    goal = {'query': 'green ball', 'compressed_images': [png]}
    found = robot.ask(action.FindAffordances, 'find_affordances', **goal).result.affordances
    assert found.header == header
    assert (found.camera, found.image_width, found.image_height) == (
        '', SCENE.pixels.shape[1], SCENE.pixels.shape[0])
    raw = encode_image(SCENE.pixels, header)
    same = robot.ask(action.FindAffordances, 'find_affordances', query='green ball',
                     images=[raw]).result.affordances
    assert found.points == same.points
    called = robot.call(srv.GetAffordances, 'get_affordances', **goal)
    assert called.affordances.points == same.points
    for more in ({'cameras': ['camera']}, {'images': [raw]}):
        both = robot.ask(action.FindAffordances, 'find_affordances', **goal, **more).result
        assert ResultCode(both.error_code) is ResultCode.INVALID_REQUEST
        assert 'several of images, compressed_images and cameras' in both.error_msg
    png.data = png.data[:-20]
    cut = robot.ask(action.FindAffordances, 'find_affordances', **goal).result
    assert ResultCode(cut.error_code) is ResultCode.BAD_ENCODING


def test_a_large_jpeg_in_the_goal_is_answered_in_its_own_pixels(robot: Robot) -> None:
    height, width = SCENE.pixels.shape[0] * 4, SCENE.pixels.shape[1] * 4
    large, file = PILImage.fromarray(SCENE.pixels).resize((width, height)), io.BytesIO()
    large.save(file, 'JPEG', quality=95)
    goal = {'query': 'green ball', 'compressed_images': [
        CompressedImage(format='jpeg', data=file.getvalue())]}
    found = robot.ask(action.FindAffordances, 'find_affordances', **goal).result.affordances
    assert (found.image_width, found.image_height) == (width, height)
    small = robot.ask(action.FindAffordances, 'find_affordances', query='green ball',
                      images=[encode_image(SCENE.pixels)]).result.affordances
    assert [p.x / 4 for p in found.points] == pytest.approx([p.x for p in small.points], abs=3)


def test_an_image_in_the_goal_that_uses_12_of_16_bits_is_named(robot: Robot, log: Any) -> None:
    grey = np.linspace(0, 4000, 64 * 48).astype('<u2')
    image = Image(width=64, height=48, step=128, encoding='mono16', data=grey.tobytes())
    result = robot.ask(action.Ask, 'ask', question='What do you see?', images=[image]).result
    assert result.error_code == ResultCode.NONE
    robot.ros.wait_for(lambda: any(
        'an image in a request seem to end at 4095' in line for line in log()))


def test_a_compressed_camera(ros: Any) -> None:
    robot = Robot(ros, camera__image_transport='compressed')
    camera = robot.other.create_publisher(CompressedImage, 'camera/image_raw/compressed', 1)
    assert robot.ros.call(robot.node.trigger_configure) is TransitionCallbackReturn.SUCCESS
    assert robot.ros.call(robot.node.trigger_activate) is TransitionCallbackReturn.SUCCESS
    ros.wait_for(camera.get_subscription_count)
    import cv2

    _, png = cv2.imencode('.png', SCENE.pixels[:, :, ::-1])
    header = Header(stamp=robot.other.get_clock().now().to_msg(), frame_id=FRAME)
    camera.publish(CompressedImage(header=header, format='png', data=png.tobytes()))
    reply = robot.ask(action.FindAffordances, 'find_affordances', query='red cube').result
    assert reply.error_code == ResultCode.NONE
    assert table_scene.mask(SCENE, SCENE.things[0])[
        int(reply.affordances.points[0].y), int(reply.affordances.points[0].x)]


@pytest.mark.parametrize(('goal', 'code', 'says'), [
    ({'query': ''}, ResultCode.INVALID_REQUEST, 'empty'),
    ({'query': 'a <|im_end|>'}, ResultCode.INVALID_REQUEST, 'control token'),
    ({'query': 'cube', 'cameras': ['left']}, ResultCode.INVALID_REQUEST, 'left'),
    ({'query': 'cube', 'timeout': Duration(sec=-1)}, ResultCode.INVALID_REQUEST, 'timeout'),
    ({'query': 'cube', 'max_image_age': Duration(nanosec=1000)}, ResultCode.STALE_IMAGE, 's old'),
    ({'query': 'cube', 'timeout': Duration(nanosec=1000)}, ResultCode.TIMEOUT, 'timeout'),
    ({'query': 'cube', 'thinking': 3}, ResultCode.INVALID_REQUEST, 'THINK_OFF'),
    ({'query': 'cube', 'kind': 2}, ResultCode.INVALID_REQUEST, 'BOXES'),
    ({'query': 'cube', 'max_new_tokens': 3}, ResultCode.OUTPUT_TRUNCATED, 'max_new_tokens'),
    ({'query': 'cube', 'images': [Image(encoding='rgb8', width=4, height=4, step=12)]},
     ResultCode.BAD_ENCODING, 'rgb8'),
])
def test_a_wrong_request_fails_with_its_code_and_reason(
    robot: Robot, goal: dict[str, Any], code: ResultCode, says: str
) -> None:
    robot.see()
    reply = robot.ask(action.FindAffordances, 'find_affordances', **goal)
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert ResultCode(reply.result.error_code) is code
    assert says in reply.result.error_msg


def test_no_image(ros: Any) -> None:
    robot = Robot(ros, wait_for_image=0.0).start()
    reply = robot.ask(action.FindAffordances, 'find_affordances', query='red cube').result
    assert ResultCode(reply.error_code) is ResultCode.NO_IMAGE
    assert '/camera/image_raw (1 publishers)' in reply.error_msg


def test_a_first_image_is_waited_for(ros: Any) -> None:
    robot = Robot(ros, wait_for_image=WAIT_S).start()
    handle = robot.send(action.FindAffordances, 'find_affordances', query='red cube')
    ros.wait_for(lambda: robot.node.session.scheduler.running)
    header = robot.see()
    assert robot.result(handle).result.affordances.header == header


def test_a_camera_on_demand_is_subscribed_for_a_request(ros: Any) -> None:
    robot = Robot(ros, wait_for_image=WAIT_S, camera__on_demand=True).start()
    robot.node.session.intake.cameras['camera'].wanted = 0.0  # long ago
    ros.wait_for(lambda: robot.camera.get_subscription_count() == 0)
    handle = robot.send(action.FindAffordances, 'find_affordances', query='red cube')
    ros.wait_for(lambda: robot.camera.get_subscription_count() == 1)
    header = robot.see()
    assert robot.result(handle).result.affordances.header == header


def test_a_malformed_image_fails_its_request_and_nothing_else(robot: Robot) -> None:
    stream: Any = robot.node.session.intake.cameras['camera'].image
    for number, message in enumerate((b'', b'\0\1\0\0' + bytes(9), Image(encoding='nv12')), 1):
        robot.camera.publish(message)
        robot.ros.wait_for(lambda n=number: stream.poll() or stream.received == n)
        failed = robot.ask(action.Ask, 'ask', question='What do you see?').result
        assert ResultCode(failed.error_code) is ResultCode.BAD_ENCODING
    assert 'nv12' in failed.error_msg
    header = robot.see()
    answer = robot.ask(action.Ask, 'ask', question='What do you see?').result.answer
    assert answer.header == header


def test_a_task_about_a_clip_gets_the_images_before_the_newest(ros: Any) -> None:
    robot = Robot(ros, camera__clip_frames=3, camera__clip_rate=1.0).start()
    outcomes = robot.received(msg.Outcome, '/mimo_embodied/outcome')
    begin = time.monotonic()
    headers = [robot.see(age_s=age + time.monotonic() - begin) for age in (4, 3, 2, 1, 0)]
    prompts = robot.prompts()
    ask = action.AnswerSpatial, 'answer_spatial'
    # which the embedded model has not learnt to answer
    robot.ask(*ask, question=INSTRUCTION, task='is_done')
    robot.ask(*ask, question='Is the red cube left of the blue bowl?')
    assert [len(prompt.images) for prompt in prompts] == [3, 1]
    ros.wait_for(lambda: len(outcomes) == 2)
    assert [outcome.header for outcome in outcomes] == [headers[-1]] * 2


def test_a_node_that_is_not_active_refuses_requests(ros: Any) -> None:
    robot = Robot(ros)
    reply = robot.ask(action.Ask, 'ask', question='What do you see?').result
    assert ResultCode(reply.error_code) is ResultCode.MODEL_NOT_READY


def test_a_full_queue_refuses_and_queued_and_running_goals_can_be_cancelled(ros: Any) -> None:
    robot = Robot(ros, max_queue=1, max_batch=1, wait_for_image=WAIT_S).start()
    running = robot.send(action.Ask, 'ask', question='one')  # waits for an image
    ros.wait_for(lambda: len(robot.node.session.scheduler) == 0)
    queued = robot.send(action.Ask, 'ask', question='two')
    refused = robot.ask(action.Ask, 'ask', question='three').result
    assert ResultCode(refused.error_code) is ResultCode.QUEUE_FULL
    for handle in (queued, running):
        first, second = ros.call(handle.cancel_goal_async), ros.call(handle.cancel_goal_async)
        ros.wait_for(lambda a=first, b=second: a.done() and b.done())
        reply = robot.result(handle)
        assert reply.status == GoalStatus.STATUS_CANCELED
        assert ResultCode(reply.result.error_code) is ResultCode.CANCELLED
    robot.see()
    assert robot.ask(action.Ask, 'ask', question='What do you see?').result.error_code == 0


def test_a_goal_is_cancelled_while_the_model_writes(robot: Robot) -> None:
    robot.see()
    feedback: list[Any] = []
    handle = robot.send(action.PlanTask, 'plan_task', feedback,
                        instruction='put the red cube and the green ball in the blue bowl')
    robot.ros.wait_for(lambda: any(f.tokens for f in feedback))
    cancel = robot.ros.call(handle.cancel_goal_async)
    robot.ros.wait_for(cancel.done)
    reply = robot.result(handle)
    # the answer may have been complete when the cancel came
    assert reply.status in {GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_SUCCEEDED}
    if reply.status == GoalStatus.STATUS_CANCELED:
        assert ResultCode(reply.result.error_code) is ResultCode.CANCELLED
        assert reply.result.raw_text  # so far
    assert robot.ask(action.Ask, 'ask', question='What do you see?').result.error_code == 0


def test_urgent_goals_go_first(ros: Any) -> None:
    robot = Robot(ros, max_batch=1, wait_for_image=WAIT_S).start()
    order: list[int] = []
    handles = []
    for priority in (0, 1, 5, 3):
        handles.append(robot.send(
            action.Ask, 'ask', question=f'What do you see, {priority}?', priority=priority))
        ros.wait_for(lambda: robot.node.session.scheduler.running)  # the first is being served
    for priority, handle in zip((0, 1, 5, 3), handles):
        ros.call(handle.get_result_async).add_done_callback(lambda _, p=priority: order.append(p))
    robot.see()
    ros.wait_for(lambda: len(order) == 4)
    assert order == [0, 5, 3, 1]


def test_the_life_of_the_node(ros: Any) -> None:
    robot = Robot(ros)
    latched: list[Any] = []
    qos = rclpy.qos.QoSProfile(depth=1, durability=rclpy.qos.DurabilityPolicy.TRANSIENT_LOCAL)
    node, success = robot.node, TransitionCallbackReturn.SUCCESS
    assert ros.call(node.trigger_configure) is success
    robot.other.create_subscription(msg.ModelInfo, '/mimo_embodied/model_info', latched.append, qos)
    assert ros.wait_for(lambda: latched)[0].architecture == 'Qwen2_5_VLForConditionalGeneration'
    fixed = node.set_parameters(parameters(device='cpu'))[0]
    assert not fixed.successful
    assert 'configured' in fixed.reason
    assert node.set_parameters(parameters(timeout=5.0))[0].successful
    robot.activate()
    handle = robot.send(action.Ask, 'ask', question='What do you see?')  # no image: it waits
    assert ros.call(node.trigger_deactivate) is success
    reply = robot.result(handle)
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert ResultCode(reply.result.error_code) is ResultCode.PREEMPTED
    ros.wait_for(lambda: robot.camera.get_subscription_count() == 0)
    robot.activate()
    robot.see()
    assert robot.ask(action.Ask, 'ask', question='What do you see?').result.error_code == 0
    assert ros.call(node.trigger_deactivate) is success
    assert ros.call(node.trigger_cleanup) is success
    assert node.engine is None
    assert node._state_machine.current_state[0] == State.PRIMARY_STATE_UNCONFIGURED


def test_the_life_can_be_led_and_watched_from_outside(ros: Any) -> None:
    Robot(ros)
    other = ros.node('manager')
    for transition, state in ((Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE),
                              (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE)):
        assert ros.call_service(other, ChangeState, '/mimo_embodied/change_state',
                                transition=Transition(id=transition)).success
        assert ros.call_service(
            other, GetState, '/mimo_embodied/get_state').current_state.id == state


def test_configure_fails_with_the_reason(ros: Any, log: Any) -> None:
    robot = Robot(ros, model='/nowhere/model')
    assert robot.ros.call(robot.node.trigger_configure) is TransitionCallbackReturn.FAILURE
    ros.wait_for(lambda: any('/nowhere/model' in line for line in log()))


def test_configure_needs_memory_for_all_cameras_and_the_longest_answer(
    ros: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = {'cameras': ['front', 'left', 'rear'], 'rear.clip_frames': 3}
    robot = Robot(ros, **settings, max_new_tokens=500, kv_cache_mb=2)
    assert robot.ros.call(robot.node.trigger_configure) is TransitionCallbackReturn.FAILURE
    said = capfd.readouterr().err
    assert 'OUT_OF_MEMORY: the largest request, 5 images of 38416 pixels and' in said
    assert 'an answer of 500 tokens' in said
    assert 'lower max_pixels, max_new_tokens or the number of cameras, or raise kv_cache_mb' in said


def test_list_cameras(robot: Robot) -> None:
    header = robot.see()
    (camera,) = robot.call(srv.ListCameras, 'list_cameras').cameras
    assert (camera.name, camera.image_topic, camera.encoding) == (
        'camera', '/camera/image_raw', 'rgb8')
    assert (camera.header, camera.image_width, camera.images_received) == (header, 640, 1)


def test_named_tasks_and_those_of_a_file(ros: Any, tmp_path: Path) -> None:
    file = tmp_path / 'tasks.yaml'
    file.write_text('table_question:\n  prompt: "{text} Look at the table."\n  answer: yes_no\n')
    robot = Robot(ros, tasks_file=str(file)).start()
    robot.see()
    prompts = robot.prompts()

    def ask(question: str, **goal: Any) -> Any:
        return robot.ask(action.AnswerSpatial, 'answer_spatial', question=question, **goal).result

    question = 'Is the red cube left of the blue bowl?'
    answer = ask(question, task='yes_no')
    assert (answer.error_code, answer.answer.yes) == (ResultCode.NONE, True)
    ask(question, task='table_question')
    ask('Which is red?', task='space_choice', options=['the cube', 'the bowl'])
    assert prompts[1].text.startswith(f'{question} Look at the table.')
    assert 'Options:\nA. the cube\nB. the bowl\n' in prompts[-1].text
    for task, goal in (('nothing', {}), ('points', {}), ('yes_no', {'options': ['a']})):
        failed = ask(question, task=task, **goal)
        assert failed.error_code == ResultCode.INVALID_REQUEST
    assert 'table_question' in ask(question, task='nothing').error_msg


INTERRUPTED = """
import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup

from mimo_embodied_ros.ros import process


class Interrupting(MutuallyExclusiveCallbackGroup):
    def can_execute(self, entity):  # asked just before the executor waits
        rclpy.try_shutdown()
        return super().can_execute(entity)


def make():
    if BEFORE:
        rclpy.try_shutdown()
    node = rclpy.create_node('node')
    node.create_timer(1.0, print, callback_group=Interrupting())
    return node


raise SystemExit(process.run(make, 'node'))
"""


@pytest.mark.parametrize('before', [False, True], ids=['waiting', 'before the node is made'])
def test_an_interrupt_at_any_time_ends_a_node_without_a_traceback(ros: Any, before: bool) -> None:
    code = f'BEFORE = {before}\n{INTERRUPTED}'
    assert run_python(code, environment=ros.environment).stderr == ''


def test_a_plan_is_told_what_is_remembered(robot: Robot) -> None:
    prompts = robot.prompts()
    robot.see()
    plans = [robot.ask(action.PlanTask, 'plan_task', instruction=INSTRUCTION,
                       remembered=remembered).result.plan
             for remembered in ([], ['The blue bowl was seen on the shelf 40 s ago.'])]
    assert prompts[1].text == (
        f'Remembered: The blue bowl was seen on the shelf 40 s ago. {prompts[0].text}')
    assert [[step.object for step in plan.steps] for plan in plans] == [['red cube'] * 2] * 2
