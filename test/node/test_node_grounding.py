"""What a node tells of its grounding test: the reason of a refusal, ModelInfo and diagnostics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('httpx2')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header

from mimo_embodied_ros import action, msg
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.engine import EngineConfig, GroundingState, load_engine, openai_server
from mimo_embodied_ros.ros.images import encode_image
from support.model_server import serving
from support.openai_server import Server
from support.paths import EMBEDDED_MODEL
from support.robot import Robot
from support.video_server import VideoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mimo_embodied_ros.engine import Engine

PICTURES = {'grounding_pictures': ['one'], 'min_pixels': 19600, 'max_pixels': 38416}
SWAPPED = 'the model writes y before x'


def swap(x: float, y: float, *_: int) -> tuple[float, float]:
    return y, x


@pytest.fixture(scope='module')
def model() -> Iterator[Engine]:
    engine = load_engine(EngineConfig(str(EMBEDDED_MODEL), device='cpu'))
    yield engine
    engine.close()


@pytest.fixture
def listen() -> Callable[[Robot], tuple[list[Any], dict[str, Any]]]:
    """Return a function that collects ModelInfo, and the newest status of the model."""

    def start(robot: Robot) -> tuple[list[Any], dict[str, Any]]:
        infos: list[Any] = []
        newest: dict[str, Any] = {}

        def take(message: Any) -> None:
            status = message.status[0]
            newest.update({pair.key: pair.value for pair in status.values},
                          level=status.level, message=status.message)

        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        robot.other.create_subscription(
            msg.ModelInfo, '/mimo_embodied/model_info', infos.append, latched)
        robot.other.create_subscription(DiagnosticArray, '/diagnostics', take, 10)
        return infos, newest

    return start


def remote(ros: Any, url: str, **values: Any) -> Robot:
    return Robot(ros, backend='openai', model='mimo', servers=[url], **PICTURES, **values)


def test_a_server_that_swaps_axes_is_refused_until_it_is_right(
    ros: Any, model: Engine, listen: Any, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openai_server, '_RECOVERY_S', 0.0)
    server = Server(serving(model, swap))
    try:
        robot = remote(ros, server.url, grounding_test='refuse')
        infos, status = listen(robot)
        assert ros.call(robot.node.trigger_configure) is TransitionCallbackReturn.FAILURE
        logged = capfd.readouterr().err
        assert 'not configured, MODEL_NOT_READY: the grounding test' in logged
        assert server.url in logged
        assert SWAPPED in logged
        ros.wait_for(lambda: infos and status.get('grounding') == 'wrong')
        assert infos[-1].grounding == msg.ModelInfo.WRONG
        assert SWAPPED in infos[-1].grounding_report
        assert status['level'] == DiagnosticStatus.ERROR
        assert SWAPPED in status['message']
        server.behaviour = serving(model)
        robot.start()
        ros.wait_for(lambda: infos[-1].grounding == msg.ModelInfo.RIGHT
                     and status['grounding'] == 'right')
        assert 'median error' in infos[-1].grounding_report
        server.stop()  # and another model takes its place
        find = action.FindAffordances, 'find_affordances'
        robot.see()
        lost = robot.ask(*find, query='the red ball').result
        assert lost.error_code == ResultCode.BACKEND_UNREACHABLE
        server = Server(serving(model, swap), server.server_port)
        refused = robot.ask(*find, query='the red ball').result
        assert refused.error_code == ResultCode.MODEL_NOT_READY
        assert SWAPPED in refused.error_msg
        ros.wait_for(lambda: infos[-1].grounding == msg.ModelInfo.WRONG
                     and status['grounding'] == 'wrong')
    finally:
        server.stop()


def test_a_warning_lets_the_node_go_on(
    ros: Any, model: Engine, listen: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with Server(serving(model, swap)) as server:
        robot = remote(ros, server.url, grounding_test='warn')
        infos, status = listen(robot)
        robot.start()
        assert 'the grounding test failed: points are swapped' in capfd.readouterr().err
        ros.wait_for(lambda: infos and status.get('grounding') == 'wrong')
        assert infos[-1].grounding == msg.ModelInfo.WRONG
        assert status['level'] == DiagnosticStatus.WARN
        assert SWAPPED in status['message']


def test_a_server_that_comes_back_without_videos_is_said(
    ros: Any, listen: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_server, '_RECOVERY_S', 0.0)
    with VideoServer('jpeg') as server:
        robot = remote(ros, server.url, camera__clip_frames=4)
        infos, _ = listen(robot)
        robot.start()
        ros.wait_for(lambda: infos)
        assert infos[-1].takes_video
    capfd.readouterr()
    ask = action.AnswerSpatial, 'answer_spatial'
    robot.see()
    lost = robot.ask(*ask, question='How many cubes?', task='count').result
    assert lost.error_code == ResultCode.BACKEND_UNREACHABLE
    with VideoServer(port=server.server_port):
        robot.ask(*ask, question='How many cubes?', task='count')
        images = [encode_image(np.zeros((84, 112, 3), np.uint8), Header())] * 2
        refused = robot.ask(*ask, question='How far?', task='space_number', images=images).result
        assert refused.error_code == ResultCode.INVALID_REQUEST
        ros.wait_for(lambda: not infos[-1].takes_video)
    assert 'the model takes no videos' in capfd.readouterr().err


def test_the_embedded_model_is_tested_when_it_is_loaded(ros: Any, listen: Any) -> None:
    robot = Robot(ros, grounding_test='refuse')
    infos, _ = listen(robot)
    assert ros.call(robot.node.trigger_configure) is TransitionCallbackReturn.SUCCESS
    ros.wait_for(lambda: infos)
    assert infos[-1].grounding == msg.ModelInfo.RIGHT
    assert infos[-1].grounding_report.startswith('right in one, two, wide, tall, large')


def test_states_are_those_of_the_message() -> None:
    assert {state.name: int(state) for state in GroundingState} == {
        name: getattr(msg.ModelInfo, name) for name in ('NOT_TESTED', 'RIGHT', 'WRONG')}
