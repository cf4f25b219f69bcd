"""The table with an arm: contacts and friction hold things, and the world knows where they are."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip('mujoco', reason='mujoco is not installed')

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.geometry.extrinsics import Transform
from mimo_embodied_ros.worlds.physics import opengl
from mimo_embodied_ros.worlds.physics.arm_table import ArmTable
from mimo_embodied_ros.worlds.physics.renderers import renderer_called
from mimo_embodied_ros.worlds.physics.robot_files import load_robot
from mimo_embodied_ros.worlds.things import SHAPES, TableThing
from mimo_embodied_ros.worlds.world import TICK, SkillGoal, complete
from support.paths import TEST_DATA

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SMALL = (112, 84)
GANTRY = str(TEST_DATA / 'gantry' / 'gantry.yaml')


def thing(name: str, x: float, y: float, mass: float = 0.0, friction: float = 0.8) -> TableThing:
    colour, shape = name.split()
    return TableThing(colour, shape, SHAPES[shape].mean_size, x, y, 0.4, mass, friction)


def table(*things: TableThing, **more: Any) -> ArmTable:
    return ArmTable(3, things=things, size=SMALL, **more)


def gantry_table(*things: TableThing, **more: Any) -> ArmTable:
    """Return a table with a robot that takes less time than the UR5e."""
    return table(*things, robot=load_robot(GANTRY), **more)


def at(world: ArmTable, name: str) -> NDArray[np.float64]:
    return np.array(next(state.position for state in world.things() if state.name == name))


def place_of(world: ArmTable, name: str) -> str:
    return next(state.place for state in world.things() if state.name == name)


def pick(world: ArmTable, name: str, beside: float = 0.0) -> str:
    point = np.add(at(world, name), (0, beside, 0))
    return complete(world, world.skills['pick'](SkillGoal('pick', name, point)))


def place(world: ArmTable, name: str, beside: float = 0.0) -> str:
    point = np.add(at(world, name), (0, beside, 0))
    return complete(world, world.skills['place'](SkillGoal('place', place_at=point)))


@pytest.fixture(scope='module')
def many() -> ArmTable:
    return table(
        thing('red cube', 0.42, -0.2), thing('green ball', 0.52, -0.2),
        thing('blue cone', 0.62, -0.2), thing('blue bowl', 0.42, -0.03),
        thing('yellow plate', 0.62, 0.0), thing('red box', 0.42, 0.2),
        thing('green mat', 0.62, 0.2))


@pytest.mark.parametrize(('name', 'goal', 'where'), [
    ('red cube', 'blue bowl', 'in the blue bowl'),
    ('green ball', 'yellow plate', 'on the yellow plate'),
    ('blue cone', 'green mat', 'on the green mat'),
    ('red cube', 'red box', 'in the red box')])
def test_things_are_picked_up_and_put_where_the_point_is(
    many: ArmTable, name: str, goal: str, where: str
) -> None:
    # one after the other, without a reset: the last one takes the cube out of the bowl again
    assert pick(many, name, beside=0.01) == ''
    assert place_of(many, name) == 'held'
    assert 0.02 < many.arm.gripper_width < 0.07
    assert place(many, goal, beside=0.01) == ''
    assert place_of(many, name) == where
    assert not many.arm.stalled


def test_a_cube_is_put_on_another_and_then_handed_over() -> None:
    world = gantry_table(thing('red cube', 0.42, -0.2), thing('green cube', 0.5, 0.1))
    assert (pick(world, 'red cube'), place(world, 'green cube')) == ('', '')
    assert place_of(world, 'red cube') == 'on the green cube'
    assert pick(world, 'red cube') == ''
    assert complete(world, world.skills['hand_over'](SkillGoal('hand_over'))) == ''
    assert place_of(world, 'red cube') == 'in the hand'


def test_points_off_the_things_fail_as_those_of_a_real_arm() -> None:
    world = gantry_table(thing('red cube', 0.5, 0.0), thing('blue bowl', 0.5, 0.2))
    assert 'closed on nothing' in pick(world, 'red cube', beside=-0.08)
    assert place_of(world, 'red cube') == ''
    assert place(world, 'blue bowl') == 'the gripper holds nothing'
    far = SkillGoal('pick', object_at=np.array([3.0, 0.0, 0.0]))
    assert 'the camera does not see' in complete(world, world.skills['pick'](far))
    nowhere = complete(world, world.skills['pick'](SkillGoal('pick', 'red cube')))
    assert 'does not say where' in nowhere
    assert pick(world, 'red cube') == ''
    assert 'holds something already' in pick(world, 'red cube')
    # beside the bowl the arm notices nothing: only a look at the table shows it
    assert place(world, 'blue bowl', beside=-0.14) == ''
    assert place_of(world, 'red cube') == ''


@pytest.mark.parametrize(('name', 'friction'), [
    ('red cube', 0.06), ('red ball', 0.06), ('red cone', 0.52)])
def test_a_heavy_slippery_thing_slips_out_until_it_is_gripped_firmly(
    name: str, friction: float
) -> None:
    world = gantry_table(thing(name, 0.5, 0.0, mass=0.4, friction=friction))
    assert pick(world, name) == 'what the gripper held slipped out'
    assert place_of(world, name) == ''
    assert pick(world, name) == ''
    assert place_of(world, name) == 'held'


def test_a_share_of_the_things_is_slippery() -> None:
    things = ArmTable(1, others=(4, 4), slippery=1.0, robot=load_robot(GANTRY)).table_things
    slippery = {t.shape: t.friction for t in things if t.mass == 0.4}
    assert slippery.keys() == {'cube', 'ball', 'cone'} & {t.shape for t in things}
    # a cone would slip out of any grip
    assert all(f < 0.2 or (shape == 'cone' and 0.5 < f < 0.6) for shape, f in slippery.items())


def test_a_reset_gives_the_same_scene_or_another_one() -> None:
    world = ArmTable(5, size=SMALL, robot=load_robot(GANTRY))
    first, picture = world.things(), world.look('camera')
    assert pick(world, 'red cube') == ''
    world.reset()
    assert (world.time, world.things()) == (0.0, first)
    again = world.look('camera')
    assert np.array_equal(again.pixels, picture.pixels)
    world.reset(6)
    assert world.things() != first
    world.reset(5)
    assert world.things() == first


def test_what_the_camera_shows_is_where_the_world_says() -> None:
    world = ArmTable(2, size=(320, 240), robot=load_robot(GANTRY))
    camera, view = world.cameras['camera'], world.look('camera')
    for number, state in enumerate(world.things(), 1):
        rows, columns = np.nonzero(view.labels == number)
        z = view.depth[rows, columns]
        x, y = (columns + 0.5 - 160) * z / camera.focal, (rows + 0.5 - 120) * z / camera.focal
        points = camera.pose.apply(np.column_stack([x, y, z]))
        assert np.hypot(*(points.mean(0) - state.position)[:2]) < 0.05
        assert points[:, 2].min() > -0.002
    assert isinstance(camera.pose, Transform)


def test_knocks_push_things() -> None:
    calm, shaken = (
        gantry_table(thing('red cube', 0.5, 0.0), knocks=knocks) for knocks in (0.0, 60.0))
    begin = at(calm, 'red cube')
    for world in (calm, shaken):
        world.step(6.0)
    assert np.linalg.norm(at(calm, 'red cube') - begin) < 1e-3
    assert np.linalg.norm(at(shaken, 'red cube') - begin) > 0.01


def test_joints_follow_a_trajectory_within_their_limits() -> None:
    world = table()
    arm, home = world.arm, np.array(world.arm.robot.home)
    goal = np.add(home, (0.3, 0.2, -0.2, 0.1, 0.2, 1.0))
    via = np.add(home, (0.2, 0, 0, 0, 0, 0))
    assert complete(world, arm.follow([(0.5, via), (1.5, goal)])) == ''
    names, positions, velocities, _ = world.arm.joint_states()
    assert names[:6] == arm.robot.joints
    assert np.abs(positions[:6] - goal).max() < 0.02
    assert np.abs(velocities[:6]).max() < 0.2
    problem = complete(world, arm.follow_joints([9.0, *goal[1:]]))
    assert problem == 'shoulder_pan_joint cannot be at 9.00 rad; it moves from -6.28 to 6.28 rad'
    assert 'the arm cannot reach' in complete(world, arm.move((1.5, 0.0, 0.2), 0.0))
    assert np.abs(arm.set_points - goal).max() < 1e-6


def test_a_motion_that_is_closed_leaves_the_arm_where_it_is() -> None:
    world = gantry_table()
    motion = world.arm.move((0.5, 0.0, 0.3), 0.0)
    for _ in range(20):
        next(motion)
        world.step(TICK)
    motion.close()
    world.step(0.4)
    stopped = world.arm.tool_at
    world.step(0.4)
    assert np.linalg.norm(world.arm.tool_at - stopped) < 0.002
    assert np.linalg.norm(stopped - [0.5, 0.0, 0.3]) > 0.1


def test_the_gripper_holds_as_firmly_as_it_is_told() -> None:
    world = gantry_table(thing('red cube', 0.5, 0.0, mass=0.3, friction=0.15))
    assert pick(world, 'red cube') == ''
    assert complete(world, world.arm.grip(0.0, max_effort=2.0)) == ''
    world.step(0.5)
    assert place_of(world, 'red cube') != 'held'


def test_another_robot_is_read_from_its_mjcf() -> None:
    world = gantry_table(thing('red cube', 0.42, -0.2), thing('blue bowl', 0.5, 0.1))
    assert (pick(world, 'red cube'), place(world, 'blue bowl')) == ('', '')
    assert place_of(world, 'red cube') == 'in the blue bowl'


@pytest.mark.parametrize(('change', 'problem'), [
    ('tool: hook', "has no site 'hook' in"), ('joints: [x, knee]', "has no joint 'knee' in"),
    ('home: [0.0]', 'has 4 joints and 1 positions in home'),
    ('arms: 2', 'has arms, which is no field'),
    ('mjcf: no.xml', 'cannot be loaded'), ('mjcf: menagerie:panda', 'needs mujoco-menagerie')])
def test_the_error_says_what_is_wrong_with_a_robot(
    change: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'mujoco_menagerie', None)  # as where it is not installed
    key = change.partition(':')[0]
    shutil.copy(TEST_DATA / 'gantry' / 'gantry.xml', tmp_path)
    lines = (TEST_DATA / 'gantry' / 'gantry.yaml').read_text('utf-8').splitlines()
    kept = [line for line in lines if not line.startswith(f'{key}:')]
    (tmp_path / 'robot.yaml').write_text('\n'.join([*kept, change]), 'utf-8')
    with pytest.raises(InvalidRequestError, match=problem):
        load_robot(str(tmp_path / 'robot.yaml'))


def test_a_picture_by_opengl_has_the_labels_and_the_depth_of_one_by_rays() -> None:
    if not opengl.platform():
        pytest.skip('neither EGL nor OSMesa renders on this machine')
    views = []
    for name in ('gl', 'rays'):
        world = ArmTable(7, renderer=renderer_called(name), size=(160, 120), others=(3, 3),
                         robot=load_robot(GANTRY))
        views.append(world.look('camera'))
        world.close()
    by_opengl, by_rays = views
    same = by_opengl.labels == by_rays.labels
    assert same.mean() > 0.999
    assert set(np.unique(by_rays.labels)) == set(range(1 + len(world.bodies)))
    assert np.median(np.abs(by_opengl.depth - by_rays.depth)) < 1e-4
    assert np.abs(by_opengl.pixels.astype(int) - by_rays.pixels).mean() < 20


def test_an_unknown_renderer_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="no renderer 'paint'; take auto, gl, rays"):
        renderer_called('paint')
