"""py_trees behaviours: real trees, ticked against the real node and a robot's own action."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')
py_trees = pytest.importorskip('py_trees', reason='an extra: pip install py_trees')

from py_trees.behaviours import StatusQueue
from py_trees.blackboard import Blackboard
from py_trees.common import Status
from py_trees.display import ascii_tree
from py_trees.trees import BehaviourTree
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import Header

from mimo_embodied_ros import action, msg, srv
from mimo_embodied_ros.client import MimoClient
from mimo_embodied_ros.core.errors import CancelledError, InvalidRequestError, ResultCode
from mimo_embodied_ros.pictures import read_picture
from mimo_embodied_ros.trees import (
    Ask,
    EachStep,
    Execute,
    Find,
    Plan,
    Recall,
    Track,
    WaitForFrame,
    tabletop_task,
)
from mimo_embodied_ros.trees.tree_pictures import draw_tree
from support.documentation import run_python_blocks
from support.memory_server import MemoryServer, thing
from support.paths import DOCS
from support.robot import Robot
from support.robot_process import ACTION, RobotProcess
from support.tabletop import INSTRUCTION, SCENE
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from py_trees.behaviour import Behaviour

    from mimo_embodied_ros.worlds import table_scene

PAGE = DOCS / 'behaviour_trees.md'


class Table:
    """A table that a camera sees all the time, and a gripper that may drop what it holds.

    ``gripper/do`` takes "pick up X Y" and "put X Y", X and Y in pixels of the camera's image.
    """

    def __init__(self, robot: Robot, drops: int = 0) -> None:
        self.things, self.robot, self.drops = list(SCENE.things), robot, drops
        self.held: table_scene.Thing | None = None
        self.done: list[str] = []
        robot.other.create_timer(0.2, lambda: robot.show(self.things))
        self.server = ActionServer(robot.other, action.Ask, 'gripper/do', self._execute)

    def _execute(self, handle: Any) -> Any:
        what, x, y = handle.request.question.rsplit(' ', 2)
        self.done.append(what)
        if what == 'pick up':
            self.held = next(thing for thing in self.things if hit(thing, float(x), float(y)))
            self.things.remove(self.held)
        else:
            assert self.held is not None
            dropped = self.drops > 0
            self.drops -= 1
            # drawn bowls hold nothing: it comes to lie to the right of the place
            self.things.append(self.held if dropped else replace(
                self.held, x=float(x) + 120, y=float(y)))
            self.held = None
            if dropped:
                handle.abort()
                return action.Ask.Result(error_code=104, error_msg='it fell down')
        handle.succeed()
        return action.Ask.Result()


def hit(thing: table_scene.Thing, x: float, y: float) -> bool:
    x_min, y_min, x_max, y_max = thing.box
    return x_min <= x <= x_max and y_min <= y <= y_max


def execute_step() -> Execute:
    def goal(blackboard: Any) -> Any:
        point = blackboard.affordances.points[0]
        return action.Ask.Goal(
            question=f'{blackboard.step.action} {point.x:.0f} {point.y:.0f}')

    return Execute('execute', action.Ask, 'gripper/do', goal)


@pytest.fixture(autouse=True)
def blackboard() -> Iterator[None]:
    Blackboard.clear()
    yield
    Blackboard.clear()


@pytest.fixture
def mimo(ros: Any) -> Iterator[MimoClient]:
    node = Node('caller', context=ros.context)
    with MimoClient(node) as client:
        yield client
    node.destroy_node()


def run(ros: Any, root: Behaviour, client: MimoClient, timeout_s: float = 5 * WAIT_S) -> Status:
    """Tick until it has ended, as a robot's program does."""
    tree = BehaviourTree(root)
    tree.setup(client=client)

    def ended() -> bool:
        tree.tick()
        return tree.root.status is not Status.RUNNING

    ros.wait_for(ended, timeout_s)
    return root.status


def of(key: str) -> Any:
    return Blackboard.get(f'/mimo/{key}')


def error() -> tuple[int, str]:
    return of('error_code'), of('error_msg')


@pytest.mark.parametrize('drops', [0, 1])
def test_a_whole_task_is_done_and_planned_again_when_the_gripper_drops(
    ros: Any, mimo: MimoClient, drops: int
) -> None:
    table = Table(Robot(ros).start(), drops)
    Blackboard.set('/mimo/instruction', INSTRUCTION)
    root = tabletop_task(
        execute_step(), done='Is the red cube right of the blue bowl?', wait_s=WAIT_S)
    assert run(ros, root, mimo) is Status.SUCCESS, error()
    assert table.done == ['pick up', 'put'] * (1 + drops)
    assert [step.status for step in of('plan').steps] == [msg.TaskStep.SUCCEEDED] * 2
    assert error()[0] == ResultCode.NONE
    assert of('answer').yes


def test_a_task_that_fails_gives_the_reason(ros: Any, mimo: MimoClient) -> None:
    table = Table(Robot(ros).start(), drops=9)
    Blackboard.set('/mimo/instruction', INSTRUCTION)
    root = tabletop_task(execute_step(), attempts=1, wait_s=WAIT_S)
    assert run(ros, root, mimo) is Status.FAILURE
    assert error() == (104, 'it fell down')  # the robot's own code and words
    assert table.done == ['pick up', 'put']
    assert [step.status for step in of('plan').steps] == [
        msg.TaskStep.SUCCEEDED, msg.TaskStep.FAILED]


def test_points_are_on_the_blackboard_while_they_are_tracked(ros: Any, mimo: MimoClient) -> None:
    robot = Robot(ros).start()
    header = robot.see()
    root = Track('track', 'red cube', duration=1.0)
    tree = BehaviourTree(root)
    tree.setup(client=mimo)

    def told() -> bool:
        tree.tick()
        return Blackboard.exists('/mimo/tracked')

    ros.wait_for(told)
    assert root.status is Status.RUNNING
    assert of('tracked').header == header
    assert of('tracked').points[0].state == msg.TrackedPoint.TRACKED
    assert run(ros, root, mimo) is Status.SUCCESS
    assert run(ros, Track('track', 'red cube', camera='rear'), mimo) is Status.FAILURE
    assert error()[0] == ResultCode.INVALID_REQUEST


def test_a_thing_is_recalled_where_it_has_a_place(ros: Any, mimo: MimoClient) -> None:
    lost = {'place_valid': False, 'place_problem': 'the map of then is gone; look again'}
    memory = MemoryServer(ros, thing('old cup', **lost), thing('cup'), thing('bowl', **lost))
    Blackboard.set('/mimo/thing', 'cup')
    assert run(ros, Recall('recall', max_age=60.0), mimo) is Status.SUCCESS, error()
    assert of('remembered') == [memory.things[1]]
    assert memory.asked[-1].max_age.sec == 60
    assert error() == (ResultCode.NONE, '')
    assert run(ros, Recall('recall', 'bowl'), mimo) is Status.FAILURE
    assert error() == (ResultCode.NONE, 'the map of then is gone; look again')
    assert of('remembered') == []
    assert run(ros, Recall('recall', 'the {thing} of tea'), mimo) is Status.FAILURE
    assert error() == (ResultCode.NONE, 'not remembered: the cup of tea')
    assert run(ros, Recall('recall', within=-1.0), mimo) is Status.FAILURE
    assert error() == (ResultCode.INVALID_REQUEST, 'within is negative; give metres, or 0')


def test_statuses_and_errors_of_each_behaviour(ros: Any, mimo: MimoClient) -> None:
    robot = Robot(ros).start()
    header = robot.see()
    assert run(ros, Plan('plan', 'pick up the purple cup'), mimo) is Status.FAILURE
    assert error() == (ResultCode.NONE, 'cannot be done: pick up the purple cup')
    assert run(ros, Find('find', 'purple cup'), mimo) is Status.FAILURE
    assert error() == (ResultCode.NONE, 'not there: purple cup')
    Blackboard.set('/mimo/step', msg.TaskStep(object='green ball'))
    assert run(ros, Find('find', 'the {step.object}', kind=1), mimo) is Status.SUCCESS
    assert of('affordances').query == 'the green ball'
    assert of('affordances').header == header
    question = 'Is there a {step.object}?'
    assert run(ros, Ask('ask', question), mimo) is Status.SUCCESS
    assert run(ros, Ask('ask', question, expected=False), mimo) is Status.FAILURE
    assert error()[0] == ResultCode.NONE
    assert run(ros, Ask('ask', 'How many objects are there?'), mimo) is Status.FAILURE
    answer = of('answer').answer  # some number
    assert error() == (ResultCode.PARSE_FAILED,
                      f'the answer is neither yes nor no: {answer}; ask a yes/no question')
    assert run(ros, Find('find', 'ball', max_image_age=1e-6), mimo) is Status.FAILURE
    assert error()[0] == ResultCode.STALE_IMAGE
    assert run(ros, Find('find', 'ball', colour='red'), mimo) is Status.FAILURE
    assert error()[0] == ResultCode.INVALID_REQUEST
    assert run(ros, Plan('plan', namespace='other'), mimo) is Status.FAILURE
    assert '/other/instruction' in Blackboard.get('/other/error_msg')


def test_a_fresh_frame_is_newer_than_the_start_of_the_wait(ros: Any, mimo: MimoClient) -> None:
    robot = Robot(ros).start()
    tree = BehaviourTree(WaitForFrame('fresh frame'))
    tree.setup(client=mimo)

    def waits_for(code: ResultCode) -> bool:
        tree.tick()
        return error()[0] == code and tree.root.status is Status.RUNNING

    ros.wait_for(lambda: waits_for(ResultCode.NO_IMAGE))
    robot.see(age_s=60)
    ros.wait_for(lambda: waits_for(ResultCode.STALE_IMAGE))
    header = robot.see()
    ros.wait_for(lambda: (tree.tick(), tree.root.status is Status.SUCCESS)[1])
    assert of('camera').header == header
    assert error() == (ResultCode.NONE, '')
    assert run(ros, WaitForFrame('recent frame', max_age_s=600), mimo) is Status.SUCCESS
    assert run(ros, WaitForFrame('frame', 'left'), mimo) is Status.FAILURE
    assert error() == (ResultCode.INVALID_REQUEST, 'there is no camera left; the node has camera')
    robot.ros.call(robot.node.trigger_deactivate)
    ros.wait_for(lambda: waits_for(ResultCode.MODEL_NOT_READY))


def test_the_cameras_are_asked_for_again_where_no_answer_comes(ros: Any) -> None:
    node, asked = ros.node('mimo_embodied'), []

    async def list_cameras(_: Any, response: Any) -> Any:
        asked.append(response)
        if len(asked) == 1:
            await Future(executor=ros.executor)
        header = Header(stamp=node.get_clock().now().to_msg())
        response.cameras = [msg.CameraStatus(name='camera', image_valid=True, header=header)]
        return response

    node.create_service(srv.ListCameras, 'mimo_embodied/list_cameras', list_cameras,
                        callback_group=ReentrantCallbackGroup())
    caller = Node('caller', context=ros.context)
    with MimoClient(caller) as client:
        frame = WaitForFrame('fresh frame')
        tree = BehaviourTree(frame)
        tree.setup(client=client)
        ros.wait_for(lambda: (tree.tick(), asked)[1])
        client.wait_s = 0.1
        assert run(ros, frame, client) is Status.SUCCESS
    caller.destroy_node()


def test_a_behaviour_that_is_stopped_cancels_its_request(ros: Any, mimo: MimoClient) -> None:
    robot = Robot(ros, wait_for_image=60.0).start()
    plan = Plan('plan', 'pick up the red cube')
    tree = BehaviourTree(plan)
    tree.setup(client=mimo)
    tree.tick()
    request = plan._request
    ros.wait_for(lambda: robot.node._goals._requests)  # it waits for an image
    tree.tick()
    assert plan.status is Status.RUNNING
    tree.root.stop(Status.INVALID)
    with pytest.raises(CancelledError):
        request.result(WAIT_S)
    robot.see()
    assert run(ros, plan, mimo) is Status.SUCCESS  # it can begin anew


def test_a_goal_begins_when_the_one_that_was_stopped_has_ended(
    ros: Any, mimo: MimoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, ends, goals = ros.node('arm'), [], []

    async def move(handle: Any) -> Any:
        goals.append(handle)
        ends.append(Future(executor=ros.executor))
        await ends[-1]
        (handle.canceled if handle.is_cancel_requested else handle.succeed)()
        return action.Ask.Result()

    ros.call(lambda: ActionServer(node, action.Ask, 'arm/move', move,
                                  cancel_callback=lambda _: CancelResponse.ACCEPT))
    move_arm = Execute('move', action.Ask, 'arm/move', lambda _: action.Ask.Goal(), reads=())
    tree = BehaviourTree(move_arm)
    tree.setup(client=mimo)
    ros.wait_for(lambda: (tree.tick(), goals)[1])
    tree.root.stop(Status.INVALID)
    ros.wait_for(lambda: goals[0].is_cancel_requested)
    with monkeypatch.context() as patched:
        patched.setattr('mimo_embodied_ros.trees.behaviours._STOP_S', 0.3)
        assert run(ros, move_arm, mimo) is Status.FAILURE
    assert error()[0] == ResultCode.STEP_FAILED
    assert 'arm/move may still be doing what it was asked before' in error()[1]
    tree.tick()
    assert (tree.root.status, len(goals)) == (Status.RUNNING, 1)
    ros.call(ends[0].set_result, None)
    ros.wait_for(lambda: (tree.tick(), len(goals) == 2)[1])
    ros.call(ends[1].set_result, None)
    ros.wait_for(lambda: (tree.tick(), tree.root.status is Status.SUCCESS)[1])


def test_a_behaviour_fails_when_the_server_that_it_asked_is_killed(
    ros: Any, mimo: MimoClient, tmp_path: Path
) -> None:
    robot = RobotProcess(ros, tmp_path)
    nod = Execute('nod', action.RunSkill, ACTION, lambda _: action.RunSkill.Goal(), reads=())
    tree = BehaviourTree(nod)
    tree.setup(client=mimo)
    tree.tick()
    robot.wait_for_calls(1)
    robot.kill()
    robot = RobotProcess(ros, tmp_path)
    ros.wait_for(lambda: (tree.tick(), tree.root.status is Status.FAILURE)[1])
    robot.kill()
    assert error()[0] == ResultCode.SEND_GOAL_FAILURE
    assert f'the server of {ACTION} was lost' in error()[1]


def test_each_step_keeps_the_status_of_the_plan() -> None:
    def steps(*ends: Status) -> tuple[EachStep, list[int]]:
        plan = msg.TaskPlan(steps=[msg.TaskStep(id=i, object=f'thing {i}') for i in (1, 2)])
        Blackboard.set('/mimo/plan', plan)
        each = EachStep('each', StatusQueue('do', list(ends), Status.RUNNING))
        while each.status in {Status.INVALID, Status.RUNNING} and ends:
            each.tick_once()
            ends = ends[1:]
        return each, [step.status for step in plan.steps]

    done, executing = msg.TaskStep.SUCCEEDED, msg.TaskStep.EXECUTING
    each, statuses = steps(Status.SUCCESS, Status.SUCCESS)
    assert (each.status, statuses) == (Status.SUCCESS, [done, done])
    each, statuses = steps(Status.FAILURE)
    assert (each.status, statuses) == (Status.FAILURE, [msg.TaskStep.FAILED, 0])
    each, statuses = steps(Status.SUCCESS, Status.RUNNING)
    assert (each.status, statuses) == (Status.RUNNING, [done, executing])
    assert of('thing') == 'thing 2'
    each.stop(Status.INVALID)
    assert of('step').status == msg.TaskStep.CANCELLED
    Blackboard.set('/mimo/plan', msg.TaskPlan())
    with pytest.raises(InvalidRequestError, match='no steps'):
        each.tick_once()


def test_a_tree_without_a_client_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r'plan has no client.*setup\(client='):
        BehaviourTree(Plan('plan')).setup()


def test_the_pictures_of_the_tree_are_those_of_the_docs(tmp_path: Path) -> None:
    root = tabletop_task(execute_step(), done='{done}')
    assert f'```text\n{ascii_tree(root)}```' in PAGE.read_text('utf-8')
    drawn, shown = draw_tree(root), read_picture(DOCS / 'tabletop_task.png')
    assert drawn.shape == shown.shape, 'run make docs'
    assert np.abs(drawn.astype(float) - shown).mean() < 1, 'run make docs'
    for status in Status:
        root.status = status
        assert draw_tree(root).std() > 0
    graph = py_trees.display.dot_tree(root).to_string()
    assert 'fresh frame' in graph


def test_the_example_of_the_docs_runs(ros: Any, tmp_path: Path) -> None:
    table = Table(Robot(ros).start())
    printed = run_python_blocks(PAGE, ros.environment, tmp_path)
    assert table.done == ['pick up', 'put']
    assert 'each step [' in printed
    assert printed.endswith('Status.SUCCESS 0 \n')
