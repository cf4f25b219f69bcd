"""The lifecycle as managers use it: through its services, from another node."""

from __future__ import annotations

import gc
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetAvailableTransitions, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters

from mimo_embodied_ros import action
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.ros import process
from support.openai_server import Server
from support.robot import Robot, remote
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.openai_server import Handler

NODE = '/mimo_embodied'
UNCONFIGURED, INACTIVE = State.PRIMARY_STATE_UNCONFIGURED, State.PRIMARY_STATE_INACTIVE
ACTIVE, FINALIZED = State.PRIMARY_STATE_ACTIVE, State.PRIMARY_STATE_FINALIZED
CONFIGURING = State.TRANSITION_STATE_CONFIGURING
# all that the message names; of the last two no node has any
IDS = {getattr(Transition, name) for name in dir(type(Transition))
       if name.startswith('TRANSITION_')}
LABELS = ('create', 'configure', 'cleanup', 'activate', 'deactivate', 'shutdown', 'destroy',
          'transition_success', 'transition_failure', 'transition_error', 'nonsense')
ALLOWED = {
    UNCONFIGURED: {1: 'configure', 5: 'shutdown'},
    INACTIVE: {2: 'cleanup', 3: 'activate', 6: 'shutdown'},
    ACTIVE: {4: 'deactivate', 7: 'shutdown'},
    FINALIZED: {},
}


class Manager:
    """Another node, which leads a node through its life."""

    def __init__(self, ros: Any) -> None:
        self.ros, self.node = ros, ros.node('manager')
        self._clients: dict[str, Any] = {}

    def send(self, kind: Any, name: str, **request: Any) -> Any:
        """Call a service of the node; returns the future."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = self.node.create_client(kind, f'{NODE}/{name}')
        assert client.wait_for_service(WAIT_S)
        return client.call_async(kind.Request(**request))

    def call(self, kind: Any, name: str, **request: Any) -> Any:
        future = self.send(kind, name, **request)
        self.ros.wait_for(future.done)
        return future.result()

    def request(self, number: int = 0, label: str = '') -> Any:
        return self.send(
            ChangeState, 'change_state', transition=Transition(id=number, label=label))

    def change(self, number: int = 0, label: str = '') -> bool:
        future = self.request(number, label)
        self.ros.wait_for(future.done)
        return bool(future.result().success)

    @property
    def state(self) -> int:
        return int(self.call(GetState, 'get_state').current_state.id)


def test_only_what_a_state_allows_succeeds_and_the_node_goes_on(ros: Any, server: Server) -> None:
    assert len(IDS) >= 20
    remote(ros, server)
    manager = Manager(ros)
    # each state, by transitions that lead there; and what is asked for last, by label
    for way, state, last in (
        ((), UNCONFIGURED, 'configure'), ((), INACTIVE, 'activate'), ((), ACTIVE, 'deactivate'),
        ((2,), UNCONFIGURED, 'configure'), ((3, 4, 3), ACTIVE, 'shutdown'), ((), FINALIZED, ''),
    ):
        for number in way:
            assert manager.change(number)
        allowed = ALLOWED[state]
        available = manager.call(GetAvailableTransitions, 'get_available_transitions')
        assert {t.transition.id: t.transition.label
                for t in available.available_transitions} == allowed
        for number in sorted(IDS - set(allowed)):
            assert not manager.change(number), (state, number)
        for label in LABELS:
            if label not in allowed.values():
                assert not manager.change(label=label), (state, label)
                # the label counts, as with the lifecycle nodes of rclcpp
                assert not manager.change(next(iter(allowed), 1), label), (state, label)
        assert manager.state == state
        assert not last or manager.change(label=last)


def test_a_node_is_shut_down_from_each_state(ros: Any, server: Server) -> None:
    for way in ((5,), (1, 6)):
        robot, manager = remote(ros, server), Manager(ros)
        assert all(map(manager.change, way))
        assert manager.state == FINALIZED
        assert robot.node.engine is None
        for node in (robot.node, robot.other, manager.node):
            ros.destroy(node)


class HeldLoad:
    """Loading, held at a weight until it is released.

    Attributes:
        reached: is set when the weight is reached.
        release: lets loading go on when it is set.
        weights: number of weights that were loaded.

    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int = 20) -> None:
        loading = pytest.importorskip(
            'transformers.core_model_loading', reason='transformers 4 loads otherwise')
        self.reached, self.release, self.weights = threading.Event(), threading.Event(), 0
        place = loading.set_param_for_module

        def held(*arguments: Any, **options: Any) -> Any:
            self.weights += 1
            if self.weights == at:
                self.reached.set()
                self.release.wait(WAIT_S)
            return place(*arguments, **options)

        monkeypatch.setattr(loading, 'set_param_for_module', held)


def test_a_node_answers_while_it_loads_and_a_shutdown_ends_the_loading(
    ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = HeldLoad(monkeypatch)
    robot, manager = Robot(ros), Manager(ros)
    statuses: list[Any] = []
    manager.node.create_subscription(
        DiagnosticArray, '/diagnostics', lambda m: statuses.extend(m.status), 10)
    configured = manager.request(Transition.TRANSITION_CONFIGURE)
    ros.wait_for(load.reached.is_set)
    assert manager.state == CONFIGURING
    ros.wait_for(lambda: any('is being loaded' in status.message for status in statuses))
    (timeout,) = manager.call(GetParameters, 'get_parameters', names=['timeout']).values
    assert timeout.double_value == 600.0
    text = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value='cpu')
    (refused,) = manager.call(SetParameters, 'set_parameters', parameters=[
        Parameter(name='device', value=text)]).results
    assert 'read when the node is configured' in refused.reason
    answer = robot.ask(action.Ask, 'ask', question='What do you see?').result
    assert ResultCode(answer.error_code) is ResultCode.MODEL_NOT_READY
    for label in ('configure', 'activate', 'cleanup', 'transition_success', 'transition_error'):
        assert not manager.change(label=label)
    (shutdown,) = manager.call(
        GetAvailableTransitions, 'get_available_transitions').available_transitions
    assert shutdown.transition.label == 'shutdown'  # which ros2 lifecycle set looks up here
    assert manager.state == CONFIGURING
    assert not configured.done()
    assert manager.change(shutdown.transition.id)  # while the weight is still held
    assert manager.state == FINALIZED
    ros.wait_for(configured.done)
    assert not configured.result().success
    load.release.set()
    assert robot.node._loader.has_ended(WAIT_S)
    assert load.weights == 20  # no other was loaded after it
    assert robot.node.engine is None


@pytest.fixture
def place() -> tuple[str, int]:
    """URL and port of a server that is not there yet."""
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
    return f'http://127.0.0.1:{port}/v1', port


def say_yes(handler: Handler) -> None:
    handler.start()
    handler.say('\\boxed{yes}', finish='stop')


def test_a_node_waits_quietly_for_a_server_that_is_being_started(
    ros: Any, place: tuple[str, int], log: Callable[[], list[str]]
) -> None:
    url, port = place
    robot = Robot(ros, backend='openai', model='mimo', servers=[url], startup_timeout=WAIT_S)
    manager = Manager(ros)

    def said() -> list[str]:
        return [line for line in log() if 'waiting for a server' in line]

    configured = manager.request(Transition.TRANSITION_CONFIGURE)
    ros.wait_for(said)
    # as a proxy does, which takes requests before its server
    with Server(lambda handler: handler.send_error(503), port) as starting:
        ros.wait_for(lambda: len(starting.requests) > 1)
        assert not configured.done()
        starting.behaviour = say_yes
        ros.wait_for(configured.done)
    assert configured.result().success
    (line,) = said()
    assert 'for 120 s at most' in line
    assert f'{url} cannot be reached' in line
    assert robot.node.engine.health()[0].healthy


def test_a_node_that_waits_for_a_server_is_shut_down_at_once_or_gives_up(
    ros: Any, place: tuple[str, int], log: Callable[[], list[str]]
) -> None:
    url, _ = place
    robot = Robot(ros, backend='openai', model='mimo', servers=[url], startup_timeout=WAIT_S)
    manager = Manager(ros)
    configured = manager.request(Transition.TRANSITION_CONFIGURE)
    ros.wait_for(lambda: any('waiting for a server' in line for line in log()))
    begin = time.monotonic()
    assert manager.change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert time.monotonic() - begin < WAIT_S / 2
    ros.wait_for(configured.done)
    assert not configured.result().success
    for node in (robot.node, robot.other, manager.node):
        ros.destroy(node)
    Robot(ros, backend='openai', model='mimo', servers=[url], startup_timeout=0.1)
    assert not Manager(ros).change(Transition.TRANSITION_CONFIGURE)
    assert any('not configured, BACKEND_UNREACHABLE' in line for line in log())


# -- programs

HELD = """
import threading
import transformers.core_model_loading as loading
from mimo_embodied_ros.node.lifecycle_node import main

def held(*_, **__):
    print('held', flush=True)
    threading.Event().wait()  # for ever, as a disk that does not answer

loading.set_param_for_module = held
raise SystemExit(main([]))
"""


@pytest.fixture
def program(ros: Any, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Starts code as a process, and kills it at the end."""
    started: list[Any] = []

    def start(code: str) -> Any:
        made = subprocess.Popen(
            [sys.executable, '-c', textwrap.dedent(code)], env=ros.environment, cwd=tmp_path,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(made)
        return made

    yield start
    for each in started:
        each.kill()
        each.communicate()


def test_a_program_whose_load_never_ends_can_be_interrupted(
    ros: Any, program: Callable[[str], Any]
) -> None:
    pytest.importorskip('transformers.core_model_loading', reason='transformers 4 loads otherwise')
    node, manager = program(HELD), Manager(ros)
    assert node.stdout.readline() == 'held\n'
    assert manager.state == CONFIGURING  # autostart loads as a manager does
    assert not manager.change(Transition.TRANSITION_CONFIGURE)
    node.send_signal(signal.SIGINT)
    _, printed = node.communicate(timeout=WAIT_S)
    assert node.returncode == 0, printed
    assert 'Traceback' not in printed


def test_a_program_that_gets_configure_while_it_is_active_goes_on(
    ros: Any, server: Server, program: Callable[[str], Any]
) -> None:
    node = program(f"""
        from mimo_embodied_ros.node.lifecycle_node import main
        raise SystemExit(main(['--ros-args', '-p', 'backend:=openai', '-p', 'model:=mimo',
                               '-p', 'servers:=["{server.url}"]',
                               '-p', 'grounding_test:=off']))
        """)
    manager = Manager(ros)
    wait_for(lambda: manager.state == ACTIVE)
    assert not manager.change(Transition.TRANSITION_CONFIGURE)
    assert manager.state == ACTIVE
    node.send_signal(signal.SIGINT)
    _, printed = node.communicate(timeout=WAIT_S)
    assert node.returncode == 0
    assert 'transition 1 is not possible in the state active, which allows deactivate' in printed


# -- a model that is lost


def break_device(monkeypatch: pytest.MonkeyPatch, robot: Robot) -> None:
    """Let the model fail as on a GPU whose context is gone: all later calls fail, too."""
    torch = pytest.importorskip('torch', reason='torch is not installed')
    error = getattr(torch, 'AcceleratorError', RuntimeError)

    def fail(*_: Any, **__: Any) -> Any:
        raise error('CUDA error: an illegal memory access was encountered')

    monkeypatch.setattr(robot.node.engine._batch._decoder, 'forward', fail)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'empty_cache', fail)


def test_a_device_that_is_lost_leaves_the_node_unconfigured_and_ends_the_process(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[str] = []
    monkeypatch.setattr(process, 'give_up', given_up.append)
    robot.see()
    break_device(monkeypatch, robot)
    close = robot.node.session.intake.close

    def fail_after() -> None:
        close()
        raise ZeroDivisionError

    monkeypatch.setattr(robot.node.session.intake, 'close', fail_after)
    engine = weakref.ref(robot.node.engine)
    result = robot.ask(action.Ask, 'ask', question='What do you see?').result
    assert ResultCode(result.error_code) is ResultCode.MODEL_NOT_READY
    robot.ros.wait_for(lambda: given_up)
    assert robot.node.state == UNCONFIGURED
    assert robot.node.engine is robot.node.session is None
    assert 'start the program again' in given_up[0]
    refused = robot.ask(action.Ask, 'ask', question='What do you see?').result
    assert 'not active' in refused.error_msg
    assert 'failed permanently' in robot.node.statistics.last_error  # for /diagnostics
    monkeypatch.undo()
    assert wait_for(lambda: gc.collect() is not None and engine() is None)


LOST = """
import threading
import time
import torch
from mimo_embodied_ros.engine import decoder
from mimo_embodied_ros.node.lifecycle_node import main

def fail(*_, **__):
    raise getattr(torch, 'AcceleratorError', RuntimeError)('CUDA error: unspecified launch failure')

forward = decoder.Decoder.forward
def forward_once(*arguments, **options):
    try:
        return forward(*arguments, **options)
    finally:
        decoder.Decoder.forward = fail  # after the warm-up's first pass
        torch.cuda.is_available = lambda: True
        torch.cuda.empty_cache = fail

decoder.Decoder.forward = forward_once
raise SystemExit(main(['--ros-args', '-p', 'autostart:=false']))
"""


def test_a_process_that_cannot_load_any_more_says_so_and_exits_with_its_own_code(
    ros: Any, program: Callable[[str], Any]
) -> None:
    node, manager = program(LOST), Manager(ros)
    manager.request(Transition.TRANSITION_CONFIGURE)
    _, printed = node.communicate(timeout=WAIT_S)
    assert node.returncode == process.LOST == 3, printed
    assert 'start the program again; the exit code is 3' in printed


def test_a_model_on_a_server_is_never_lost(ros: Any, server: Server) -> None:
    robot = remote(ros, server).start()
    statuses: dict[str, Any] = {}
    robot.other.create_subscription(DiagnosticArray, '/diagnostics', lambda m: statuses.update(
        {status.name: status for status in m.status}), 10)

    def ask() -> ResultCode:
        robot.see()  # a new frame, else the answer would be the one given before
        reply = robot.ask(action.AnswerSpatial, 'answer_spatial', question='Is it red?')
        return ResultCode(reply.result.error_code)

    well = server.behaviour
    for code in (401, 403, 404):
        server.behaviour = lambda handler, c=code: handler.send_error(c)
        assert ask() is ResultCode.MODEL_NOT_READY
        for name in ('model', f'server {server.url}'):
            ros.wait_for(lambda n=name, c=code: str(c) in getattr(
                statuses.get(f'mimo_embodied: {n}'), 'message', ''))
        assert robot.node.state == ACTIVE
        server.behaviour = well
        assert ask() is ResultCode.NONE
