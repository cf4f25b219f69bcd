"""The benchmarks run and write their figures; the figures themselves are not tested."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('torch')

from report import _gpu as gpu_section

from mimo_embodied_ros.pictures import write_picture
from support.paths import BENCH
from support.programs import run_program


def run(name: str, *arguments: str | Path, folder: Path) -> str:
    """Run a benchmark as a process, outside of the sources; return what it prints."""
    return run_program(sys.executable, BENCH / name, *arguments, folder=folder).stdout


def positive(values: Any) -> bool:
    """Tell whether all numbers of a report are positive and finite."""
    if isinstance(values, dict):
        return all(positive(value) for value in values.values())
    if isinstance(values, list):
        return all(positive(value) for value in values)
    return isinstance(values, str) or 0 < values < math.inf


def test_serving_writes_all_figures_and_the_page(tmp_path: Path) -> None:
    pytest.importorskip('rclpy', reason='ROS is not installed')
    printed = run('serving.py', '--quick', folder=tmp_path)
    report = json.loads((tmp_path / 'bench_out' / 'serving.json').read_text('utf-8'))
    measures = {'same_frame_8q', 'seen_frame_yes_no', 'decode_one_stream', 'new_frame_8q',
                'growth_min_ratio', 'ros_added_ms', 'cancel_p99_ms'}
    targets = report['targets']['at_least'] | report['targets']['at_most']
    assert targets.keys() == measures
    assert all(name in printed and report[name] > 0 for name in measures)
    assert report['token_identical'] is True
    assert report['answers']['compared'] == 2 * 2 * (8 + 2 + 2 + 8)
    parts = report['by_threads']
    assert parts.keys() == {'1', '2'}
    for name in report['targets']['at_least']:
        assert report[name] == min(part[name] for part in parts.values())
    ros = report['ros']
    assert ros['added_in_node_ms']['median'] < ros['added_ms']['median']
    assert ros['added_ms']['median'] < ros['goal_to_result_ms']['median']
    assert report['stamp_to_answer_ms'] == ros['stamp_to_answer_ms']['median']
    assert ros['stamp_to_answer_ms']['median'] > ros['engine_ms']['median'] > 0
    assert ros['camera_hz'] > 0
    for part in parts.values():
        growth = part['growth']
        assert growth.keys() == {'questions', 'cameras', 'image_tokens'}
        assert positive(growth)
        rows = *growth['questions'], *growth['cameras'], *growth['image_tokens']['answers']
        assert part['growth_min_ratio'] == min(row['plain_s'] / row['new_s'] for row in rows)
        assert part['growth_min_row'] in printed

    pytest.importorskip('matplotlib')
    run('report.py', folder=tmp_path)
    page = (tmp_path / 'docs' / 'benchmarks.md').read_text('utf-8')
    assert f'{report["same_frame_8q"]:.2f} times plain' in page
    assert '| measure | target | one thread | 2 threads | reached |' in page
    for number, part in (('one thread', parts['1']), ('2 threads', parts['2'])):
        assert f'## With {number}' in page
        assert (f'{number}: {part["load_before"]:.1f} before and {part["load_after"]:.1f} after'
                in page)
        assert (f'{part["growth_min_ratio"]:.2f} at {part["growth_min_row"]} with {number}'
                in page)
    assert (tmp_path / 'docs' / 'benchmarks.png').read_bytes().startswith(b'\x89PNG')


def test_intake_writes_all_figures(tmp_path: Path) -> None:
    pytest.importorskip('rclpy', reason='ROS is not installed')
    printed = run('intake.py', '--quick', folder=tmp_path)
    report = json.loads((tmp_path / 'bench_out' / 'intake.json').read_text('utf-8'))
    measures = {'idle_on_demand', 'idle_warm', 'busy'}
    assert report['targets']['at_most'].keys() == measures
    assert all(name in printed and report[name] >= 0 for name in measures)
    states = report['cameras']['1']['states']
    assert states.keys() == measures | {'plain'}
    assert states['idle_warm']['pictures_hz']['median'] > 0
    assert states['idle_on_demand']['pictures_hz']['median'] == 0


def record(folder: Path) -> None:
    """Write a sequence of the simulated table in the files of 7-Scenes."""
    from tracking_scenes import PictureSequence

    folder.mkdir()
    for number, picture in enumerate(PictureSequence('camera', 1, 0.5)):
        stem, pose = f'{folder}/frame-{number:06d}', np.eye(4)
        write_picture(Path(f'{stem}.color.png'), picture.view.pixels)
        millimetres = np.nan_to_num(1000 * picture.view.depth).round().astype(np.uint16)
        cv2.imwrite(f'{stem}.depth.png', millimetres)
        pose[:3, :3] = picture.camera.pose.rotation
        pose[:3, 3] = picture.camera.pose.translation
        np.savetxt(f'{stem}.pose.txt', pose)
        matrix = picture.camera.matrix
    np.savetxt(folder / 'camera.txt', [*np.diag(matrix)[:2], *matrix[:2, 2]])


def test_points_are_followed_in_short_sequences(tmp_path: Path) -> None:
    pytest.importorskip('mujoco')
    pytest.importorskip('rclpy', reason='ROS is not installed')
    record(tmp_path / 'recorded')
    printed = run('tracking.py', '--quick', '--recorded', tmp_path / 'recorded', folder=tmp_path)
    report = json.loads((tmp_path / 'bench_out' / 'tracking.json').read_text('utf-8'))
    for known in report['by_kind'].values():
        assert known['recorded']['points'] > 50
        assert known['recorded']['median_px'] < 2
        assert known['recorded']['false_share'] < report['targets']['false_share']
    assert report['by_kind'].keys() == {'depth and place', 'depth', 'pictures'}
    for row in report['all'].values():
        assert row['false_share'] < report['targets']['false_share']
        assert row['lost_after_s'] <= report['targets']['lost_after_s']
        assert row['tracked_share'] > 0.5
    assert 0 < report['convert_ms'] < report['track_ms']
    assert 'of a core' in printed
    assert report['node_images_hz'] > 5
    assert report['node_tracked_share'] > 0.9
    assert report['plain_core_share'] > 0


def test_the_gpu_program_runs_at_small_size(tmp_path: Path) -> None:
    run('gpu.py', '--small', '--out', tmp_path / 'gpu.json', folder=tmp_path)
    report = json.loads((tmp_path / 'gpu.json').read_text('utf-8'))
    assert report['failed'] == {}
    assert report['sides'].keys() == {'plain', 'plain_static', 'ours', 'static'}
    assert report['sides']['ours']['prompt_tokens'] > 1196
    for name, side in report['sides'].items():
        assert side['same_answers'] == 1.0, name
        assert positive(side), side
    assert report['sides']['static']['gb_per_s'] > 0
    assert '| `static` |' in gpu_section(report)
