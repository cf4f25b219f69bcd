"""Answers are recorded as they were given, within bounds; no request fails by that."""

from __future__ import annotations

import json
import resource
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from rclpy.lifecycle import TransitionCallbackReturn

from mimo_embodied_ros import action, msg
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.evaluation.layouts import read_dataset
from mimo_embodied_ros.node.recorder import FILE, Recorder
from mimo_embodied_ros.pictures import read_picture
from support.robot import FRAME, Robot
from support.tabletop import INSTRUCTION, SCENE
from support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = PixelLimits(784, 784 * 64)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / FILE).read_text('utf-8').splitlines()]


def question(text: str = 'the cup', shade: int = 0, **frame: Any) -> Query:
    return Query(Task.POINTS, text, (Frame(np.full((60, 80, 3), shade, np.uint8), **frame),))


def test_questions_and_answers_are_recorded(ros: Any, tmp_path: Path) -> None:
    robot = Robot(ros, record_to=str(tmp_path / 'new' / 'answers')).start()
    folder = tmp_path / 'new' / 'answers'
    header = robot.see()
    plan = robot.ask(action.PlanTask, 'plan_task', caller='arm', thinking=1,
                     instruction=INSTRUCTION).result
    yes = robot.ask(action.AnswerSpatial, 'answer_spatial',
                    question='Is the red cube left of the blue bowl?').result
    broken = robot.ask(action.FindAffordances, 'find_affordances', query='red cube',
                       max_new_tokens=3).result
    robot.ask(action.FindAffordances, 'find_affordances', query='')  # the model is not asked
    assert robot.ros.call(robot.node.trigger_deactivate) is TransitionCallbackReturn.SUCCESS
    first, second, third = lines(folder)
    recorded = first['recorded']
    assert (first['task'], first['question'], first['thinking']) == (
        'plan', INSTRUCTION, True)
    assert (recorded['kind'], recorded['caller'], recorded['camera'], recorded['error_code']) == (
        'plan_task', 'arm', 'camera', 0)
    assert recorded['header']['frame_id'] == FRAME
    assert recorded['header']['stamp'] == {
        'sec': header.stamp.sec, 'nanosec': header.stamp.nanosec}
    assert (recorded['reasoning'], recorded['raw_text']) == (plan.reasoning, plan.raw_text)
    assert plan.reasoning
    assert recorded['stats']['completion_tokens'] == plan.stats.completion_tokens > 0
    assert INSTRUCTION in recorded['prompt']
    answer = recorded['answer']
    assert [s['description'] for s in answer['steps']] == [
        s.description for s in plan.plan.steps]
    assert answer['steps'][0]['points'][0]['x'] == plan.plan.steps[0].points[0].x
    assert answer['plan_id'] == {'uuid': list(plan.plan.plan_id.uuid)}
    (frame,) = recorded['frames']
    assert (frame['width'], frame['height'], frame['frame_id']) == (640, 480, FRAME)
    assert frame['stamp_ns'] == header.stamp.sec * 10**9 + header.stamp.nanosec
    assert second['recorded']['answer']['yes'] is yes.answer.yes is True
    assert ResultCode(third['recorded']['error_code']) is ResultCode.OUTPUT_TRUNCATED
    assert third['recorded']['error_msg'] == broken.error_msg
    assert third['recorded']['raw_text'] == broken.raw_text
    assert third['recorded']['answer'] is None
    # one image for all three, and nothing else
    assert first['images'] == second['images'] == third['images']
    assert sorted(file.name for file in folder.iterdir()) == sorted([FILE, *first['images']])
    picture = read_picture(folder / first['images'][0])
    assert np.abs(picture.astype(int) - SCENE.pixels).mean() < 3

    # who adds the right answers has a dataset
    truths = ({'steps': ['pick up the red cube']}, {'yes': True}, {'boxes': [[1, 2, 3, 4]]})
    (folder / 'dataset.jsonl').write_text('\n'.join(
        json.dumps({**line, 'answer': truth})
        for line, truth in zip(lines(folder), truths, strict=True)))
    records = read_dataset(folder)
    assert [r.task.name for r in records] == ['plan', 'spatial', 'points']
    assert records[0].thinking is True
    assert records[0].images == (folder / first['images'][0],)


def test_a_folder_that_cannot_be_written_hurts_no_request(
    ros: Any, tmp_path: Path, log: Any
) -> None:
    file = tmp_path / 'file'
    file.write_text('')
    robot = Robot(ros, record_to=str(file / 'answers'))
    robot.start().see()
    for text in ('red cube', 'blue bowl'):
        reply = robot.ask(action.FindAffordances, 'find_affordances', query=text).result
        assert reply.error_code == ResultCode.NONE
    assert robot.ros.call(robot.node.trigger_deactivate) is TransitionCallbackReturn.SUCCESS
    warnings = ros.wait_for(lambda: [line for line in log() if 'record_to' in line])
    assert len(warnings) == 1
    assert str(file) in warnings[0]


def test_a_folder_grows_to_its_bound_over_all_recordings(tmp_path: Path) -> None:
    warnings: list[str] = []
    for start in (0, 20):
        recorder = Recorder(str(tmp_path), 10_000, LIMITS, warnings.append)
        for shade in range(start, start + 8):
            recorder.add(question(shade=shade), msg.Outcome(kind='find_affordances'), None)
        recorder.close()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 10_000
    assert 1 < len(lines(tmp_path)) < 16
    assert len(warnings) == 2  # once each
    assert all('record_max_mb' in text for text in warnings)
    assert {name for line in lines(tmp_path) for name in line['images']} == {
        file.name for file in tmp_path.glob('*.jpg')}


def test_half_a_line_is_taken_back_and_recording_goes_on(tmp_path: Path) -> None:
    warnings: list[str] = []
    recorder = Recorder(str(tmp_path), 10**6, LIMITS, warnings.append)

    def record(text: str) -> None:
        recorder.add(question(text), msg.Outcome(kind='find_affordances', text=text), None)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, before[1]))  # as a full disk does
    try:
        record('short')
        record('long ' * 500)
        wait_for(lambda: warnings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    record('again')
    recorder.close()
    assert [line['question'] for line in lines(tmp_path)] == ['short', 'again']
    assert len(warnings) == 1
    assert len(list(tmp_path.glob('*.jpg'))) == 2


def test_images_have_the_size_that_positions_refer_to(tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path), 10**6, LIMITS, pytest.fail)
    recorder.add(question(size=(160, 120), camera='left'), msg.Outcome(kind='ask'), None)
    recorder.close()
    (line,) = lines(tmp_path)
    assert read_picture(tmp_path / line['images'][0]).shape == (120, 160, 3)
    assert line['recorded']['frames'][0]['camera'] == 'left'
