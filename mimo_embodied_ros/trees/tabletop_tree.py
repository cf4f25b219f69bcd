"""A tree that does a whole task on a table, and does it again if it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from py_trees.composites import Sequence
from py_trees.decorators import Retry, Timeout

from .behaviours import NAMESPACE, Ask, EachStep, Find, Plan, WaitForFrame

if TYPE_CHECKING:
    from py_trees.behaviour import Behaviour


def tabletop_task(
    execute: Behaviour, *, done: str = '', attempts: int = 3, wait_s: float = 10.0,
    target_frame: str = '', namespace: str = NAMESPACE,
) -> Behaviour:
    """Plan the ``instruction`` on the blackboard on a fresh frame, do step by step, check.

    Whatever fails, the task is planned again from the present view.

    Args:
        execute: does the ``step`` on the blackboard where ``affordances`` says, such as
            :class:`.behaviours.Execute`.
        done: a question that is answered with yes when the task is done; empty: not asked.
        attempts: how often the task is tried.
        wait_s: how long to wait for a frame, seconds.
        target_frame: of the positions in ``affordances``; empty: pixels only.
        namespace: of the keys.

    Returns:
        The root. SUCCESS: done; FAILURE: ``error_code`` and ``error_msg`` say why not.

    """
    def frame() -> Behaviour:
        return Timeout(f'within {wait_s:g} s', WaitForFrame('fresh frame', namespace=namespace),
                       wait_s)

    step = Sequence('step', memory=True, children=[
        frame(), Find('find', namespace=namespace, target_frame=target_frame), execute])
    task = Sequence('task', memory=True, children=[
        frame(), Plan('plan', namespace=namespace),
        EachStep('each step', step, namespace=namespace)])
    if done:
        task.add_children([frame(), Ask('done?', done, namespace=namespace)])
    return Retry(f'{attempts} attempts', task, attempts)
