"""docs/request.md against a trace of a goal and of a cancel through a real node."""

from __future__ import annotations

import ast
import re
import sys
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

import mimo_embodied_ros
from mimo_embodied_ros import action
from mimo_embodied_ros.core.errors import ResultCode
from support.paths import ROOT
from support.robot import Robot
from support.tabletop import INSTRUCTION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

SOURCE = Path(mimo_embodied_ros.__file__).parent
GENERATED = {'msg', 'srv', 'action'}
SCOPES = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef
PAGE = (ROOT / 'docs' / 'request.md').read_text('utf-8')
ROW = re.compile(r'^\| `([\w/]+)` \| `([\w.]+)` \|', re.MULTILINE)
# the page's names of the threads, and the first words of their own
THREADS = {'Executor': 'ros', 'Scheduler': 'runner', 'Model': 'model'}
# bounds of what one goal runs through; a quarter of it reads the plan. On a busy host it was
# 290, 56, 36 and 51: what is called more than once counts once.
MOST = {'functions': 312, 'files': 59, 'nested': 39, 'changes of room': 54}
# modules whose every function is on the page, if it is not private
COMPLETE = {'node/goals', 'node/served_request', 'node/image_question', 'engine/scheduler',
            'engine/job'}
# but for what accompanies every step
NOT_ON_THE_PAGE = {
    ('node/served_request', 'ServedRequest.session'), ('node/goals', 'GoalRequest.on_progress'),
    ('engine/job', 'Job.stopped'), ('engine/job', 'Job.check'),
}


class Function(NamedTuple):
    """A function of the package, such as ``node/goals`` and ``GoalRequest.submit``."""

    module: str
    name: str

    @property
    def room(self) -> str:
        return self.module.split('/')[0]

    @property
    def is_nested(self) -> bool:
        """Whether it is a closure, a lambda, a generator expression or a comprehension."""
        return '<' in self.name


class Trace:
    """Records which functions of the package call which; in threads that begin while it exists.

    While it records it only notes code objects: reading sources in ``sys.setprofile`` counts into
    the recursion of what is traced, and Python 3.11 then fails in ``ast.parse``.
    """

    def __init__(self) -> None:
        # thread, called and calling code, in their order
        self._calls: dict[tuple[str, CodeType, CodeType | None], None] = {}
        self._recording = False

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        """Take an event of ``sys.setprofile``."""
        if self._recording and event == 'call':
            caller = frame.f_back.f_code if frame.f_back else None
            self._calls[threading.current_thread().name.split()[0], frame.f_code, caller] = None

    def __enter__(self) -> None:
        self._calls.clear()
        self._recording = True

    def __exit__(self, *_: object) -> None:
        self._recording = False

    def first_calls(self, thread: str | None = None) -> dict[Function, None]:
        """The functions that a thread, or any, called, in the order of their first calls."""
        return {called: None for name, code, _ in tuple(self._calls)
                if thread in (None, name) and (called := function_of(code))}

    @property
    def changes(self) -> set[tuple[Function, Function]]:
        """Calls from one room to another."""
        calls = ((function_of(caller), function_of(called))
                 for _, called, caller in self._calls if caller)
        return {(caller, called) for caller, called in calls
                if caller and called and caller.room != called.room}


@cache
def function_at(path: str, name: str, line: int) -> Function | None:
    """The function whose code begins in a line; None where it is not of the package.

    Its name is as ``co_qualname``, which Python 3.10 does not have.
    """
    file = Path(path)
    if not file.is_relative_to(SOURCE) or file.parent.name in GENERATED:
        return None
    module = file.relative_to(SOURCE).with_suffix('').as_posix()
    names: list[str] = []
    node: ast.AST | None = ast.parse(file.read_text('utf-8'))
    while node is not None:
        node = next((child for child in ast.walk(node) if child is not node and isinstance(
            child, SCOPES) and first_line(child) <= line <= (child.end_lineno or 0)), None)
        if node is not None:
            names.append(node.name + '.<locals>' * (not isinstance(node, ast.ClassDef)))
    qualified = '.'.join(names).removesuffix('.<locals>')
    return Function(module, f'{qualified}.{name}' if name.startswith('<') else qualified)


def first_line(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    return min(part.lineno for part in (node, *node.decorator_list))


def function_of(code: CodeType) -> Function | None:
    return function_at(code.co_filename, code.co_name, code.co_firstlineno)


@pytest.fixture
def trace(ros: Any) -> Iterator[Trace]:
    trace = Trace()
    threading.setprofile(trace.profile)
    ros.call(sys.setprofile, trace.profile)  # the executor's thread runs already
    yield trace
    threading.setprofile(None)
    ros.call(sys.setprofile, None)


def start(ros: Any, **values: Any) -> Robot:
    """A node without timers, whose diagnostics are not part of the way."""
    robot = Robot(ros, **values).start()
    for timer in robot.node.timers:
        timer.cancel()
    return robot


def check_page(section: str, trace: Trace) -> None:
    """The functions of a section are called first in its order, and none is missing."""
    (tables,) = (part for part in PAGE.split('\n## ') if part.startswith(section))
    for table in tables.split('\n### ')[1:]:
        rows = ROW.findall(table)
        calls = [tuple(f) for f in trace.first_calls(THREADS[table.split(':')[0]])]
        assert rows
        assert [call for call in calls if call in rows] == rows
    called = {f for f in trace.first_calls()
              if f.module in COMPLETE and not re.search(r'(^|\.)[_<]', f.name)}
    assert called - set(ROW.findall(PAGE)) <= NOT_ON_THE_PAGE


def test_the_way_of_a_goal(ros: Any, trace: Trace) -> None:
    robot = start(ros)
    for _ in range(2):  # at first caches are empty and libraries are loaded
        robot.see()
        with trace:
            robot.ask(action.PlanTask, 'plan_task', instruction=INSTRUCTION)
    check_page('A goal is answered', trace)
    functions = trace.first_calls()
    counts = {'functions': len(functions), 'files': len({f.module for f in functions}),
              'nested': sum(f.is_nested for f in functions),
              'changes of room': len(trace.changes)}
    # the way that one has to follow must not grow unnoticed
    assert {name: count for name, count in counts.items() if count > MOST[name]} == {}


def test_the_way_of_a_cancel(ros: Any, trace: Trace) -> None:
    robot = start(ros, max_batch=1, wait_for_image=60.0)
    with trace:
        handle = robot.send(action.PlanTask, 'plan_task', instruction=INSTRUCTION)
        ros.wait_for(lambda: robot.node.session.scheduler.running)
        ros.wait_for(lambda: any(f.name == 'Job.is_over' for f in trace.first_calls()))
        ros.wait_for(ros.call(handle.cancel_goal_async).done)
        assert robot.result(handle).result.error_code == ResultCode.CANCELLED
    check_page('A goal is cancelled', trace)
