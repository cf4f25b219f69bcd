"""Rendered roads for training: their labels are those of the segmentation, and they can be kept."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

pytest.importorskip('mujoco', reason='mujoco is not installed')

from mimo_embodied_ros.core.resize import FACTOR
from mimo_embodied_ros.embedded.rendered_roads import rendered_road
from mimo_embodied_ros.embedded.renders import Renders, render
from mimo_embodied_ros.worlds.physics.road_plan import random_plan
from mimo_embodied_ros.worlds.road_scene import Road

if TYPE_CHECKING:
    from pathlib import Path


def test_rendered_roads_show_what_their_labels_say() -> None:
    kinds = set()
    for seed in range(8):
        road = rendered_road(random.Random(seed), 112, 112)
        if road is None:
            continue
        cells = {(thing.x // FACTOR, thing.y // FACTOR) for thing in road.things}
        assert len(cells) == len(road.things)
        plan = random_plan(random.Random(random.Random(seed).getrandbits(32)))
        assert road.bend == plan.course.bend
        assert (road.light != 'none') <= (plan.light is not None)
        for thing in road.things:
            kinds.add(thing.name)
            x0, y0, x1, y1 = thing.box
            assert 0 <= x0 < x1 <= 112
            assert 0 <= y0 < y1 <= 112
            # a car is wider than a pedestrian or a traffic light, which are tall
            assert (x1 - x0 > y1 - y0) == (thing.name == 'car')
    assert kinds == {'car', 'pedestrian', 'traffic light'}


def test_rendered_roads_are_stored_with_their_labels(tmp_path: Path) -> None:
    render(tmp_path, 'road', 1, processes=1, sizes=[(84, 56)])
    stored = Renders(tmp_path, 'road').scenes((84, 56))
    rng = random.Random('0 road 0')
    made = [road for _ in range(12) if (road := rendered_road(rng, 84, 56))]
    assert len(stored) > 2
    for first, second in zip(stored, made):
        assert isinstance(first, Road)
        assert (first.bend, first.light, first.things) == (second.bend, second.light,
                                                           second.things)
