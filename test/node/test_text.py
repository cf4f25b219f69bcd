"""Text of a server goes through the node, whatever it holds, and secrets in it do not."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')
pytest.importorskip('httpx2')

from diagnostic_msgs.msg import DiagnosticArray
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message

from mimo_embodied_ros import action, msg
from mimo_embodied_ros.bags import describe
from mimo_embodied_ros.client import MimoClient
from mimo_embodied_ros.core.characters import valid_text
from mimo_embodied_ros.core.errors import MimoError, ResultCode
from mimo_embodied_ros.geometry.extrinsics import load_extrinsics
from mimo_embodied_ros.node.recorder import FILE
from mimo_embodied_ros.pictures import read_picture
from mimo_embodied_ros.ros import process
from mimo_embodied_ros.ros.messages import sendable
from support.openai_server import Handler, Server
from support.robot import Robot
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from pathlib import Path

KEY = 'geheim-4711-abcdef'
HALF = '\ud800'
TEXT = st.text(st.characters() | st.sampled_from('\ud83d\ude00\0'))


def streaming(*pieces: str) -> Any:
    def behave(handler: Handler) -> None:
        handler.start()
        for piece in pieces:
            handler.say(piece)
        handler.say(finish='stop')

    return behave


def failing(status: int, message: str) -> Any:
    def behave(handler: Handler) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.send(json.dumps({'error': {'message': message}}))

    return behave


def test_any_text_of_a_server_can_be_published(ros: Any, tmp_path: Path) -> None:
    with Server(streaming('\\boxed{yes}')) as server:
        robot = Robot(ros, backend='openai', model='mimo', servers=[server.url],
                      record_to=str(tmp_path)).start()
        outcomes = robot.received(msg.Outcome, '/mimo_embodied/outcome')

        def ask(kind: Any, name: str, behaviour: Any, **goal: Any) -> Any:
            robot.see()
            server.behaviour = behaviour
            return robot.ask(kind, name, **goal).result

        free = ask(action.Ask, 'ask', streaming('a \ud83d', f'\ude00 {HALF} b\0c'), question='?')
        assert free.answer.answer == free.raw_text == 'a \U0001f600 \ufffd b\ufffdc'
        label = ask(action.FindAffordances, 'find_affordances', streaming(
            r'[{"points": [[57, 80]], "label": "\ud800 cup\u0000s"}]'), query='cup')
        assert [point.label for point in label.affordances.points] == ['\ufffd cup\ufffds']
        plan = ask(action.PlanTask, 'plan_task', streaming(
            r'["pick up the \ud800 cup", "put the \u0000 cup down"]'), instruction='go')
        assert [step.description for step in plan.plan.steps] or plan.error_msg
        thought = ask(action.AnswerSpatial, 'answer_spatial', streaming(
            f'<think>\n{HALF}</think>\n\n\\boxed{{yes}}'), question='Is it?', thinking=1)
        assert thought.reasoning == '\ufffd'
        server.behaviour = streaming('red')
        with MimoClient(robot.other) as mimo:
            robot.see()
            told = mimo.ask(f'a {HALF} b\0c').result(WAIT_S)
        assert told.answer.question == 'a \ufffd b\ufffdc'
        failed = ask(action.Ask, 'ask', failing(500, f'out {HALF} of\0order'), question='?')
        assert ResultCode(failed.error_code) is ResultCode.BACKEND_ERROR
        assert 'out \ufffd of' in failed.error_msg
        ended = ask(action.Ask, 'ask', lambda handler: (
            handler.start(), handler.say('a', finish=HALF)), question='?')
        assert ResultCode(ended.error_code) is ResultCode.BACKEND_ERROR
        ros.wait_for(lambda: len(outcomes) == 7)
    ros.call(robot.node.trigger_deactivate)
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text('utf-8').splitlines()]
    assert [line['recorded']['raw_text'] for line in lines] == [o.raw_text for o in outcomes]


def test_a_key_in_the_text_of_a_server_is_masked_everywhere(
    ros: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('MIMO_TEST_KEY', KEY)
    other = 'sk-other0123456789'
    with Server(streaming('\\boxed{yes}')) as server:
        robot = Robot(ros, backend='openai', model='mimo', servers=[server.url],
                      api_key_env='MIMO_TEST_KEY', record_to=str(tmp_path)).start()
        assert server.requests[0].headers['Authorization'] == f'Bearer {KEY}'
        outcomes = robot.received(msg.Outcome, '/mimo_embodied/outcome')
        statuses = robot.received(DiagnosticArray, '/diagnostics')
        said = (f'Incorrect key {KEY} or {other}; see http://user:pa55@host/?token=abc123 '
                + 'x' * 180 + KEY)
        # an HTTP status, an error within a stream, and a reason that is none
        for behaviour in (failing(500, said), streaming_error(said), streaming_reason(said)):
            robot.see()
            server.behaviour = behaviour
            result = robot.ask(action.Ask, 'ask', question='?').result
            assert ResultCode(result.error_code) is ResultCode.BACKEND_ERROR
            assert 'Incorrect key ***' in result.error_msg
        ros.wait_for(lambda: any('***' in str(status) for status in statuses))
        ros.wait_for(lambda: len(outcomes) == 3)
        ros.call(robot.node.trigger_deactivate)
    seen = capfd.readouterr().err + str(outcomes) + str(statuses) + (tmp_path / FILE).read_text()
    assert seen.count('Incorrect key ***') > 6
    for secret in (KEY, KEY[:8], other, 'pa55', 'abc123'):
        assert secret not in seen


def streaming_error(message: str) -> Any:
    def behave(handler: Handler) -> None:
        handler.start()
        handler.send_json({'error': {'message': message}})

    return behave


def streaming_reason(reason: str) -> Any:
    def behave(handler: Handler) -> None:
        handler.start()
        handler.say('red', finish=reason)

    return behave


@given(TEXT, st.lists(TEXT, max_size=3))
def test_any_text_can_be_sent_in_any_field(text: str, texts: list[str]) -> None:
    step = msg.TaskStep(description=text, preconditions=texts,
                        points=[msg.AffordancePoint(label=text)])
    plan = sendable(msg.TaskPlan(instruction=text, steps=[step]))
    received = deserialize_message(serialize_message(plan), msg.TaskPlan)
    assert received == plan
    assert received.steps[0].points[0].label == valid_text(text)
    assert received.steps[0].preconditions == list(map(valid_text, texts))


@given(st.binary(min_size=4, max_size=4).filter(lambda data: 0 not in data))
def test_bytes_that_are_no_utf_8_arrive_as_a_text_that_can_be_sent(data: bytes) -> None:
    """Clients in C++ can send any bytes."""
    serialised = serialize_message(action.Ask.Goal(question='????'))
    goal = deserialize_message(serialised.replace(b'????', data), action.Ask.Goal)
    assert goal.question == valid_text(goal.question)
    assert serialize_message(goal)


def test_files_and_arguments_may_hold_what_is_no_character(tmp_path: Path) -> None:
    frames = tmp_path / 'frames.yaml'
    frames.write_text('- {parent: base, child: "cam \\ud800", translation: [0, 0, 1], '
                      'rotation: [0, 0, 0, 1]}')
    assert load_extrinsics(frames).lookup('base', 'cam \ufffd', 0).translation[2] == 1
    bag = tmp_path / 'bag'
    bag.mkdir()
    (bag / 'metadata.yaml').write_text(
        'rosbag2_bagfile_information: {relative_file_paths: ["\\ud800.mcap"], '
        'topics_with_message_count: []}')
    missing = tmp_path / 'no \udcff.png'  # a name of bytes that are no UTF-8
    for fails in (partial(describe, bag), partial(read_picture, missing),
                  partial(read_picture, 'half \ud83d.png'), partial(read_picture, 'a\0.png'),
                  partial(process.init, ['node', '--ros-args', '-r', 'a:=\udcff'])):
        with pytest.raises(MimoError) as caught:
            fails()
        assert str(caught.value) == valid_text(str(caught.value))
