"""The demo: the node in a process of its own, a bag, goals through DDS."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from domains import claimed_domain
from PIL import Image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mimo_embodied_ros.worlds import road_scene
from support.programs import COMMAND_LINE, run_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip('rclpy', reason='ROS is not installed')


@pytest.fixture
def domain() -> Iterator[str]:
    with claimed_domain() as number:
        yield str(number)


def demo(folder: Path, domain: str, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    done = run_program(
        *COMMAND_LINE, 'demo', '--out', folder, *arguments, folder=folder.parent,
        environment={**os.environ, 'ROS_DOMAIN_ID': domain}, succeeds=False)
    report = folder / 'report.json'
    assert report.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(report.read_text('utf-8')), done.stdout


def test_the_answers_agree_with_the_shipped_bag(tmp_path: Path, domain: str) -> None:
    code, report, printed = demo(tmp_path, domain)
    assert code == 0, printed
    assert [r['kind'] for r in report] == ['plan', 'affordance', 'affordance', 'spatial', 'free']
    assert all(r['correct'] is True and r['error_code'] == 0 for r in report)
    assert all(r['latency_ms'] > 0 for r in report)
    assert all(r['frame_age_ms'] < 5000 for r in report)
    assert all(r['question'] in printed for r in report)
    picture = Image.open(tmp_path / 'annotated.png')
    assert picture.size[0] == 2 * 640


def test_any_other_bag_is_played_and_asked_about(tmp_path: Path, domain: str) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    pixels = road_scene.draw_road(random.Random(2), 320, 240).pixels
    with Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        kind = 'sensor_msgs/msg/Image'
        connection = writer.add_connection('/front/image', kind, typestore=store)
        for number in range(3):
            stamp = types['builtin_interfaces/msg/Time'](100 + number, 0)
            header = types['std_msgs/msg/Header'](stamp, 'front')
            message = types[kind](header, 240, 320, 'bgr8', 0, 960,
                                  np.ascontiguousarray(pixels[:, :, ::-1]).ravel())
            writer.write(connection, (100 + number) * 10**9, store.serialize_cdr(message, kind))
    code, report, printed = demo(tmp_path / 'out', domain, '--bag', str(tmp_path / 'bag'))
    assert code == 0, printed
    assert len(report) == 4
    assert all(r['correct'] is None for r in report)
    assert (tmp_path / 'out' / 'annotated.png').exists()
