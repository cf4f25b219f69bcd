"""A tree that does a whole task on a table, and tries it again when it fails."""

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
    """Make a tree that plans the ``instruction`` on the blackboard, does each step, and checks.

    Whatever fails, the task is planned again on a new image.

    Args:
        execute: does the ``step`` on the blackboard where ``affordances`` says, such as
            :class:`.behaviours.Execute`.
        done: a question whose answer is yes when the task is done; empty: no such check.
        attempts: how often the task is tried.
        wait_s: how long to wait for a new image, seconds.
        target_frame: frame of the positions in ``affordances``; empty: pixels only.
        namespace: namespace of the keys.

    Returns:
        The root. SUCCESS: the task is done; FAILURE: ``error_code`` and ``error_msg`` say why not.

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
