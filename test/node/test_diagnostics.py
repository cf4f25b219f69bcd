"""The statuses that the node publishes on /diagnostics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('httpx2')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image

from mimo_embodied_ros import action
from mimo_embodied_ros.core.errors import (
    CancelledError,
    NoImageError,
    OutOfMemoryError,
    ResultCode,
)
from mimo_embodied_ros.engine import MemoryUse, ModelInfo, ServerHealth
from mimo_embodied_ros.node.diagnostics import (
    RequestStatistics,
    camera_status,
    memory_status,
    model_status,
    server_status,
)
from mimo_embodied_ros.node.faults import Fault
from mimo_embodied_ros.ros.streams import Stream
from support.openai_server import ANSWER, Handler, Server
from support.robot import Robot

if TYPE_CHECKING:
    from collections.abc import Callable

OK, WARN, ERROR, STALE = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR,
                          DiagnosticStatus.STALE)
INFO = ModelInfo('model', 'class', 'transformers', 'cpu', 'float32', 3_000_000, 784, 7840, 512)


def values(status: Any) -> dict[str, str]:
    return {value.key: value.value for value in status.values}


def test_the_model() -> None:
    ended = RequestStatistics()
    absent = model_status(None, None, 0, ended)
    assert (absent.name, absent.level) == ('model', WARN)
    assert 'configure' in absent.message
    assert 'latency p50 (s)' not in values(absent)
    ended.add(None, 0.25)
    for read in (True, False, True):
        ended.add_second_try(read=read)
    ended.add(NoImageError('no image has arrived'), 1.0)
    ended.add(CancelledError('the caller cancelled the request'), 1.0)
    busy = model_status(INFO, 3, 8, ended)
    assert (busy.level, busy.message) == (OK, 'model: 3.0 M parameters, float32 on cpu')
    assert values(busy) == {
        'loaded': 'True', 'active': 'True', 'waiting': '3', 'running': '8', 'answered': '1',
        'failed': '1', 'latency p50 (s)': '0.250', 'latency p95 (s)': '0.250',
        'second tries': '3', 'second tries read': '2',
        'last error': 'NO_IMAGE: no image has arrived',
        'grounding': 'not tested', 'grounding report': ''}
    assert model_status(INFO, None, 0, ended).message.endswith(', not active')
    ended.add(OutOfMemoryError('send fewer images'), 1.0)
    broken = model_status(INFO, 0, 0, ended)
    assert (broken.level, broken.message) == (ERROR, 'OUT_OF_MEMORY: send fewer images')
    ended.add(None, 1.0)
    assert model_status(INFO, 0, 0, ended).level == OK


def test_latencies_are_of_the_last_hundred_answers() -> None:
    ended = RequestStatistics()
    for taken in (*[99.0] * 7, *range(1, 101)):
        ended.add(None, float(taken))
    assert (ended.latency(0.5), ended.latency(0.95), ended.latency(1.0)) == (50.0, 95.0, 100.0)


def test_memory() -> None:
    status = memory_status(MemoryUse(cache=12_000_000))
    assert (status.name, status.level) == ('memory', OK)
    assert values(status)['cache (MB)'] == '12'
    assert 10 < int(values(status)['process (MB)']) < 100_000
    assert 'GPU' not in status.message
    assert 'keys' not in status.message  # a model on a server
    local = values(memory_status(MemoryUse(
        keys_values=1_500_000, keys_values_budget=7_000_000, preempted=3)))
    assert local['keys and values (MB)'] == '1.5'
    assert local['keys and values at most (MB)'] == '7.0'
    assert local['answers put back'] == '3'
    on_gpu = memory_status(MemoryUse(0, 17_000_000_000, 24_000_000_000))
    assert values(on_gpu)['GPU (MB)'] == '17000'
    assert 'GPU total (MB) 24000' in on_gpu.message
    too_large = memory_status(MemoryUse(cache_needed=1_600_000_001))
    assert 'set cache_mb to 1601' in too_large.message
    assert values(too_large)['cache needed (MB)'] == '1601'


@pytest.mark.parametrize(('health', 'level', 'message', 'seconds'), [
    (ServerHealth('http://a/v1'), STALE, 'not asked yet', None),
    (ServerHealth('http://a/v1', healthy=True, last_error='lost', latency_s=0.25, checked=7.0),
     OK, 'answers', '3.0'),
    (ServerHealth('http://a/v1', healthy=False, last_error='lost', checked=9.5),
     ERROR, 'lost', '0.5'),
])
def test_a_server(
    health: ServerHealth, level: bytes, message: str, seconds: str | None
) -> None:
    status = server_status(health, 10.0)
    assert (status.name, status.level, status.message) == ('server http://a/v1', level, message)
    assert values(status).get('checked (s ago)') == seconds
    assert values(status)['latency (s)'] == f'{health.latency_s:.3f}'
    assert values(status)['last error'] == health.last_error


@pytest.mark.parametrize(('age', 'limit', 'problems', 'level', 'says'), [
    (None, 1.0, [], WARN, 'no image has arrived on /image'),
    (None, 0.0, [], WARN, 'no image has arrived on /image'),
    (0.5, 1.0, [], OK, 'sends images'),
    (1.5, 1.0, [], WARN, 'older than max_image_age, 1 s'),
    (1.5, 0.0, [], OK, 'sends images'),
    (0.5, 1.0, [Fault('clock', 'stamped 0'), Fault('loss', 'get lost')], WARN,
     'stamped 0; get lost'),
])
def test_a_camera(
    ros: Any, age: float | None, limit: float, problems: list[Fault], level: bytes, says: str
) -> None:
    stream = Stream(ros.node('some'), Image, 'image', 'left.image_topic')
    idle = camera_status('left', stream, None, limit, {}, [])
    assert (idle.name, idle.level) == ('camera left', OK)
    assert 'on demand' in idle.message
    stream.open()
    stream.tick(0.0)
    stream.received, stream.dropped = 9, 2
    stream.tick(3.0)
    status = camera_status('left', stream, age, limit, {'damaged': 4}, problems)
    assert (status.name, status.level) == ('camera left', level)
    assert says in status.message
    shown = values(status)
    assert shown.items() >= {'topic': '/image', 'images received': '9', 'dropped': '2',
                             'rate (Hz)': '3.0', 'malformed: damaged': '4'}.items()
    assert ('age of the newest (s)' in shown) is (age is not None)


def answer(handler: Handler) -> None:
    """Answer without a count of tokens, so that image sizes are not checked."""
    handler.start()
    handler.say(ANSWER, finish='stop')


class Monitor:
    """The newest status of each name."""

    def __init__(self, robot: Robot) -> None:
        self._ros = robot.ros
        self._newest: dict[str, Any] = {}
        robot.other.create_subscription(DiagnosticArray, '/diagnostics', self._take, 10)

    def _take(self, message: Any) -> None:
        assert message.header.stamp.sec
        self._newest = {status.name: status for status in message.status}

    def wait(self, name: str, condition: Callable[[Any], bool]) -> Any:
        full = f'mimo_embodied: {name}'

        def matching_status() -> Any:
            status = self._newest.get(full)
            return status if status is not None and condition(status) else None

        return self._ros.wait_for(matching_status)


def test_a_server_is_lost_and_comes_back(ros: Any) -> None:
    server = Server(answer)
    port, name = server.server_port, f'server {server.url}'
    try:
        robot = Robot(ros, backend='openai', model='mimo', servers=[server.url])
        monitor = Monitor(robot)
        status = monitor.wait('model', lambda status: status.level == WARN)
        assert status.hardware_id == '/mimo_embodied'
        robot.start()
        monitor.wait(name, lambda status: status.level == OK)
        monitor.wait('camera camera', lambda status: status.level == WARN)
        robot.see()
        monitor.wait('camera camera', lambda status: status.level == OK)
        ask = action.AnswerSpatial, 'answer_spatial'
        assert robot.ask(*ask, question='Is it red?').result.error_code == ResultCode.NONE
        server.stop()
        robot.see()  # a new frame, else the answer would be the one just given
        lost = robot.ask(*ask, question='Is it red?').result
        assert lost.error_code == ResultCode.BACKEND_UNREACHABLE
        for each in (name, 'model'):
            status = monitor.wait(each, lambda status: status.level == ERROR)
            assert 'start its server' in status.message
        server = Server(answer, port)
        assert robot.ask(*ask, question='Is it red?').result.error_code == ResultCode.NONE
        status = monitor.wait(name, lambda status: status.level == OK)
        assert 'start its server' in values(status)['last error']
        assert int(values(monitor.wait('memory', bool))['process (MB)'])
        status = monitor.wait('model', lambda status: status.level == OK)
        assert (values(status)['answered'], values(status)['failed']) == ('2', '1')
    finally:
        server.stop()


def test_the_reason_why_the_model_is_not_loaded(ros: Any) -> None:
    robot = Robot(ros, model='/nowhere/model')
    monitor = Monitor(robot)
    assert robot.ros.call(robot.node.trigger_configure) is TransitionCallbackReturn.FAILURE
    assert '/nowhere/model' in monitor.wait('model', lambda status: status.level == ERROR).message
