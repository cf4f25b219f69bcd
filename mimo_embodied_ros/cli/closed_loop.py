"""What the demos of the closed loop share: their programs, tree, pictures and report.

A behaviour tree plans and hands the plan to ``mimo_executor``. Node and executor are processes of
their own; the demo's process is the simulation, and compares the result with the ground truth.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mimo_embodied_ros.core.errors import InvalidRequestError, ResultCode
from mimo_embodied_ros.share import import_extra

from .output import model_argument, path_argument, write_json
from .processes import module_command, running, tail

if TYPE_CHECKING:
    import argparse
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from py_trees.behaviour import Behaviour
    from py_trees.trees import BehaviourTree
    from rclpy.node import Node

    from mimo_embodied_ros.annotate import Canvas
    from mimo_embodied_ros.client import MimoClient
    from mimo_embodied_ros.msg import ExecutionStatus
    from mimo_embodied_ros.ros.request_kinds import Kind
    from mimo_embodied_ros.simulation.simulation_node import Simulation
    from mimo_embodied_ros.worlds.world import World, WorldCamera

TARGET = 0.9
"""Success rate from which on the exit code is 0."""
START_S = 120.0
"""Seconds to load the model on a busy machine."""
ANSWER_S = 60.0
"""Seconds for an answer on a busy machine."""
_TICK_S = 0.02
_CLOCK_S = 0.005  # between looks at the clock
_COLUMNS = 3  # pictures of a scene side by side
_CAPTIONS = {'task_plan': '{}', 'affordances': 'where is {}?', 'spatial_answer': '{}?'}
"""Caption below a picture, by the topic of the node's answer."""


def add_scene_arguments(command: argparse.ArgumentParser, out: str) -> None:
    """Add the arguments that all of these demos have.

    Args:
        command: parser of the demo.
        out: folder that is written by default.

    """
    command.add_argument('--scenes', type=int, default=50, metavar='N',
                         help='number of scenes (default: %(default)s)')
    command.add_argument('--seed', type=int, default=0, metavar='S',
                         help='seed of the first scene; the others count on (default: %(default)s)')
    command.add_argument('--out', type=path_argument, default=Path(out),
                         metavar='FOLDER', help='where to write (default: %(default)s)')
    command.add_argument('--model', type=model_argument, default='', metavar='FOLDER_OR_NAME',
                         help='folder or hub name of a model (default: the embedded one)')


class Stage(NamedTuple):
    """A simulation, and who acts in it.

    Attributes:
        simulation: node of the world.
        mimo: client of the programs.
        programs: processes of other nodes, by their logs.

    """

    simulation: Simulation
    mimo: MimoClient
    programs: dict[Path, subprocess.Popen[bytes]]


class Loop(NamedTuple):
    """What runs during a demo of the closed loop.

    Attributes:
        stage: of the world, with the node and the executor.
        watcher: draws what is answered.

    """

    stage: Stage
    watcher: Watcher


def check_scenes(options: argparse.Namespace) -> None:
    """Check the arguments that `add_scene_arguments` added, and what all demos need.

    Raises:
        InvalidRequestError: there is no scene, or py_trees is not installed.

    """
    if options.scenes < 1:
        msg = f'--scenes {options.scenes}: give at least 1'
        raise InvalidRequestError(msg)
    import_extra('py_trees', 'the demo needs py_trees', 'trees')


@contextlib.contextmanager
def run_loop(
    options: argparse.Namespace, world: World, skills: str, state: Callable[[], SceneState],
    node_parameters: Mapping[str, str], memory: Path | None = None, **parameters: Any,
) -> Iterator[Loop]:
    """Run simulation, node and executor, and end them.

    Args:
        options: of the command, see `add_scene_arguments`.
        world: that is simulated; its first camera is the robot's.
        skills: file name of the robot's skills, in config/skills; of that name is the policy in
            config/policies, where there is one.
        state: what the simulation shows now.
        node_parameters: of the node, besides those of the camera's topics.
        memory: file of a node that remembers; None: there is no such node.
        parameters: of the simulation.

    """
    from mimo_embodied_ros.share import share_folder

    config = share_folder() / 'config'
    skills_file, policy = str(config / 'skills' / skills), config / 'policies' / skills
    remembering = {'memory': module_command('memory_node.memory_node', {
        'file': str(memory.resolve()), 'use_sim_time': 'true', 'tf_buffer': '0.0',
    })} if memory else {}
    with run_stage(options, world, {
        'node': seeing_node(options, {'skills_file': skills_file, **node_parameters}),
        'executor': module_command('execution.executor_node', {
            'skills_file': skills_file, 'policy_file': str(policy) if policy.exists() else '',
            'target_frame': world.frame, 'wait_for_server': str(START_S),
            'wait_for_model': str(START_S), 'use_sim_time': 'true',
            'memory': 'mimo_memory' if memory else ''}),
        **remembering,
    }, **parameters) as stage:
        yield Loop(stage, Watcher(stage.mimo.node, state))


def seeing_node(
    options: argparse.Namespace, parameters: Mapping[str, str],
    module: str = 'node.lifecycle_node',
) -> list[str]:
    """Return the command of a node that sees what the simulation's first camera does.

    Args:
        options: of the command, see `add_scene_arguments`.
        parameters: of the node, besides those of the model and the camera's topics.
        module: of the node.

    """
    model = options.model
    return module_command(module, {
        'model': str(Path(model).resolve()) if Path(model or '-').exists() else model,
        'timeout': str(ANSWER_S), 'tf_buffer': '0.0', 'use_sim_time': 'true',
        'camera.reliable': 'true', 'camera.image_topic': 'camera/color/image_raw',
        'camera.depth_topic': 'camera/aligned_depth_to_color/image_raw', **parameters})


@contextlib.contextmanager
def run_stage(
    options: argparse.Namespace, world: World, commands: Mapping[str, Sequence[str]],
    **parameters: Any,
) -> Iterator[Stage]:
    """Run a simulation and programs beside it, and end them.

    Args:
        options: of the command, see `add_scene_arguments`.
        world: that is simulated.
        commands: of the programs, by the names of their logs.
        parameters: of the simulation.

    """
    import rclpy

    from mimo_embodied_ros.client import MimoClient
    from mimo_embodied_ros.ros import process
    from mimo_embodied_ros.simulation.simulation_node import Simulation

    options.out.mkdir(parents=True, exist_ok=True)
    process.init([])
    # that control_msgs and others are not installed does not matter here
    rclpy.logging.set_logger_level('simulation', rclpy.logging.LoggingSeverity.WARN)
    simulation = Simulation(world=world, parameter_overrides=[
        rclpy.Parameter(name, value=value) for name, value in parameters.items()])
    node = rclpy.create_node('mimo_embodied_demo', parameter_overrides=[
        rclpy.Parameter('use_sim_time', value=True)])
    logs = {options.out / f'{name}.log': command for name, command in commands.items()}
    try:
        with (contextlib.ExitStack() as stack, _spun(simulation, node),
              MimoClient(node, wait_s=START_S) as mimo):
            yield Stage(simulation, mimo, {
                log: stack.enter_context(running(command, log)) for log, command in logs.items()})
    finally:
        simulation.destroy_node()
        node.destroy_node()
        rclpy.try_shutdown()


@contextlib.contextmanager
def _spun(*nodes: Node) -> Iterator[None]:
    """Spin nodes in one thread."""
    from mimo_embodied_ros.ros import process, threads
    from mimo_embodied_ros.ros.executor import Executor

    executor, closing = Executor(), threading.Event()
    for node in nodes:
        executor.add_node(node)

    def spin() -> None:
        with process.until_shutdown():  # an interrupt ends ROS first
            while not closing.is_set():
                executor.spin_once(1.0)

    thread = threading.Thread(target=spin, name='simulation', daemon=True)
    def end() -> None:
        closing.set()
        executor.wake()

    threads.start(thread, end)
    try:
        yield
    finally:
        end()
        thread.join()
        executor.shutdown()


def write_extrinsics(camera: WorldCamera, file: Path) -> dict[str, str]:
    """Write where a camera is; return the node's parameter with the file."""
    import yaml

    from mimo_embodied_ros.geometry.quaternions import quaternion_of

    file.parent.mkdir(parents=True, exist_ok=True)
    rotation = quaternion_of(camera.pose.rotation)
    file.write_text(yaml.safe_dump([{
        'parent': camera.parent, 'child': camera.frame,
        'translation': camera.pose.translation.tolist(), 'rotation': [float(v) for v in rotation],
    }]), 'utf-8')
    return {'extrinsics_file': str(file.resolve())}


def task_tree(task: str, target_frame: str, **goal: Any) -> BehaviourTree:
    """Make a tree of one `attempt`."""
    from py_trees.trees import BehaviourTree

    return BehaviourTree(attempt(task, target_frame, **goal))


def attempt(task: str, target_frame: str, **goal: Any) -> Behaviour:
    """Make the behaviour that plans on a new image, and lets the executor execute the plan.

    Args:
        task: what to do.
        target_frame: frame of the points that skills are given.
        goal: further fields of PlanTask's goal.

    """
    from py_trees.composites import Sequence

    from mimo_embodied_ros.trees import Plan

    return Sequence('task', memory=True, children=[
        fresh_frame(), Plan('plan', task, target_frame=target_frame, **goal), execute_plan()])


def execute_plan() -> Behaviour:
    """Make the behaviour that lets the executor execute the plan on the blackboard."""
    from mimo_embodied_ros.action import ExecutePlan
    from mimo_embodied_ros.trees import Execute

    return Execute('execute', ExecutePlan, 'mimo_executor/execute_plan',
                   lambda blackboard: ExecutePlan.Goal(plan=blackboard.plan), reads=('plan',))


def fresh_frame() -> Behaviour:
    """Make the behaviour that waits until the node has an image of the scene."""
    from py_trees.decorators import Timeout

    from mimo_embodied_ros.trees import WaitForFrame

    return Timeout(f'within {START_S:g} s', WaitForFrame('fresh frame'), START_S)


def tick_to_end(tree: BehaviourTree, programs: dict[Path, subprocess.Popen[bytes]]) -> str:
    """Tick until the tree has ended; return why it failed, or '' when it succeeded."""
    from py_trees.blackboard import Blackboard
    from py_trees.common import Status

    tree.tick()
    while tree.root.status is Status.RUNNING:
        check_programs(programs)
        time.sleep(_TICK_S)
        tree.tick()
    if tree.root.status is Status.SUCCESS:
        return ''
    code, text = (Blackboard.get(f'/mimo/{key}') for key in ('error_code', 'error_msg'))
    return f'{ResultCode(code).name}: {text}' if code else str(text)


def wait_for_frame(stage: Stage) -> None:
    """Wait until the node has an image of the scene.

    Raises:
        InvalidRequestError: none comes.

    """
    from py_trees.trees import BehaviourTree

    tree = BehaviourTree(fresh_frame())
    tree.setup(client=stage.mimo)
    problem = tick_to_end(tree, stage.programs)
    tree.shutdown()
    if problem:
        raise InvalidRequestError(problem)


def check_programs(programs: dict[Path, subprocess.Popen[bytes]]) -> None:
    """Check that all goes on.

    Args:
        programs: by their logs.

    Raises:
        InvalidRequestError: a program has ended.
        KeyboardInterrupt: ROS has ended, as a SIGTERM ends nothing else.

    """
    import rclpy

    for log, program in programs.items():
        if program.poll() is not None:
            msg = (f'the program that writes {log} ended with exit code {program.returncode}; '
                   f'its log ends with:\n{tail(log)}')
            raise InvalidRequestError(msg)
    if not rclpy.ok():
        raise KeyboardInterrupt


class SceneState(NamedTuple):
    """What the simulation shows now.

    Attributes:
        number: of the state; what is drawn while it is the same goes into one picture.
        look: returns the picture, (H, W, 3) uint8.
        caption: of the state.

    """

    number: int
    look: Callable[[], NDArray[np.uint8]]
    caption: str


class Watcher:
    """Subscribes to answers and status, and draws them on each state of the scene.

    Attributes:
        plans: number of plans in the present scene.

    """

    def __init__(self, node: Node, state: Callable[[], SceneState]) -> None:
        """Subscribe to the node's answers and the executor's status."""
        from mimo_embodied_ros.msg import ExecutionStatus
        from mimo_embodied_ros.ros.request_kinds import KINDS

        self._node, self._state = node, state
        self._shown: list[Canvas] = []
        self._best: tuple[bool, ...] = ()
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

    def keep(self, *good: bool) -> None:
        """Keep the scene for the picture if it is the best so far, by what is good about it."""
        if not self._shown or good > self._best:
            self._best, self._shown = good, list(self._canvases.values())

    def draw(self, path: Path) -> None:
        """Write the pictures of the kept scene."""
        from mimo_embodied_ros.annotate import tile
        from mimo_embodied_ros.pictures import write_picture

        if self._shown:
            pictures = [canvas.picture() for canvas in self._shown]
            write_picture(path, tile(pictures, min(_COLUMNS, len(pictures))))

    def _canvas(self) -> Canvas:
        """The picture of the scene as it is now."""
        from mimo_embodied_ros.annotate import Canvas

        state = self._state()
        if state.number not in self._canvases:
            canvas = self._canvases[state.number] = Canvas(state.look())
            canvas.note(state.caption)
        return self._canvases[state.number]

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


def play_scenes(
    options: argparse.Namespace, loop: Loop, begin: Callable[[], BehaviourTree],
    judge: Callable[[str], dict[str, Any]], line: str,
) -> Iterator[dict[str, Any]]:
    """Do a task in scene after scene; yield the entry of each in the report, and print it.

    Args:
        options: of the command, see `add_scene_arguments`.
        loop: that runs.
        begin: returns the tree of a scene that has just been set.
        judge: takes why the tree failed, or '', and returns what the demo itself tells of the
            scene, with done, steps and cause.
        line: what is printed of a scene before its cause, with the entry's fields in braces.

    """
    for seed in range(options.seed, options.seed + options.scenes):
        set_scene(loop.stage, seed)
        loop.watcher.begin()
        tree = begin()
        tree.setup(client=loop.stage.mimo)
        since = time.monotonic()
        problem = tick_to_end(tree, loop.stage.programs)
        seconds = time.monotonic() - since
        tree.shutdown()
        scene = {'seed': seed, **judge(problem), 'plans': loop.watcher.plans,
                 'seconds': round(seconds, 1)}
        print(line.format(**scene) + (scene['cause'] or 'done'), flush=True)
        yield scene


def set_scene(stage: Stage, seed: int) -> None:
    """Begin with a scene; the demo's node then knows the time from which on images show it."""
    stage.simulation.reset(seed)
    now_ns = round(stage.simulation.runner.time * 1e9)
    while stage.mimo.node.get_clock().now().nanoseconds < now_ns:
        check_programs(stage.programs)
        time.sleep(_CLOCK_S)


def cause_of(problem: str, truth: str, *, done: bool) -> str:
    """Say why a scene failed: what was said, and what is so in truth; '' where it is done."""
    return '' if done else f'{problem or "the executor says that it is done"}; in fact {truth}'


def finish(
    options: argparse.Namespace, loop: Loop, report: dict[str, Any], line: str, *more: str
) -> int:
    """Write report and picture, print a line and what was written, and return the exit code.

    Args:
        options: of the command, see `add_scene_arguments`.
        loop: that has ended.
        report: of all scenes.
        line: what is printed, with the report's fields in braces.
        more: other files that the demo has written.

    """
    loop.watcher.draw(options.out / 'scene.png')
    return conclude(options.out, report, line, report['success_rate'], *more)


def conclude(
    folder: Path, report: dict[str, Any], line: str, success_rate: float, *more: str
) -> int:
    """Write the report, print a line and what was written, and return the exit code.

    Args:
        folder: of all files.
        report: of all scenes.
        line: what is printed, with the report's fields in braces.
        success_rate: which decides.
        more: other files that the demo has written, besides scene.png.

    """
    write_json(folder / 'report.json', report)
    print(line.format(**report))
    files = (str(folder / name) for name in ('report.json', 'scene.png', *more))
    print(f'written: {", ".join(files)}')
    return 0 if success_rate >= TARGET else 1


def summary(task: str, played: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarise scenes that have the entries seed, done, steps, plans, seconds and cause."""

    def mean(key: str) -> float:
        return round(statistics.fmean(scene[key] for scene in played), 2)

    return {
        'task': task, 'scenes': len(played),
        'success_rate': sum(scene['done'] for scene in played) / len(played),
        'steps_mean': mean('steps'), 'plans_mean': mean('plans'), 'seconds_mean': mean('seconds'),
        'failures': [{key: scene[key] for key in ('seed', 'cause')}
                     for scene in played if not scene['done']],
        'each': played,
    }
