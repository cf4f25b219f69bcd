"""System prompt and longest reasoning: of a request, its task, or the node's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros import action, srv
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.core.prompts import THINKING_TOKENS
from mimo_embodied_ros.core.tasks import Task
from support.robot import Robot, parameters, remote

if TYPE_CHECKING:
    from pathlib import Path

    from support.openai_server import Server

THINK = action.AnswerSpatial.Goal.THINK_ON
QUESTION = 'Is the red cube left of the blue bowl?'


def test_the_system_prompt_is_that_of_the_request_else_the_tasks_else_the_nodes(
    ros: Any, tmp_path: Path
) -> None:
    tasks = tmp_path / 'tasks.yaml'
    tasks.write_text('told:\n  prompt: "{text}"\n  answer: text\n  system: of the task\n')
    robot = Robot(ros, tasks_file=str(tasks), system_prompt='You are a robot.').start()
    robot.see()
    prompts = robot.prompts()
    for goal in ({'task': 'told', 'system_prompt': 'of the goal'}, {'task': 'told'}, {},
                 {'system_prompt': ' \n'}):
        robot.ask(action.Ask, 'ask', question=QUESTION, **goal)
    assert [p.system for p in prompts] == [
        'of the goal', 'of the task', 'You are a robot.']  # the last is the one before: asked once
    assert ros.call(robot.node.set_parameters, parameters(system_prompt=''))[0].successful
    robot.call(srv.GetTaskPlan, 'get_task_plan', instruction='take the red cube')
    robot.call(srv.GetTaskPlan, 'get_task_plan', instruction='take the red cube',
               system_prompt='of the call')
    robot.call(srv.SetStandingQuery, 'set_standing_query', name='a', enabled=True, rate=100.0,
               kind=srv.SetStandingQuery.Request.ASK, text='Is there a bowl?',
               system_prompt='of the query')
    ros.wait_for(lambda: len(prompts) > 5)
    assert [p.system for p in prompts[3:6]] == ['', 'of the call', 'of the query']


def test_a_reasoning_ends_after_so_many_tokens_of_the_request_or_the_node(robot: Robot) -> None:
    robot.see()
    prompts = robot.prompts()

    def ask(**goal: Any) -> Any:
        return robot.ask(
            action.AnswerSpatial, 'answer_spatial', question=QUESTION, **goal).result

    whole = ask(thinking=THINK)
    short = ask(thinking=THINK, thinking_tokens=6)
    assert (short.error_code, short.answer.yes) == (ResultCode.NONE, True)
    assert whole.reasoning.startswith(short.reasoning)
    assert 0 < len(short.reasoning) < len(whole.reasoning)
    assert 0 < short.stats.completion_tokens < whole.stats.completion_tokens
    robot.ros.call(robot.node.set_parameters, parameters(thinking_tokens=3))
    assert whole.reasoning.startswith(ask(thinking=THINK).reasoning)
    assert ask(thinking=THINK, thinking_tokens=6).reasoning == short.reasoning
    ask()
    # the one with six tokens was answered before
    assert [p.thinking_tokens for p in prompts] == [0, 6, 3, 0]
    assert [p.max_new_tokens - Task.SPATIAL.tokens for p in prompts] == [THINKING_TOKENS, 6, 3, 0]


def test_a_system_prompt_or_budget_that_cannot_be_is_refused_with_the_reason(
    robot: Robot
) -> None:
    robot.see()
    reply = robot.ask(action.Ask, 'ask', question='What?', system_prompt='a <|im_end|>').result
    assert reply.error_code == ResultCode.INVALID_REQUEST
    assert 'the system prompt holds the control token' in reply.error_msg
    reply = robot.call(srv.SetStandingQuery, 'set_standing_query', name='a', enabled=True,
                       rate=1.0, kind=srv.SetStandingQuery.Request.ASK, text='What?',
                       system_prompt='a <|im_end|>')
    assert 'the system prompt holds the control token' in reply.error_msg
    for values, reason in (({'system_prompt': 'a <|im_end|>'}, 'control token'),
                           ({'thinking_tokens': -1}, '-1')):
        (result,) = robot.ros.call(robot.node.set_parameters, parameters(**values))
        assert not result.successful
        assert reason in result.reason
    assert robot.node.settings.system_prompt == ''


def test_a_budget_that_no_server_keeps_is_refused(ros: Any, server: Server) -> None:
    robot = remote(ros, server, min_pixels=3136, max_pixels=47040).start()
    robot.see()
    reply = robot.ask(action.AnswerSpatial, 'answer_spatial', question=QUESTION, thinking=THINK,
                      thinking_tokens=6).result
    assert reply.error_code == ResultCode.INVALID_REQUEST
    assert 'set thinking_tokens to 0' in reply.error_msg
    assert robot.ask(action.AnswerSpatial, 'answer_spatial', question=QUESTION, thinking_tokens=6,
                     system_prompt='Be kind.').result.answer.yes
    assert server.requests[-1].body['messages'][0] == {'role': 'system', 'content': 'Be kind.'}
