"""Answers that cannot be read: a second try, told in result, feedback, log and diagnostics."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')
pytest.importorskip('llguidance')
pytest.importorskip('httpx2')

from action_msgs.msg import GoalStatus

from mimo_embodied_ros import action, msg, srv
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.engine.openai_engine import OpenAIEngine
from mimo_embodied_ros.node.diagnostics import model_status
from support.robot import Robot, parameters
from support.stubborn_server import StubbornServer

if TYPE_CHECKING:
    from support.openai_server import Handler

# the embedded model names the half in the box
UNREAD = {'question': 'Is the green ball in the top or in the bottom half?', 'task': 'yes_no'}
Feedback = action.AnswerSpatial.Feedback


def ask(robot: Robot, **goal: Any) -> Any:
    return robot.ask(action.AnswerSpatial, 'answer_spatial', **{**UNREAD, **goal})


def second_tries(robot: Robot) -> tuple[str, str]:
    """The counts of second tries in the status for ``/diagnostics``."""
    status = model_status(robot.node.engine.info, 0, 0, robot.node.statistics)
    values = {value.key: value.value for value in status.values}
    return values['second tries'], values['second tries read']


def test_a_second_try_is_told(robot: Robot, log: Any) -> None:
    outcomes = robot.received(msg.Outcome, '/mimo_embodied/outcome')
    robot.see()
    feedback: list[Any] = []
    reply = robot.result(robot.send(action.AnswerSpatial, 'answer_spatial', feedback, **UNREAD))
    result = reply.result
    assert reply.status == GoalStatus.STATUS_SUCCEEDED
    assert result.answer.answer_type == msg.SpatialAnswer.YES_NO
    assert result.raw_text.endswith(('\\boxed{yes}', '\\boxed{no}'))
    assert result.stats.attempts == 2
    assert second_tries(robot) == ('1', '1')
    robot.ros.wait_for(lambda: outcomes)
    assert outcomes[0].stats == result.stats
    # what the model wrote first is not lost, and not mixed with the second answer
    robot.ros.wait_for(lambda: any('bottom}' in line and 'asked twice' in line for line in log()))
    last = max(n for n, f in enumerate(feedback) if f.state == Feedback.PREPROCESSING)
    assert Feedback.ANSWERING in [f.state for f in feedback[:last]]
    assert 'bottom}' in ''.join(f.delta for f in feedback[:last])
    robot.ros.wait_for(lambda: ''.join(f.delta for f in feedback[last:]) == result.raw_text)


def test_a_copy_of_a_second_answer_is_not_counted_again(robot: Robot) -> None:
    robot.see()
    assert [ask(robot).result.stats.attempts for _ in range(2)] == [2, 2]
    assert second_tries(robot) == ('1', '1')


def test_it_can_be_switched_off_and_on_at_any_time(robot: Robot) -> None:
    for on in (False, True):
        robot.node.set_parameters(parameters(retry_structured=on))
        robot.see()
        result = ask(robot).result
        assert result.error_code == (ResultCode.NONE if on else ResultCode.PARSE_FAILED)
        assert result.stats.attempts == (2 if on else 1)


def test_attempts_of_other_requests(robot: Robot) -> None:
    unasked = robot.ask(action.Ask, 'ask', question='What do you see?', task='nothing').result
    assert (unasked.error_code, unasked.stats.attempts) == (ResultCode.INVALID_REQUEST, 0)
    robot.see()
    for question, task in (('What do you see?', ''), ('Is the cup left of the ball?', 'yes_no')):
        result = ask(robot, question=question, task=task).result
        assert (result.error_code, result.stats.attempts) == (ResultCode.NONE, 1)
    assert second_tries(robot) == ('0', '0')


@pytest.mark.parametrize('can', [True, False])
def test_a_request_can_ask_for_a_held_answer(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, can: bool
) -> None:
    """Where llguidance is missing, no answer is passed off as held."""
    if not can:
        monkeypatch.setitem(sys.modules, 'llguidance', None)
    prompts = robot.prompts()
    robot.see()
    result = ask(robot, structured=True).result
    assert result.error_code == (ResultCode.NONE if can else ResultCode.INVALID_REQUEST)
    assert ('pip install llguidance' in result.error_msg) is not can
    response = robot.call(
        srv.GetSpatialAnswer, 'get_spatial_answer', structured=True, **UNREAD)
    assert response.error_code == result.error_code
    standing = robot.received(msg.Outcome, '/mimo_embodied/outcome')
    robot.see()
    robot.call(srv.SetStandingQuery, 'set_standing_query', name='watch', enabled=True, rate=20.0,
               kind=srv.SetStandingQuery.Request.ANSWER_SPATIAL, text='What do you see?',
               task='yes_no', structured=True)
    robot.ros.wait_for(lambda: standing)
    assert standing[0].error_code == result.error_code
    assert all(prompt.grammar for prompt in prompts)


def test_two_answers_of_a_server_that_cannot_be_read(
    ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenAIEngine, 'holds_grammars', True)
    answers = '\\boxed{maybe 1}', '\\boxed{maybe 2}', 'hm', '\\boxed{yes}'
    with StubbornServer(*answers) as server:
        robot = Robot(ros, backend='openai', model='mimo', servers=[server.url]).start()
        robot.see()
        reply = ask(robot)
        assert reply.status == GoalStatus.STATUS_ABORTED
        result = reply.result
        assert ResultCode(result.error_code) is ResultCode.PARSE_FAILED
        assert result.raw_text == '\\boxed{maybe 2}'
        assert "'maybe 1' cannot be read" in result.error_msg
        assert "'maybe 2' cannot be read" in result.error_msg
        assert result.stats.attempts == 2
        assert second_tries(robot) == ('1', '0')
        robot.see()
        result = ask(robot).result
        assert (result.error_code, result.answer.yes) == (ResultCode.NONE, True)
        assert second_tries(robot) == ('2', '1')


def test_a_second_try_can_be_cancelled(ros: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenAIEngine, 'holds_grammars', True)

    def long(handler: Handler) -> None:
        handler.start()
        for number in range(1000):
            handler.say(f'{number} ')
            time.sleep(0.02)

    with StubbornServer('\\boxed{maybe}', long) as server:
        robot = Robot(ros, backend='openai', model='mimo', servers=[server.url]).start()
        robot.see()
        feedback: list[Any] = []
        handle = robot.send(action.AnswerSpatial, 'answer_spatial', feedback, **UNREAD)
        ros.wait_for(lambda: any('5' in f.delta for f in feedback))
        ros.wait_for(ros.call(handle.cancel_goal_async).done)
        reply = robot.result(handle)
        assert reply.status == GoalStatus.STATUS_CANCELED
        assert reply.result.raw_text.startswith('0 1 2 ')  # not behind the first answer
        ros.wait_for(lambda: second_tries(robot) == ('1', '0'))
