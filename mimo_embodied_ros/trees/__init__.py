"""Behaviours for py_trees (an extra: ``pip install py_trees``), and a tree made of them."""

from .behaviours import Ask, EachStep, Execute, Find, Plan, Recall, Track, WaitForFrame
from .tabletop_tree import tabletop_task

__all__ = [
    'Ask',
    'EachStep',
    'Execute',
    'Find',
    'Plan',
    'Recall',
    'Track',
    'WaitForFrame',
    'tabletop_task',
]
