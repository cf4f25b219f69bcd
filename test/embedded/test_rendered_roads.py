"""Rendered roads for training: their labels are those of the segmentation, and a seed repeats."""

from __future__ import annotations

import random

import numpy as np
import pytest

pytest.importorskip('mujoco', reason='mujoco is not installed')

from mimo_embodied_ros.core.resize import FACTOR
from mimo_embodied_ros.embedded.rendered_roads import rendered_road
from mimo_embodied_ros.worlds.physics.road_plan import random_plan


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


def test_a_seed_gives_the_same_rendered_road() -> None:
    first, second = (rendered_road(random.Random(3), 84, 84) for _ in range(2))
    assert first is not None
    assert second is not None
    assert np.array_equal(first.pixels, second.pixels)
    assert first.things == second.things
