"""The world for Gazebo, its bridge to ROS, and the launch file of both."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip('rclpy', reason='ROS is not installed')

from mimo_embodied_ros.worlds import gazebo_world
from mimo_embodied_ros.worlds.things import COLOURS, SHAPES
from support.launch_files import GAZEBO_LAUNCH, constant, parameters_in
from support.paths import CONFIG, ROOT

WORLD = ROOT / 'gazebo' / 'tabletop.sdf'
BRIDGE = yaml.safe_load((ROOT / 'gazebo' / 'bridge.yaml').read_text('utf-8'))
ROBOTS = constant('ROBOTS', GAZEBO_LAUNCH)

# What ros_gz_bridge can convert, of what is used: ROS, Gazebo.
TYPES = {
    ('rosgraph_msgs/msg/Clock', 'gz.msgs.Clock'),
    ('sensor_msgs/msg/Image', 'gz.msgs.Image'),
    ('sensor_msgs/msg/CameraInfo', 'gz.msgs.CameraInfo'),
    ('nav_msgs/msg/Odometry', 'gz.msgs.Odometry'),
    ('tf2_msgs/msg/TFMessage', 'gz.msgs.Pose_V'),
    ('geometry_msgs/msg/Twist', 'gz.msgs.Twist'),
}


@pytest.fixture(scope='module')
def world() -> Any:
    return ET.parse(WORLD).getroot().find('world')  # noqa: S314 (our own file)


def text(element: Any, path: str) -> str:
    child = element.find(path)
    assert child is not None, f'{element.attrib} has no {path}'
    return str(child.text)


def numbers(element: Any, path: str) -> np.ndarray[Any, Any]:
    return np.array(text(element, path).split(), float)


def test_the_world_is_the_one_that_is_written_from_the_list_of_things() -> None:
    assert WORLD.read_text('utf-8') == gazebo_world.world_file(), (
        'run python -m mimo_embodied_ros.worlds.gazebo_world gazebo/tabletop.sdf')


def test_the_links_of_joints_and_the_joints_of_drives_are_there(world: Any) -> None:
    for model in world.iter('model'):
        links = {link.get('name') for link in model.iter('link')}
        joints = {joint.get('name') for joint in model.iter('joint')}
        for joint in model.iter('joint'):
            assert {text(joint, 'parent'), text(joint, 'child')} <= links
        for plugin in model.iter('plugin'):
            assert {text(plugin, f'{side}_joint') for side in ('left', 'right')} <= joints


def test_gazebos_own_parser_finds_no_fault_with_the_world() -> None:
    program = shutil.which('ign') or shutil.which('gz')
    if program is None:
        pytest.skip("no parser of Gazebo's is installed")
    done = subprocess.run([program, 'sdf', '--check', WORLD], check=False,
                          capture_output=True, text=True)
    output = done.stdout + done.stderr
    assert 'Valid' in output, output
    assert 'Error' not in output, output
    assert 'Warning' not in output, output


def test_things_are_of_the_kinds_and_colours_that_the_embedded_model_knows(world: Any) -> None:
    things = [model for model in world.iter('model') if ' ' in model.get('name')]
    assert len(things) > 5
    for thing in things:
        colour, shape = thing.get('name').split()
        assert shape in SHAPES
        body = numbers(thing, 'link/visual/material/diffuse')[:3]
        assert body == pytest.approx(np.array(COLOURS[colour]) / 255, abs=0.01)


def offered(world: Any) -> dict[str, str]:
    """Return Gazebo's topics in this world with their types, as its systems document them."""
    topics = {'/clock': 'gz.msgs.Clock'}
    for sensor in world.iter('sensor'):
        assert sensor.get('type') == 'rgbd_camera'
        topic = f'/{text(sensor, "topic")}'
        topics |= {f'{topic}/image': 'gz.msgs.Image', f'{topic}/depth_image': 'gz.msgs.Image',
                   f'{topic}/camera_info': 'gz.msgs.CameraInfo'}
    (drive,) = (p for p in world.iter('plugin') if p.get('name').endswith('::DiffDrive'))
    kinds = {'topic': 'Twist', 'odom_topic': 'Odometry', 'tf_topic': 'Pose_V'}
    return topics | {f'/{text(drive, name)}': f'gz.msgs.{kind}' for name, kind in kinds.items()}


def used() -> dict[str, str]:
    """Return the topics that the nodes use, with their types."""
    topics = {'/clock': 'rosgraph_msgs/msg/Clock'}
    for namespace, file, _ in ROBOTS:
        values = parameters_in(CONFIG / file)
        kinds = {'camera.image_topic': 'sensor_msgs/msg/Image',
                 'camera.depth_topic': 'sensor_msgs/msg/Image',
                 'odometry_topic': 'nav_msgs/msg/Odometry'}
        topics |= {f'/{namespace}/{values[name]}': kind
                   for name, kind in kinds.items() if values[name]}
        beside, _, _ = values['camera.image_topic'].rpartition('/')
        topics[f'/{namespace}/{beside}/camera_info'] = 'sensor_msgs/msg/CameraInfo'
    return topics


def test_the_bridge_carries_what_the_world_offers_and_the_nodes_use(world: Any) -> None:
    assert len({entry['ros_topic_name'] for entry in BRIDGE}) == len(BRIDGE)
    for entry in BRIDGE:
        assert set(entry) - {'lazy'} == {'ros_topic_name', 'gz_topic_name', 'ros_type_name',
                                         'gz_type_name', 'direction'}
        assert (entry['ros_type_name'], entry['gz_type_name']) in TYPES
        assert entry['direction'] == (
            'ROS_TO_GZ' if entry['ros_topic_name'].endswith('cmd_vel') else 'GZ_TO_ROS')
    assert {e['gz_topic_name']: e['gz_type_name'] for e in BRIDGE} == offered(world)
    # besides what the nodes use: frames, and what drives the base
    in_ros = {e['ros_topic_name']: e['ros_type_name'] for e in BRIDGE}
    assert in_ros == used() | {'/tf': 'tf2_msgs/msg/TFMessage',
                               '/base/cmd_vel': 'geometry_msgs/msg/Twist'}


def camera_of(world: Any, robot: str) -> tuple[Any, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the sensor of a robot, the axes of its view (ahead, left, up), and its position."""
    (model,) = (m for m in world.iter('model') if m.get('name') == robot)
    (sensor,) = model.iter('sensor')
    base, pose = numbers(model, 'pose'), numbers(sensor, 'pose')
    roll, pitch, yaw = pose[3:]
    assert not np.any([roll, yaw, *base[3:]])
    ahead, up = [np.cos(pitch), 0, -np.sin(pitch)], [np.sin(pitch), 0, np.cos(pitch)]
    return sensor, np.array([ahead, [0, 1, 0], up]), base[:3] + pose[:3]


def test_the_cameras_see_the_things(world: Any) -> None:
    things = {m.get('name'): numbers(m, 'pose')[:3]
              for m in world.iter('model') if ' ' in m.get('name')}
    floor = {name for name, position in things.items() if position[2] < 0.5}
    for robot, seen in (('arm', set(things) - floor), ('base', set(things))):
        sensor, axes, position = camera_of(world, robot)
        width, height = (float(text(sensor, f'camera/image/{s}')) for s in ('width', 'height'))
        focal = width / 2 / np.tan(float(text(sensor, 'camera/horizontal_fov')) / 2)
        for name in seen:
            ahead, left, up = axes @ (things[name] - position)
            assert float(text(sensor, 'camera/clip/near')) < ahead
            assert ahead < float(text(sensor, 'camera/clip/far'))
            # with room for the thing around the point that its pose is
            assert abs(left / ahead * focal) < width / 2 - 40, (robot, name)
            assert abs(up / ahead * focal) < height / 2 - 40, (robot, name)


def test_the_frames_of_the_launch_file_are_those_of_the_world(world: Any) -> None:
    for robot, _, (x, y, z, pitch) in ROBOTS:
        sensor, _, _ = camera_of(world, robot)
        assert numbers(sensor, 'pose') == pytest.approx([x, y, z, 0, pitch, 0])
        frame = text(sensor, 'camera/optical_frame_id')
        assert frame == f'{robot}/camera_color_optical_frame'
    (drive,) = (p for p in world.iter('plugin') if p.get('name').endswith('::DiffDrive'))
    assert text(drive, 'child_frame_id') == 'base/base_link'
    left, right = (numbers(link, 'pose') for link in world.iter('link')
                   if link.get('name', '').endswith('wheel'))
    assert left[1] - right[1] == pytest.approx(float(text(drive, 'wheel_separation')))
    assert left[2] == pytest.approx(float(text(drive, 'wheel_radius')))
