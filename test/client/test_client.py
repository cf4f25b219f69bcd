"""The Python client, against the real node and against a robot's own action server."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from action_msgs.msg import GoalStatus, GoalStatusArray
from rclpy.action import ActionClient, ActionServer, CancelResponse, GoalResponse
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from mimo_embodied_ros import action
from mimo_embodied_ros.client import MimoClient
from mimo_embodied_ros.core.errors import (
    CancelledError,
    GoalRejectedError,
    InvalidRequestError,
    MimoError,
    ModelNotReadyError,
    OutputTruncatedError,
    RequestTimeoutError,
    ResultCode,
    SendGoalError,
    StaleImageError,
    error_of,
)
from mimo_embodied_ros.pictures import jpeg
from support.documentation import code_blocks, run_python_blocks
from support.memory_server import MemoryServer, thing
from support.paths import DOCS
from support.robot import Robot
from support.tabletop import INSTRUCTION, SCENE
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from pathlib import Path

IN = 5 * WAIT_S  # more than any answer takes


class Gripper:
    """An action server of a robot; each goal runs until :meth:`end`."""

    def __init__(self, ros: Any, **options: Any) -> None:
        self.node = ros.node('gripper')
        self.goals: list[Any] = []
        self.ends: list[Future] = []
        self.server = ActionServer(
            self.node, action.Ask, 'gripper/do', self._execute,
            cancel_callback=lambda _: CancelResponse.ACCEPT, **options)

    async def _execute(self, handle: Any) -> Any:
        end = Future(executor=self.node.executor)
        self.ends.append(end)
        self.goals.append(handle)
        result = await end
        (handle.canceled if handle.is_cancel_requested else
         handle.abort if result.error_code else handle.succeed)()
        return result

    def end(self, **result: Any) -> None:
        """End the newest goal with this result."""
        self.node.executor.create_task(self.ends[-1].set_result, action.Ask.Result(**result))


def do(client: MimoClient, what: str = 'close') -> Any:
    return client.send(action.Ask, 'gripper/do', action.Ask.Goal(question=what))


def test_a_picture_of_ones_own_is_sent_as_a_file(ros: Any, mimo: MimoClient) -> None:
    Robot(ros).start()
    picture = CompressedImage(header=Header(frame_id='phone'), format='jpeg',
                              data=jpeg(SCENE.pixels))
    found = mimo.find('the red cube', compressed_images=[picture]).result(IN).affordances
    assert found.header == picture.header
    assert found.points
    with pytest.raises(InvalidRequestError, match='several of images'):
        mimo.find('cube', compressed_images=[picture], cameras=['camera']).result(IN)
    with pytest.raises(InvalidRequestError, match='compressed_images of find_affordances is'):
        mimo.find('the red cube', compressed_images=['picture.jpg'])


def test_a_plan_with_its_feedback_and_result(ros: Any, mimo: MimoClient) -> None:
    robot = Robot(ros).start()
    header = robot.see()
    with pytest.raises(InvalidRequestError, match='nothing has been asked yet'):
        mimo.is_done()

    def text_of_feedback() -> str:
        request = mimo.plan('pick up the red cube')
        request.result(IN)
        return request.text()

    ros.wait_for(text_of_feedback)  # feedback is lost until both sides have found each other
    request = mimo.plan(INSTRUCTION, timeout=IN)
    result = mimo.result(IN)
    assert mimo.is_done()
    assert request.result() is result
    assert result.plan.header == header
    assert [s.object for s in result.plan.steps] == ['red cube', 'red cube']
    ros.wait_for(lambda: request.text() == result.raw_text)
    assert mimo.feedback().state == action.PlanTask.Feedback.ANSWERING
    mimo.cancel()  # does nothing any more
    assert mimo.result() is result
    assert mimo.cameras().result(IN).cameras[0].header == header
    with pytest.raises(StaleImageError, match='old'):
        mimo.find('red cube', max_image_age=1e-6).result(IN)
    with pytest.raises(OutputTruncatedError) as failed:
        mimo.find('red cube', max_new_tokens=3).result(IN)
    assert failed.value.raw_text == failed.value.reply.raw_text != ''
    assert failed.value.reply.stats.completion_tokens == 3


def test_action_clients_are_made_in_the_thread_that_spins_them(
    ros: Any, mimo: MimoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kilted's executor may otherwise use a client that is not complete yet, and fail."""
    threads = []

    class Watched(ActionClient):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            threads.append(threading.current_thread().name)
            super().__init__(*arguments, **options)

    monkeypatch.setattr('mimo_embodied_ros.client.client.ActionClient', Watched)
    gripper = Gripper(ros)
    request = do(mimo)
    ros.wait_for(lambda: gripper.ends)
    gripper.end(error_msg='closed')
    assert request.result(IN).error_msg == 'closed'
    assert threads == ['mimo_client']
    with pytest.raises(InvalidRequestError, match='gripper/open cannot be asked'):
        mimo.send(object, 'gripper/open', None).result(IN)


def test_many_goals_at_once_all_end_however_long_either_side_is_busy(
    ros: Any, mimo: MimoClient
) -> None:
    robot = Robot(ros)  # not active: every goal is aborted at once
    with pytest.raises(ModelNotReadyError):
        mimo.ask('anything?').result(IN)
    statuses = robot.received(GoalStatusArray, '/mimo_embodied/ask/_action/status')
    server, client = threading.Event(), threading.Event()
    ros.executor.create_task(server.wait, WAIT_S)
    goals = [mimo.ask(f'question {number}?') for number in range(50)]
    wait_for(lambda: all(goal._sent for goal in goals))
    mimo._spinner.call(lambda: client.wait(WAIT_S))
    server.set()
    ros.wait_for(lambda: statuses and sum(
        status.status == GoalStatus.STATUS_ABORTED for status in statuses[-1].status_list) > 50)
    client.set()
    for goal in goals:
        with pytest.raises(ModelNotReadyError):
            goal.result(IN)


def test_the_examples_of_the_docs_print_what_the_docs_show(ros: Any, tmp_path: Path) -> None:
    robot = Robot(ros).start()
    robot.see()
    MemoryServer(ros, thing('red cube'), thing('green ball'))
    page = DOCS / 'client.md'
    printed = run_python_blocks(page, ros.environment, tmp_path)
    documented = code_blocks(page, 'text')[0]
    cube, ball = (' '.join(str(float(round(v, -2))) for v in (thing.x, thing.y))
                  for thing in (SCENE.things[0], SCENE.things[2]))
    # the answer may have been complete when the cancel came
    lines = printed.replace('cancelled\n', '').splitlines()
    assert lines == [
        *documented.splitlines(), f'the red cube {cube}', f'the green ball {ball}', 'camera',
        'too old, error_code 7011', 'red cube map 1.0 2.0', '2 remembered', '1 forgotten', 'bottom',
        'left of it: True', 'there is a red cube: True', 'yes']


def test_a_callback_may_wait_and_may_await(ros: Any, caller: Node, mimo: MimoClient) -> None:
    gripper = Gripper(ros)
    executor = SingleThreadedExecutor(context=ros.context)
    executor.add_node(caller)

    async def awaited() -> Any:
        return await do(mimo)

    for callback in (awaited, lambda: do(mimo).result(IN)):
        count = len(gripper.goals)
        task = executor.create_task(callback)
        threading.Thread(target=lambda n=count: (
            ros.wait_for(lambda: len(gripper.goals) > n), gripper.end(raw_text='done'))).start()
        executor.spin_until_future_complete(task, IN)
        assert task.result().raw_text == 'done'
    executor.shutdown()


def test_asyncio_takes_results_and_errors_and_cancels(ros: Any, mimo: MimoClient) -> None:
    gripper = Gripper(ros)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def later(**result: Any) -> None:
            count = len(gripper.goals)
            loop.run_in_executor(None, lambda: (
                ros.wait_for(lambda: len(gripper.goals) > count), gripper.end(**result)))

        later(raw_text='done')
        assert (await do(mimo)).raw_text == 'done'
        later(error_code=int(ResultCode.QUEUE_FULL), error_msg='too many')
        with pytest.raises(MimoError, match='too many'):
            await do(mimo)
        request = do(mimo)
        task = asyncio.ensure_future(_await(request))
        await loop.run_in_executor(None, ros.wait_for, lambda: len(gripper.goals) == 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await loop.run_in_executor(
            None, ros.wait_for, lambda: gripper.goals[-1].is_cancel_requested)
        gripper.end()
        with pytest.raises(CancelledError):
            await request

    asyncio.run(main())


async def _await(request: Any) -> Any:
    return await request


def test_a_request_is_cancelled_wherever_it_is(ros: Any, mimo: MimoClient) -> None:
    early = do(mimo)
    early.cancel()
    with pytest.raises(CancelledError):
        early.result(IN)
    gripper = Gripper(ros)
    first = do(mimo)
    ros.wait_for(lambda: gripper.goals)  # so that the server is known
    sent = do(mimo)
    sent.cancel()  # perhaps before the server has answered
    running = do(mimo)
    ros.wait_for(lambda: len(gripper.goals) >= 2)
    gripper.goals[-1].publish_feedback(action.Ask.Feedback(delta='so far'))
    ros.wait_for(lambda: running.text() or sent.text() or sent.is_done())
    running.cancel()
    ros.wait_for(lambda: all(g.is_cancel_requested for g in gripper.goals[1:]))
    ros.wait_for(lambda: sent.is_done() or len(gripper.goals) == 3)
    for end in gripper.ends:
        gripper.node.executor.create_task(end.set_result, action.Ask.Result())
    assert first.result(IN)
    for request in (sent, running):
        with pytest.raises(CancelledError):
            request.result(IN)
        request.cancel()


def test_a_server_that_is_not_there_is_named_with_the_remedy(caller: Node) -> None:
    with MimoClient(caller, 'nowhere', wait_s=0.2) as client:
        with pytest.raises(SendGoalError, match=r'/nowhere/ask after 0\.2 s.*serve.*server='):
            client.ask('What do you see?').result(IN)
        with pytest.raises(SendGoalError, match='/nowhere/list_cameras'):
            client.cameras().result(IN)


def test_a_server_that_goes_away_is_noticed(ros: Any, caller: Node) -> None:
    gripper = Gripper(ros)
    with MimoClient(caller, wait_s=1.0) as client:
        request = do(client)
        with pytest.raises(RequestTimeoutError, match='gripper/do has no result after 0'):
            request.result(0)
        ros.wait_for(lambda: gripper.goals or request.is_done(), IN)
        ros.call(gripper.server.destroy)
        with pytest.raises(SendGoalError, match='gripper/do'):
            request.result(IN)


def test_codes_become_errors_and_unknown_codes_are_kept(ros: Any, mimo: MimoClient) -> None:
    gripper = Gripper(ros)
    for count, code in enumerate((ResultCode.NO_IMAGE, 104), 1):
        request = do(mimo)
        ros.wait_for(lambda n=count: len(gripper.goals) == n)
        gripper.end(error_code=int(code), error_msg='why', raw_text='so far')
        with pytest.raises(MimoError, match='why') as failed:
            request.result(IN)
        assert failed.value.code == (code if code in {*ResultCode} else ResultCode.UNKNOWN)
        assert failed.value.reply.error_code == code
        assert failed.value.raw_text == 'so far'


def test_a_goal_that_is_not_accepted(ros: Any, mimo: MimoClient) -> None:
    Gripper(ros, goal_callback=lambda _: GoalResponse.REJECT)
    with pytest.raises(GoalRejectedError, match='gripper/do'):
        do(mimo).result(IN)


@pytest.mark.parametrize(('field', 'value', 'says'), [
    ('camera', ['left'], 'no field camera; it has .*cameras'),
    ('cameras', 'left', "cameras of find_affordances is 'left'"),
    ('kind', -1, 'kind'),
])
def test_a_goal_with_a_wrong_field_is_refused_at_once(
    mimo: MimoClient, field: str, value: Any, says: str
) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        mimo.find('cube', **{field: value})


def test_requests_end_when_the_client_or_ros_ends(ros: Any, caller: Node) -> None:
    gripper = Gripper(ros)
    client = MimoClient(caller)
    request = do(client)
    ros.wait_for(lambda: gripper.goals)
    client.close()
    client.close()
    with pytest.raises(SendGoalError, match='closed'):
        request.result(IN)
    with pytest.raises(SendGoalError, match='closed'):
        do(client)
    request.cancel()
    client = MimoClient(caller)
    request = do(client)
    ros.context.shutdown()
    with pytest.raises(SendGoalError, match='shut down'):
        request.result(IN)
    client.close()


def test_names_are_those_of_the_node(ros: Any) -> None:
    node = Node('caller', namespace='robot1', context=ros.context,
                cli_args=['--ros-args', '-r', 'mimo_embodied/ask:=/fleet/ask'])
    with MimoClient(node) as client:
        assert client.find('cube').name == '/robot1/mimo_embodied/find_affordances'
        assert client.ask('What do you see?').name == '/fleet/ask'
    node.destroy_node()


@pytest.mark.parametrize('code', ResultCode)
def test_each_code_has_its_error(code: ResultCode) -> None:
    error = error_of(code, 'why')
    assert str(error) == 'why'
    assert error.code == (code or ResultCode.UNKNOWN)
