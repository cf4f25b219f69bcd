"""``demo-pick``: do a whole task on simulated tables with a gripper that drops things.

A behaviour tree plans and hands the plan to ``mimo_executor``, which asks the model, moves the
gripper, asks again, and plans again. Node and executor are processes of their own. This process is
the simulation, and compares their result with the ground truth.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError, ResultCode

from .output import model_argument, path_argument, write_json
from .processes import keep_apart, module_command, node_command, running, tail

if TYPE_CHECKING:
    import argparse
    import subprocess
    from collections.abc import Iterator

    from py_trees.behaviour import Behaviour
    from py_trees.trees import BehaviourTree
    from rclpy.node import Node

    from mimo_embodied_ros.annotate import Canvas
    from mimo_embodied_ros.msg import ExecutionStatus
    from mimo_embodied_ros.ros.request_kinds import Kind
    from mimo_embodied_ros.simulation.simulation_node import Simulation

TASK = 'put the red cube into the blue bowl'
TARGET = 0.9
"""Success rate from which on the exit code is 0."""
_DOMAIN = '78'  # so that neither a robot nor the other demo hears this one
_START_S = 120.0  # to load the model on a busy machine
_ANSWER_S = 60.0
_TICK_S = 0.02
_COLUMNS = 3  # pictures of a scene side by side
_CAPTIONS = {'task_plan': '{}', 'affordances': 'where is {}?', 'spatial_answer': '{}?'}
"""Caption below a picture, by the topic of the node's answer."""


def add_commands(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        'demo-pick', help='do a task on simulated tables, and count how often it is done',
        description=f'"{TASK}" on drawn tables with a gripper that drops things: behaviour tree, '
                    'plan, execution, checks, and planning again. Writes report.json and the '
                    'pictures of a scene in which something was dropped, scene.png.',
        epilog=f'exit code: 0 when the task was done in at least {TARGET:.0%} of the scenes.')
    command.add_argument('--scenes', type=int, default=50, metavar='N',
                         help='number of scenes (default: %(default)s)')
    command.add_argument('--seed', type=int, default=0, metavar='S',
                         help='seed of the first scene; the others count on (default: %(default)s)')
    command.add_argument('--drop', type=float, default=0.2, metavar='P',
                         help='probability that the gripper loses a thing in a pick or in a place '
                              '(default: %(default)s)')
    command.add_argument('--out', type=path_argument, default=Path('demo_pick_out'),
                         metavar='FOLDER', help='where to write (default: %(default)s)')
    command.add_argument('--model', type=model_argument, default='', metavar='FOLDER_OR_NAME',
                         help='folder or hub name of a model (default: the embedded one)')
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do the task in all scenes, and report."""
    if options.scenes < 1 or not 0 <= options.drop <= 1:
        msg = f'--scenes {options.scenes} --drop {options.drop}: give at least 1, and 0 to 1'
        raise InvalidRequestError(msg)
    keep_apart(_DOMAIN)
    import rclpy

    from mimo_embodied_ros.client import MimoClient
    from mimo_embodied_ros.ros import process
    from mimo_embodied_ros.simulation.simulation_node import Simulation

    tree = _tree()
    options.out.mkdir(parents=True, exist_ok=True)
    process.init([])
    simulation, node = Simulation(drop=options.drop), rclpy.create_node('mimo_embodied_demo_pick')
    try:
        watcher = Watcher(node, simulation)
        with _programs(options) as programs, _spun(simulation, node), MimoClient(
                node, wait_s=_START_S) as mimo:
            tree.setup(client=mimo)
            played = []
            for seed in range(options.seed, options.seed + options.scenes):
                simulation.reset(seed)
                watcher.begin()
                begin = time.monotonic()
                problem = _tick(tree, programs)
                played.append(_judge(seed, simulation, watcher, problem, time.monotonic() - begin))
                print(_line(played[-1]), flush=True)
            tree.shutdown()
    finally:
        simulation.destroy_node()
        node.destroy_node()
        rclpy.try_shutdown()
    report = _report(played, options.drop)
    write_json(options.out / 'report.json', report)
    watcher.draw(options.out / 'scene.png')
    print('{scenes} scenes, {success_rate:.0%} done, {steps_mean} steps and {plans_mean} plans per '
          'scene, {drops} drops'.format(**report))
    print(f'written: {options.out}/report.json, {options.out}/scene.png')
    return 0 if report['success_rate'] >= TARGET else 1


@contextlib.contextmanager
def _programs(options: argparse.Namespace) -> Iterator[dict[Path, subprocess.Popen[bytes]]]:
    """Run the node and the executor; yield their processes by their logs."""
    from mimo_embodied_ros.share import share_folder
    from mimo_embodied_ros.simulation.simulation_node import FRAME, extrinsics_file

    skills = str(share_folder() / 'config' / 'skills' / 'tabletop.yaml')
    model = str(Path(options.model).resolve()) if Path(options.model or '-').exists() else (
        options.model)
    commands = {
        options.out / 'node.log': node_command({
            'model': model, 'skills_file': skills, 'extrinsics_file': str(extrinsics_file()),
            'camera.depth_topic': 'camera/depth/image_rect', 'camera.reliable': 'true',
            'timeout': str(_ANSWER_S), 'tf_buffer': '0.0'}),
        options.out / 'executor.log': module_command('execution.executor_node', {
            'skills_file': skills, 'target_frame': FRAME, 'wait_for_server': str(_START_S),
            'wait_for_model': str(_START_S)}),
    }
    with contextlib.ExitStack() as stack:
        yield {log: stack.enter_context(running(command, log))
               for log, command in commands.items()}


@contextlib.contextmanager
def _spun(*nodes: Node) -> Iterator[None]:
    """Spin nodes in one thread."""
    from rclpy.executors import SingleThreadedExecutor

    from mimo_embodied_ros.ros import process

    executor, closing = SingleThreadedExecutor(), threading.Event()
    for node in nodes:
        executor.add_node(node)

    def spin() -> None:
        with process.until_shutdown():  # an interrupt ends ROS first
            while not closing.is_set():
                executor.spin_once(1.0)

    thread = threading.Thread(target=spin, name='simulation', daemon=True)
    thread.start()
    try:
        yield
    finally:
        closing.set()
        executor.wake()
        thread.join()
        executor.shutdown()


def pick_task() -> Behaviour:
    """Make the tree: plan on a new image, and let the executor execute the plan."""
    from py_trees.composites import Sequence
    from py_trees.decorators import Timeout

    from mimo_embodied_ros.action import ExecutePlan
    from mimo_embodied_ros.simulation.simulation_node import FRAME
    from mimo_embodied_ros.trees import Execute, Plan, WaitForFrame

    return Sequence('task', memory=True, children=[
        Timeout(f'within {_START_S:g} s', WaitForFrame('fresh frame'), _START_S),
        Plan('plan', TASK, target_frame=FRAME),
        Execute('execute', ExecutePlan, 'mimo_executor/execute_plan',
                lambda blackboard: ExecutePlan.Goal(plan=blackboard.plan), reads=('plan',))])


def _tree() -> BehaviourTree:
    try:
        from py_trees.trees import BehaviourTree
    except ImportError as error:
        msg = 'py_trees is not installed: pip install py_trees'
        raise InvalidRequestError(msg) from error
    return BehaviourTree(pick_task())


def _tick(tree: BehaviourTree, programs: dict[Path, subprocess.Popen[bytes]]) -> str:
    """Tick until the tree has ended; return why it failed, or '' when it succeeded.

    Raises:
        InvalidRequestError: the node or the executor has ended.

    """
    from py_trees.blackboard import Blackboard
    from py_trees.common import Status

    tree.tick()
    while tree.root.status is Status.RUNNING:
        for log, program in programs.items():
            if program.poll() is not None:
                msg = (f'the program that writes {log} ended with exit code {program.returncode}; '
                       f'its log ends with:\n{tail(log)}')
                raise InvalidRequestError(msg)
        time.sleep(_TICK_S)
        tree.tick()
    if tree.root.status is Status.SUCCESS:
        return ''
    code, text = (Blackboard.get(f'/mimo/{key}') for key in ('error_code', 'error_msg'))
    return f'{ResultCode(code).name}: {text}' if code else str(text)


class Watcher:
    """Subscribes to answers and status, and draws them on each state of the table.

    Attributes:
        plans: number of plans in the present scene.

    """

    def __init__(self, node: Node, simulation: Simulation) -> None:
        """Subscribe to the node's answers and the executor's status."""
        from mimo_embodied_ros.msg import ExecutionStatus
        from mimo_embodied_ros.ros.request_kinds import KINDS

        self._node, self._simulation = node, simulation
        self._shown: list[Canvas] = []
        self._best = (False, False)
        self.begin()
        for kind in KINDS:
            if kind.topic in _CAPTIONS:
                node.create_subscription(
                    kind.message, f'mimo_embodied/{kind.topic}', partial(self._on_answer, kind), 10)
        node.create_subscription(ExecutionStatus, 'mimo_executor/status', self._on_status, 10)

    def begin(self) -> None:
        """Begin with a scene: messages from an earlier one do not count any more."""
        self._since = self._node.get_clock().now()
        self._canvases: dict[int, Canvas] = {}
        self.plans = 0

    def keep(self, *, done: bool) -> None:
        """Keep the scene for the picture if it is the best so far: with a drop, and done."""
        shows = (self._simulation.table.drops > 0, done)
        if not self._shown or shows > self._best:
            self._best, self._shown = shows, list(self._canvases.values())

    def draw(self, path: Path) -> None:
        """Write the pictures of the kept scene."""
        from mimo_embodied_ros.annotate import tile
        from mimo_embodied_ros.pictures import write_picture

        if self._shown:
            pictures = [canvas.picture() for canvas in self._shown]
            write_picture(path, tile(pictures, min(_COLUMNS, len(pictures))))

    def _canvas(self) -> Canvas:
        """The picture of the table as it is now."""
        from mimo_embodied_ros.annotate import Canvas

        table = self._simulation.table
        if table.steps not in self._canvases:
            held = table.held.name if table.held else 'nothing'
            canvas = self._canvases[table.steps] = Canvas(table.pixels)
            canvas.note(f'{table.event or "at first"}; the gripper holds {held}')
        return self._canvases[table.steps]

    def _is_of_this_scene(self, message: Any) -> bool:
        from rclpy.time import Time

        return bool(Time.from_msg(message.header.stamp) >= self._since)

    def _on_answer(self, kind: Kind, answer: Any) -> None:
        from mimo_embodied_ros.ros.messages import content_of

        if self._is_of_this_scene(answer):
            question = _CAPTIONS[kind.topic].format(getattr(answer, kind.request_field))
            self._canvas().answer(question, content_of(answer))

    def _on_status(self, status: ExecutionStatus) -> None:
        from mimo_embodied_ros.msg import TaskStep

        if not self._is_of_this_scene(status):
            return
        self.plans = max(self.plans, status.plans)
        if status.step_status == TaskStep.FAILED:
            self._canvas().note(f'step {status.step_id} failed: {status.text}')


def _judge(
    seed: int, simulation: Simulation, watcher: Watcher, problem: str, seconds: float
) -> dict[str, Any]:
    """A scene's entry of the report; done: the task is done, and the executor says so."""
    table = simulation.table
    truth = table.where('red cube')
    done = table.done and not problem
    watcher.keep(done=done)
    cause = '' if done else f'{problem or "the executor says that it is done"}; in fact {truth}'
    return {'seed': seed, 'done': done, 'steps': table.steps, 'plans': watcher.plans,
            'drops': table.drops, 'seconds': round(seconds, 1), 'cause': cause}


def _line(scene: dict[str, Any]) -> str:
    line = 'scene {seed}: {steps} steps, {plans} plans, {drops} drops, {seconds} s: '
    return line.format(**scene) + (scene['cause'] or 'done')


def _report(played: list[dict[str, Any]], drop: float) -> dict[str, Any]:
    def mean(key: str) -> float:
        return round(statistics.fmean(scene[key] for scene in played), 2)

    return {
        'task': TASK, 'scenes': len(played),
        'success_rate': sum(scene['done'] for scene in played) / len(played),
        'steps_mean': mean('steps'), 'plans_mean': mean('plans'), 'seconds_mean': mean('seconds'),
        'drop': drop, 'drops': sum(scene['drops'] for scene in played),
        'failures': [{key: scene[key] for key in ('seed', 'cause')}
                     for scene in played if not scene['done']],
        'each': played,
    }
