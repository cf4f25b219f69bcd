"""Record the demo's bag: ``python -m mimo_embodied_ros.simulation.demo_bag``.

A mobile base drives slowly past a drawn table. Picture, intrinsics, depth and odometry are
consistent, and ``scene.json`` beside the bag holds the place of each thing in each picture.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mimo_embodied_ros.worlds.table_camera import (
    FOCAL,
    HEIGHT,
    MATRIX,
    OPTICAL_FRAME,
    WIDTH,
    depth_at,
    depth_of,
)
from mimo_embodied_ros.worlds.table_scene import Table, Thing, draw_table

if TYPE_CHECKING:
    from collections.abc import Iterator

START_NS = 1_700_000_000_000_000_000
PERIOD_S = 0.2
SPEED = 0.015  # of the base, m/s to the right
THINGS = (
    Thing('red', 'cube', 190, 330, 48),
    Thing('blue', 'bowl', 430, 215, 58),
    Thing('green', 'ball', 330, 390, 42),
    Thing('yellow', 'cup', 175, 165, 46),
    Thing('purple', 'plate', 500, 395, 60),
)


def scene_at(time_s: float) -> Table:
    """Draw the table as seen after ``time_s`` seconds: near things move faster in the picture."""
    travelled = SPEED * time_s
    things = tuple(
        Thing(t.colour, t.shape, t.x - FOCAL * travelled / depth_at(t.y), t.y, t.radius)
        for t in THINGS)
    return draw_table(random.Random(5), WIDTH, HEIGHT, things=things)


def _messages(store: Any, seconds: float) -> Iterator[tuple[str, str, int, Any]]:
    """Yield topic, type, time in nanoseconds and message, in order of time."""
    types = store.types
    time_type, header_type = types['builtin_interfaces/msg/Time'], types['std_msgs/msg/Header']
    image_type = types['sensor_msgs/msg/Image']

    def header(stamp_ns: int, frame: str) -> Any:
        return header_type(time_type(stamp_ns // 10**9, stamp_ns % 10**9), frame)

    region = types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, do_rectify=False)
    k = np.array(MATRIX)
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
        scene = scene_at(time_s)
        head = header(stamp, OPTICAL_FRAME)
        _, jpeg = cv2.imencode('.jpg', scene.pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        depth = depth_of(scene)
        yield '/camera/camera_info', 'sensor_msgs/msg/CameraInfo', stamp, types[
            'sensor_msgs/msg/CameraInfo'](head, HEIGHT, WIDTH, 'plumb_bob', np.zeros(5), k,
                                          np.eye(3).ravel(), p, 0, 0, region)
        yield '/camera/depth/image_rect', 'sensor_msgs/msg/Image', stamp, image_type(
            head, HEIGHT, WIDTH, '16UC1', 0, 2 * WIDTH, depth.view(np.uint8).ravel())
        yield ('/camera/image_raw/compressed', 'sensor_msgs/msg/CompressedImage', stamp,
               types['sensor_msgs/msg/CompressedImage'](head, 'jpeg', jpeg.ravel()))


def record(folder: Path, seconds: float) -> None:
    """Write the bag and ``scene.json``; an existing folder is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    store = get_typestore(Stores.ROS2_JAZZY)
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for topic, kind, stamp, message in _messages(store, seconds):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], stamp, store.serialize_cdr(message, kind))
    pictures = []
    for number in range(int(seconds / PERIOD_S + 1e-9)):
        time_s = number * PERIOD_S
        pictures.append({
            'stamp_ns': START_NS + round(time_s * 1e9),
            'things': [
                {'name': t.name, 'x': round(t.x, 2), 'y': round(t.y, 2),
                 'box': [round(v, 2) for v in t.box], 'depth_m': round(depth_at(t.y), 4)}
                for t in scene_at(time_s).things],
        })
    text = json.dumps({'width': WIDTH, 'height': HEIGHT, 'pictures': pictures})
    (folder / 'scene.json').write_text(text + '\n', 'utf-8')


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
