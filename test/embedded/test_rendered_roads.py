"""Rendered roads for training: their labels are those of the segmentation, and they can be kept."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip('mujoco', reason='mujoco is not installed')

from mimo_embodied_ros.core.resize import FACTOR
from mimo_embodied_ros.embedded import renders
from mimo_embodied_ros.embedded.question import YES_NO_TAIL
from mimo_embodied_ros.embedded.rendered_roads import rendered_road, rendered_surround
from mimo_embodied_ros.embedded.renders import Renders, mirrored, render
from mimo_embodied_ros.embedded.road_questions import about_surround, drive, next_action
from mimo_embodied_ros.worlds.physics.road import CAMERAS
from mimo_embodied_ros.worlds.physics.road_plan import random_plan
from mimo_embodied_ros.worlds.road_scene import VIEWS, Road, Surround

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


def test_all_cameras_of_a_moment_are_asked_about_and_stay_right_when_mirrored() -> None:
    seeds = iter(range(30))
    moments = (rendered_surround(random.Random(seed), 112, 84) for seed in seeds)
    moment = next(m for m in moments if m and 'pedestrian' in {t.name for t in m.things})
    assert len(moment.roads) == len(CAMERAS) == len(VIEWS)
    assert [name.replace('_', ' ') for name in CAMERAS] == [*VIEWS]
    other = mirrored(moment)
    assert isinstance(other, Surround)
    swap = {'left': 'right', 'right': 'left'}
    for scene in (moment, other):
        answers = {q.text.removesuffix(YES_NO_TAIL): q.short
                   for q in about_surround(random.Random(1), scene)}
        view = answers['Which view shows the pedestrian?']
        assert all((word == 'yes') == (f'a pedestrian in the {view} view' in text)
                   for text, word in answers.items() if 'a pedestrian in' in text)
        road = scene.roads[VIEWS.index(view)]
        assert road.pedestrian is not None
        x0, y0, x1, y1 = (int(v) for v in road.pedestrian.box)
        # the figure stands out from what is beside it
        assert np.ptp(road.pixels[y0:y1, x0:x1].astype(int), axis=(0, 1)).max() > 60
    first, second = (VIEWS[scene.views_of('pedestrian')[0]] for scene in (moment, other))
    assert second == ' '.join(swap.get(word, word) for word in first.split())
    question = drive(random.Random(0), moment)
    assert question.prompt().count('<image>') == 6
    assert question.short.startswith(next_action(moment.roads[0])[0])


def test_rendered_roads_are_stored_with_their_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renders, 'EACH', 1)  # of a shard
    for kind, maker, height in (('road', rendered_road, 56), ('surround', rendered_surround, 336)):
        render(tmp_path, kind, 1, processes=1, sizes=[(84, 56)])
        (stored,) = Renders(tmp_path, kind).scenes((84, height))
        rng = random.Random(f'0 {kind} 0')
        made = next(scene for _ in range(50) if (scene := maker(rng, 84, 56)))
        assert isinstance(stored, Road | Surround)
        assert (stored.bend, stored.light, stored.things) == (made.bend, made.light, made.things)
