"""Worlds of MJCF files: cameras, joints, sensors, actuators, free bodies, and files that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip('mujoco', reason='mujoco is not installed')

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.worlds.physics.mjcf import MjcfWorld
from support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

INFANT = ROOT / 'test' / 'data' / 'infant.xml'
EYES = 'eye_left', 'eye_right'


@pytest.fixture
def infant() -> MjcfWorld:
    return MjcfWorld(INFANT, (64, 48))


def column(world: MjcfWorld, eye: str) -> float:
    """Return the middle column of the ball in the picture of an eye."""
    return float(np.nonzero(world.look(eye).labels == 1 + world.bodies.index('ball'))[1].mean())


def test_the_eyes_of_an_infant_are_cameras_that_see_the_same_ball(infant: MjcfWorld) -> None:
    assert list(infant.cameras) == ['camera_1', *EYES]
    left = infant.cameras['eye_left']
    assert (left.width, left.height, left.parent) == (128, 96, 'left_eye')
    assert left.focal == pytest.approx(48 / np.tan(np.radians(30)))
    assert (infant.cameras['camera_1'].width, infant.cameras['camera_1'].parent) == (64, '')
    # the eyes are 5 cm apart, so the ball's distance is that which its depth tells
    shift = column(infant, 'eye_left') - column(infant, 'eye_right')
    view = infant.look('eye_left')
    depth = view.depth[view.labels == 1 + infant.bodies.index('ball')].mean()
    assert left.focal * 0.05 / shift == pytest.approx(depth, rel=0.2)
    # a point of the picture, by the poses of camera and eye, is on the ball
    rows, columns = np.nonzero(view.labels == 1 + infant.bodies.index('ball'))
    row, at = int(rows.mean()), int(columns.mean())
    ray = np.array([(at + 0.5 - 64) / left.focal, (row + 0.5 - 48) / left.focal, 1])
    point = (infant.frames()['left_eye'] @ left.pose).apply(view.depth[row, at] * ray)
    (ball,) = (t for t in infant.things() if t.name == 'ball')
    assert np.linalg.norm(point - ball.position) == pytest.approx(0.04, abs=0.004)


def test_set_points_turn_an_eye_and_a_reset_turns_it_back(infant: MjcfWorld) -> None:
    before = column(infant, 'eye_left')
    infant.command({'act:left_eye_horizontal': 0.3})
    infant.step(1)
    states = infant.joint_states()
    turned = dict(zip(states.names, states.positions))
    assert turned['left_eye_horizontal'] == pytest.approx(0.3, abs=0.02)
    assert turned['right_eye_horizontal'] == pytest.approx(0, abs=0.02)
    assert column(infant, 'eye_left') > before + 20  # it looks to the left
    infant.reset()
    assert infant.time == 0
    assert infant.joint_states().positions[0] == pytest.approx(0.1)  # as in the keyframe home
    assert column(infant, 'eye_left') == pytest.approx(before)
    with pytest.raises(InvalidRequestError, match='act:left_eye_vertical may be meant'):
        infant.command({'act:left_eye_vertcal': 0.1})


def test_sensors_are_those_of_the_file(infant: MjcfWorld) -> None:
    infant.step(1.5)
    sensors = infant.sensors()
    assert {name: (kind, len(values)) for name, (kind, values) in sensors.items()} == {
        'vestibular_acc': ('accelerometer', 3), 'vestibular_gyro': ('gyro', 3),
        'proprio:neck': ('torque', 3), 'sensor_4': ('touch', 1)}
    assert sensors['vestibular_acc'].values == pytest.approx([0, 0, 9.81], abs=0.3)
    assert sensors['sensor_4'].values[0] == pytest.approx(9.81 * 3.5, rel=0.1)  # its weight
    assert {thing.name for thing in infant.things()} == {'torso', 'ball'}
    (ball,) = (thing for thing in infant.things() if thing.name == 'ball')
    assert ball.position[2] == pytest.approx(0.04, abs=0.01)  # it fell


@pytest.mark.parametrize(('text', 'problem'), [
    (None, 'there is no file .*; give the path of an MJCF file'),
    ('hello', 'is not an MJCF file: XML parse error .*; give a file that MuJoCo can load'),
    ('<sdf version="1.9"/>', "is not an MJCF file: .*'sdf'"),
    ('<mujoco><worldbody><bdy/></worldbody></mujoco>', "unrecognized element.*'bdy'"),
    ('<mujoco><asset><mesh name="a" file="a.stl"/></asset></mujoco>',
     r'needs a\.stl, which cannot be opened; put it'),
    ('<mujoco><asset><texture name="a" type="2d" file="a.png"/></asset></mujoco>',
     r'needs a\.png, which cannot be opened; put it'),
    ('<mujoco><actuator><motor joint="a"/></actuator></mujoco>',
     "cannot be compiled: .*unknown transmission target 'a'"),
    ('<robot name="a"><link name="b"/></robot>', 'has no camera; add <camera'),
])
def test_a_file_that_cannot_be_a_world_says_why(
    tmp_path: Path, text: str | None, problem: str
) -> None:
    file = tmp_path / 'world.xml'
    if text is not None:
        file.write_text(text, 'utf-8')
    with pytest.raises(InvalidRequestError, match=problem) as raised:
        MjcfWorld(file)
    assert '\n' not in str(raised.value)


TWO_CAMERAS = """<mujoco><option timestep="{step}"/><worldbody>
  <camera name="a:b"/><camera name="a_b"/><camera name="a_b_1"/>
  <camera/><camera name="camera_4"/>
  <body name="arm"><joint name="hinge"/><geom size="0.1"/></body></worldbody>
<actuator><position name="motor" joint="hinge"/></actuator></mujoco>"""


@pytest.fixture
def small(tmp_path: Path, request: pytest.FixtureRequest) -> MjcfWorld:
    file = tmp_path / 'small.xml'
    file.write_text(TWO_CAMERAS.format(step=getattr(request, 'param', 0.002)), 'utf-8')
    return MjcfWorld(file)


@pytest.mark.parametrize('small', [0.05, 0.03, 0.0033], indirect=True)
def test_time_passes_as_it_is_asked_for_whatever_the_step_of_the_file_is(small: MjcfWorld) -> None:
    for _ in range(100):
        small.step(0.02)
    assert small.time == pytest.approx(2, abs=small.model.opt.timestep)


def test_cameras_whose_topics_would_have_one_name_get_others(small: MjcfWorld) -> None:
    assert list(small.cameras) == ['a_b_2', 'a_b', 'a_b_1', 'camera_5', 'camera_4']


def test_a_set_point_that_is_no_number_is_refused(small: MjcfWorld) -> None:
    with pytest.raises(InvalidRequestError, match='set point of motor is nan; give a finite'):
        small.command({'motor': float('nan')})


def test_a_camera_that_follows_a_body_has_a_frame_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / 'follows.xml'
    file.write_text("""<mujoco><worldbody><camera name="eye" mode="targetbody" target="ball"
        pos="0 -2 1"/><body name="ball" pos="0 0 0.5"><freejoint/><geom size="0.1"/></body>
        </worldbody></mujoco>""", 'utf-8')
    world = MjcfWorld(file, (64, 48))
    for x in (0.0, 1.0):
        world.put('ball', (x, 0.0, 0.5))
        pose = world.frames()['eye_link'] @ world.cameras['eye'].pose
        ahead = pose.inverse.apply((x, 0.0, 0.5))
        assert ahead == pytest.approx([0, 0, np.hypot(2, np.hypot(0.5, x))], abs=1e-6)
