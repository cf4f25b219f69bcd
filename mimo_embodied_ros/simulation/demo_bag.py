"""Record the demo's bag: ``python -m mimo_embodied_ros.simulation.demo_bag``.

A mobile base drives slowly past a table at which an arm stands. Picture, intrinsics, depth and
odometry are consistent, and ``scene.json`` beside the bag holds the place of each thing in each
picture.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mimo_embodied_ros.worlds.physics.arm_table import CAMERA, ArmTable
from mimo_embodied_ros.worlds.things import SHAPES, TableThing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mimo_embodied_ros.worlds.world import View

START_NS = 1_700_000_000_000_000_000
PERIOD_S = 0.2
SPEED = 0.015  # of the base, m/s to the right
SEED = 6  # of textures and lights
THINGS = tuple(
    TableThing(colour, shape, SHAPES[shape].mean_size, x, y, yaw) for colour, shape, x, y, yaw in (
        ('red', 'cube', 0.5, -0.17, 0.4),
        ('green', 'ball', 0.63, -0.02, 0.0),
        ('blue', 'bowl', 0.47, 0.11, 0.0),
        ('yellow', 'cup', 0.38, -0.07, 0.0),
        ('purple', 'plate', 0.62, 0.19, 0.0)))


class PassingCamera:
    """The camera of the arm's table, carried past it."""

    def __init__(self) -> None:
        """Set the table."""
        self.world = ArmTable(SEED, things=THINGS, spread=0)
        self.camera = self.world.cameras[CAMERA]
        self._at = self.world.model.camera(CAMERA).pos.copy()

    def view(self, time_s: float) -> View:
        """What it sees after ``time_s`` seconds: near things move faster in the picture."""
        right = self.camera.pose.rotation[:, 0]
        self.world.model.camera(CAMERA).pos[:] = self._at + right * SPEED * time_s
        return self.world.look(CAMERA)


def _messages(
    store: Any, seconds: float, passing: PassingCamera, pictures: list[dict[str, Any]]
) -> Iterator[tuple[str, str, int, Any]]:
    """Yield topic, type, time in nanoseconds and message, in order of time.

    The truth about each picture is added to ``pictures``.
    """
    camera = passing.camera
    height, width = camera.height, camera.width
    types = store.types
    time_type, header_type = types['builtin_interfaces/msg/Time'], types['std_msgs/msg/Header']
    image_type = types['sensor_msgs/msg/Image']

    def header(stamp_ns: int, frame: str) -> Any:
        return header_type(time_type(stamp_ns // 10**9, stamp_ns % 10**9), frame)

    region = types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, do_rectify=False)
    k = np.array(camera.matrix)
    p = np.insert(k.reshape(3, 3), 3, 0, 1).ravel()
    make = {name: types[f'geometry_msgs/msg/{name}'] for name in (
        'Point', 'Quaternion', 'Pose', 'PoseWithCovariance', 'Vector3', 'Twist',
        'TwistWithCovariance')}
    for step in range(int(seconds / 0.04)):
        time_s = step * 0.04
        stamp = START_NS + round(time_s * 1e9)
        pose = make['Pose'](make['Point'](0.0, -SPEED * time_s, 0.0),
                            make['Quaternion'](0.0, 0.0, 0.0, 1.0))
        twist = make['Twist'](make['Vector3'](0.0, -SPEED, 0.0), make['Vector3'](0.0, 0.0, 0.0))
        yield '/odom', 'nav_msgs/msg/Odometry', stamp, types['nav_msgs/msg/Odometry'](
            header(stamp, 'odom'), 'base_link', make['PoseWithCovariance'](pose, np.zeros(36)),
            make['TwistWithCovariance'](twist, np.zeros(36)))
        if step % round(PERIOD_S / 0.04):
            continue
        view = passing.view(time_s)
        pictures.append({'stamp_ns': stamp, 'things': _truth(view)})
        head = header(stamp, camera.frame)
        _, jpeg = cv2.imencode('.jpg', view.pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        depth = view.millimetres
        yield '/camera/camera_info', 'sensor_msgs/msg/CameraInfo', stamp, types[
            'sensor_msgs/msg/CameraInfo'](head, height, width, 'plumb_bob', np.zeros(5), k,
                                          np.eye(3).ravel(), p, 0, 0, region)
        yield '/camera/depth/image_rect', 'sensor_msgs/msg/Image', stamp, image_type(
            head, height, width, '16UC1', 0, 2 * width, depth.view(np.uint8).ravel())
        yield ('/camera/image_raw/compressed', 'sensor_msgs/msg/CompressedImage', stamp,
               types['sensor_msgs/msg/CompressedImage'](head, 'jpeg', jpeg.ravel()))


def record(folder: Path, seconds: float) -> None:
    """Write the bag and ``scene.json``; an existing folder is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    passing, pictures = PassingCamera(), list[dict[str, Any]]()
    store = get_typestore(Stores.ROS2_JAZZY)
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for topic, kind, stamp, message in _messages(store, seconds, passing, pictures):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], stamp, store.serialize_cdr(message, kind))
    text = json.dumps({'width': passing.camera.width, 'height': passing.camera.height,
                       'pictures': pictures})
    (folder / 'scene.json').write_text(text + '\n', 'utf-8')


def _truth(view: View) -> list[dict[str, Any]]:
    """Where each thing is seen: its middle, its box and its depth."""
    things = []
    for label, thing in enumerate(THINGS, 1):
        rows, columns = np.nonzero(view.labels == label)
        things.append({
            'name': thing.name, 'x': round(float(columns.mean()), 2),
            'y': round(float(rows.mean()), 2),
            'box': [int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())],
            'depth_m': round(float(np.median(view.depth[rows, columns])), 4)})
    return things


def main() -> None:
    """Record the bag."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--out', type=Path, default=Path('bags/tabletop'))
    parser.add_argument('--seconds', type=float, default=8.0)
    options = parser.parse_args()
    record(options.out, options.seconds)
    size = sum(f.stat().st_size for f in options.out.iterdir())
    print(f'{options.out}: {size / 1e6:.1f} MB')


if __name__ == '__main__':
    main()
