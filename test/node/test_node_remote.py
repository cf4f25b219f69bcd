"""The node with a remote engine: the prompts that a server gets, and answers to drive by."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('httpx2')

from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration
from builtin_interfaces.msg import Time as Stamp
from nav_msgs.msg import Odometry
from rclpy.duration import Duration as Seconds
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.time import Time
from std_msgs.msg import Header

from mimo_embodied_ros import action, msg, srv
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.ros.images import encode_image
from support.openai_server import Handler, Server
from support.paths import SKILL_FILES
from support.robot import Robot, parameters
from support.tabletop import SCENE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DRIVE = ('<think>\nThe car brakes.\n</think>\n\n\\boxed{Slow down, because the car '
         '<c1,CAM_FRONT,800.0,450.5> brakes}')
HAZARD = '[{"bbox_2d": [322, 238, 483, 357], "caption": "a pedestrian"}]'  # of 644x476
PATH = '[PT, (1.00, 0.10, 0.00), (2.00, 0.20, 0.05)]'


class Oracle:
    """A server that answers with the words beside the first pattern that is in the prompt."""

    def __init__(self, owner: str = '') -> None:
        self.words = {'critical object': HAZARD, 'trajectory': PATH, 'Current speed': DRIVE}
        self.server = Server(self._answer)
        self.server.models = {'data': [{'id': 'mimo', 'owned_by': owner}]}

    def _answer(self, handler: Handler) -> None:
        words = next(
            (w for p, w in self.words.items() if re.search(p, handler.prompt)), '\\boxed{yes}')
        if 'start: "held"' in str(handler.body):
            words = 'held'
        handler.start()
        handler.say(words, finish='stop')

    @property
    def asked(self) -> list[Handler]:
        """All requests after those of the warm-up: two sizes of images, and what it can."""
        return [request for request in self.server.requests[2:]
                if not request.prompt.startswith(('Is it held?', 'Is it continued?'))]

    @property
    def prompts(self) -> list[str]:
        """The prompts of these."""
        return [request.prompt for request in self.asked]


@pytest.fixture
def oracle() -> Iterator[Oracle]:
    made = Oracle()
    with made.server:
        yield made


@pytest.fixture
def robot(ros: Any, oracle: Oracle) -> Robot:
    return Robot(ros, backend='openai', model='mimo', servers=[oracle.server.url],
                 driving_valid_for=0.5).start()


@pytest.fixture
def drive(robot: Robot) -> Callable[..., Any]:
    """Ask for driving advice after two seconds straight on at 5 m/s."""
    odometry = robot.other.create_publisher(Odometry, 'odom', 4)
    robot.ros.wait_for(odometry.get_subscription_count)

    def ask(**goal: Any) -> Any:
        now = robot.other.get_clock().now()
        for number in range(5):
            age = 2.0 - 0.5 * number
            header = Header(stamp=(now - Seconds(seconds=age)).to_msg(), frame_id='odom')
            message = Odometry(header=header, child_frame_id='base_link')
            message.pose.pose.position.x = -5.0 * age
            message.pose.pose.orientation.w = 1.0
            message.twist.twist.linear.x = 5.0
            stream = robot.node.session.intake.odometry.stream
            received = stream.received
            odometry.publish(message)
            robot.ros.wait_for(lambda s=stream, r=received: s.received > r)
        return robot.ask(action.PlanDriving, 'plan_driving', **goal)

    return ask


def test_a_goal_may_leave_thinking_to_its_task(robot: Robot, oracle: Oracle) -> None:
    goal = action.AnswerSpatial.Goal
    expected = []
    for task, usual in (('spatial', False), ('yes_no', True)):
        for thinking, thinks in ((goal.THINK_DEFAULT, usual), (goal.THINK_ON, True),
                                 (True, True), (goal.THINK_OFF, False)):
            robot.see()  # a new frame, else an equal question would not be asked again
            result = robot.ask(action.AnswerSpatial, 'answer_spatial', question='Is it red?',
                               task=task, thinking=thinking).result
            assert (result.error_code, result.answer.yes) == (ResultCode.NONE, True)
            expected.append(thinks)
    assert [not prompt.endswith('/no_think') for prompt in oracle.prompts] == expected


def test_driving_advice(robot: Robot, oracle: Oracle, drive: Callable[..., Any]) -> None:
    header = robot.see()
    reply = drive(instruction='Turn left at the junction.', locate_hazards=True, trajectory=True)
    assert reply.status == GoalStatus.STATUS_SUCCEEDED
    first, second, third = oracle.prompts
    assert first.startswith('Current speed of the vehicle: 5.00m/s. Historical motion context: '
                            't-3: (-7.50, 0.00, 0.00), ')
    assert 'Turn left at the junction.\n' in first
    assert 'critical object' in second
    assert '[Turn left at the junction.]' in third
    assert [p.endswith(' /no_think') for p in oracle.prompts] == [False, False, True]
    decision = reply.result.decision
    assert (decision.header, decision.camera) == (header, 'camera')
    assert (decision.image_width, decision.image_height) == (640, 480)
    assert (decision.behavior, decision.decision) == (msg.DrivingDecision.SLOW_DOWN, 'Slow down')
    assert decision.rationale.startswith('the car ')
    assert decision.hazards == ['a pedestrian']
    box = decision.hazard_boxes[0]
    assert (box.x_min, box.y_min, box.x_max, box.y_max) == pytest.approx((320, 240, 480, 360))
    assert decision.objects == [
        msg.ObjectReference(id='c1', camera='CAM_FRONT', x=800.0, y=450.5, in_image=True)]
    assert not decision.target_speed_valid
    assert decision.valid_for == Duration(nanosec=500_000_000)
    path = reply.result.trajectory
    assert (path.header.stamp, path.header.frame_id) == (header.stamp, 'base_link')
    assert [(p.pose.position.x, p.pose.position.y) for p in path.points] == [(1, 0.1), (2, 0.2)]
    assert [p.time_from_start.nanosec for p in path.points] == [500_000_000, 0]
    assert path.valid_for == decision.valid_for
    assert reply.result.reasoning == 'The car brakes.'


def test_driving_advice_with_cameras_all_around(
    robot: Robot, oracle: Oracle, drive: Callable[..., Any]
) -> None:
    stamp = robot.other.get_clock().now().to_msg()
    images = [encode_image(SCENE.pixels, Header(stamp=stamp, frame_id=f'camera{n}'))
              for n in range(6)]
    result = drive(images=images, trajectory=True, locate_hazards=True).result
    assert result.error_code == ResultCode.NONE
    assert [len(r.body['messages'][0]['content']) - 1 for r in oracle.asked] == [
        6, 1, 6]  # the hazards are those of the front view
    assert 'the front view, front left view' in oracle.prompts[0]
    assert 'Follow the road.' in oracle.prompts[0]
    assert result.decision.header.frame_id == 'camera0'
    failed = drive(images=images[:5], task='drive_surround').result
    assert failed.error_code == ResultCode.INVALID_REQUEST
    assert 'front left' in failed.error_msg


def test_a_decision_is_kept_where_another_question_of_the_goal_fails(
    robot: Robot, oracle: Oracle, drive: Callable[..., Any]
) -> None:
    oracle.words['critical object'] = '[{"bbox_2d": [1, 2]}]'
    robot.see()
    reply = drive(locate_hazards=True)
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert reply.result.error_code == ResultCode.PARSE_FAILED
    assert 'the decision stands' in reply.result.error_msg
    assert reply.result.decision.behavior == msg.DrivingDecision.SLOW_DOWN


def test_driving_advice_needs_odometry(robot: Robot) -> None:
    robot.see()
    result = robot.ask(action.PlanDriving, 'plan_driving').result
    assert result.error_code == ResultCode.INVALID_REQUEST
    assert 'odometry_topic' in result.error_msg


def test_odometry_of_another_time_is_not_told_as_the_present_speed(
    robot: Robot, oracle: Oracle
) -> None:
    odometry = robot.other.create_publisher(Odometry, 'odom', 4)
    robot.ros.wait_for(odometry.get_subscription_count)
    stream, image = robot.node.session.intake.odometry.stream, robot.see()
    then = Time.from_msg(image.stamp) - Seconds(seconds=60)
    for stamp in (then.to_msg(), Stamp(sec=-5), Stamp(nanosec=2**32 - 1)):
        message = Odometry(header=Header(stamp=stamp, frame_id='odom'))
        message.twist.twist.linear.x = 15.0
        received = stream.received
        odometry.publish(message)
        robot.ros.wait_for(lambda r=received: stream.received > r)
    for task in ('', 'explain_action'):
        result = robot.ask(action.PlanDriving, 'plan_driving', task=task).result
        assert ResultCode(result.error_code) is ResultCode.INVALID_REQUEST
        assert 'the nearest odometry is 60.00 s before the image' in result.error_msg
    assert not oracle.prompts
    result = robot.ask(action.AnswerSpatial, 'answer_spatial', question='Is it red?').result
    assert (result.error_code, result.answer.base.valid) == (ResultCode.NONE, False)
    carried = encode_image(SCENE.pixels, Header(stamp=Stamp(sec=-5)))
    result = robot.ask(action.AnswerSpatial, 'answer_spatial', question='Is it red?',
                       images=[carried]).result
    assert ResultCode(result.error_code) is ResultCode.BAD_ENCODING
    assert 'the stamp is no time: sec is -5' in result.error_msg


def test_nothing_that_moves_anything_is_published(robot: Robot) -> None:
    topics = robot.node.get_publisher_names_and_types_by_node('mimo_embodied', '/')
    kinds = {kind for _, kinds in topics for kind in kinds}
    advice = {f'mimo_embodied_ros/msg/{name}' for name in ('DrivingDecision', 'DrivingTrajectory')}
    assert advice <= kinds
    kinds -= advice
    assert not [kind for kind in kinds if re.search(r'Twist|Ackermann|Control|Traj|Path', kind)]


def test_objects_of_tags(robot: Robot, oracle: Oracle) -> None:
    oracle.words = {'': 'Yes: <c1,CAM_FRONT,800.0,450.5>, not <c2,CAM_BACK,1700.0,3.0>.'}
    robot.see()
    for kind, name in ((action.AnswerSpatial, 'answer_spatial'), (action.Ask, 'ask')):
        result = robot.ask(kind, name, question='What matters?').result
        assert result.error_code == ResultCode.POINT_OUT_OF_IMAGE
        assert result.answer.objects == [
            msg.ObjectReference(id='c1', camera='CAM_FRONT', x=800.0, y=450.5, in_image=True),
            msg.ObjectReference(id='c2', camera='CAM_BACK', x=1700.0, y=3.0, in_image=False)]


@pytest.mark.parametrize('owner', ['vllm', 'someone'])
def test_plans_of_skills_are_held_where_the_server_can(ros: Any, owner: str) -> None:
    oracle = Oracle(owner)
    oracle.words = {'red cube': '1. pick up the red cube [300, 200]'}
    with oracle.server:
        robot = Robot(ros, backend='openai', model='mimo', servers=[oracle.server.url],
                      skills_file=str(SKILL_FILES / 'manipulator.yaml')).start()
        robot.see()
        result = robot.ask(action.PlanTask, 'plan_task', instruction='pick up the red cube').result
        assert result.error_code == ResultCode.NONE
        body = oracle.server.requests[-1].body
        held = owner == 'vllm'
        assert ('structured_outputs' in body) is held
        if held:
            assert 'pick up' in body['structured_outputs']['grammar']
        # who sets structured gets no answer that is not held: a goal, a service, the parameter
        question = {'question': 'Is it red?', 'task': 'yes_no', 'thinking': 2}
        result = robot.ask(
            action.AnswerSpatial, 'answer_spatial', structured=True, **question).result
        assert result.error_code == (ResultCode.NONE if held else ResultCode.INVALID_REQUEST)
        assert ('structured_style' in result.error_msg) is not held
        response = robot.call(
            srv.GetSpatialAnswer, 'get_spatial_answer', structured=True, **question)
        assert response.error_code == result.error_code
        assert robot.node.set_parameters(parameters(structured=True))[0].successful
        robot.see()
        result = robot.ask(
            action.AnswerSpatial, 'answer_spatial', question='Is it red?', task='yes_no').result
        assert result.error_code == (ResultCode.NONE if held else ResultCode.INVALID_REQUEST)


def test_a_proxy_that_cannot_be_used_is_the_reason_not_to_start(
    ros: Any, monkeypatch: pytest.MonkeyPatch, log: Any
) -> None:
    monkeypatch.setenv('ALL_PROXY', 'socks://127.0.0.1:1080')
    robot = Robot(ros, backend='openai', model='mimo', servers=['http://gpu1.invalid:8000'])
    assert ros.call(robot.node.trigger_configure) is TransitionCallbackReturn.FAILURE
    (said,) = ros.wait_for(lambda: [line for line in log() if 'ALL_PROXY' in line])
    assert 'not configured, INVALID_REQUEST: the environment variable ALL_PROXY ' in said
    assert 'no_proxy' in said


def test_another_model_of_the_same_job_is_found_by_its_name_and_read_in_its_own_unit(
    ros: Any, oracle: Oracle
) -> None:
    oracle.words = {'normalized to 0-1000': '[{"point": [250, 500], "label": "red cube"}]'}
    oracle.server.models = {'data': [{'id': 'gemini-robotics-er-2-preview'}]}
    robot = Robot(ros, backend='openai', model='gemini-robotics-er-2-preview',
                  servers=[oracle.server.url], structured_style='none').start()
    robot.see()
    result = robot.ask(action.FindAffordances, 'find_affordances', query='red cube').result
    (point,) = result.affordances.points
    width, height = result.affordances.image_width, result.affordances.image_height
    assert (point.x, point.y, point.in_image) == (0.5 * width, 0.25 * height, True)
    assert oracle.prompts[-1].startswith('Point to the following objects in the provided image: '
                                         'red cube.\n')
    assert oracle.asked[-1].body['reasoning_effort'] == 'minimal'
    assert robot.node.engine.info.profile == 'gemini-robotics-er'


def test_a_profile_that_is_not_known_fails_the_configuration_with_those_that_are(
    ros: Any, oracle: Oracle, capfd: pytest.CaptureFixture[str]
) -> None:
    robot = Robot(ros, backend='openai', model='mimo', servers=[oracle.server.url])
    assert robot.node.set_parameters(parameters(profile='qwen9'))[0].successful
    assert ros.call(robot.node.trigger_configure) is TransitionCallbackReturn.FAILURE
    said = "not configured, INVALID_REQUEST: profile 'qwen9' is not known; use one of mimo-embodied"
    assert said in capfd.readouterr().err
