"""Answers are recorded as they were given, within bounds; no request fails by that."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn

from mimo_embodied_ros import action, msg
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.core.frames import Frame, Intrinsics
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.evaluation.layouts import read_dataset
from mimo_embodied_ros.node.recorder import FILE, Recorder
from mimo_embodied_ros.pictures import read_picture
from support.robot import FRAME, Robot
from support.tabletop import INSTRUCTION, SCENE
from support.waiting import WAIT_S, wait_for

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
    assert recorded['system'] == ''
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
    robot = Robot(ros, record_to=str(file / 'answers')).start()
    robot.see()
    statuses = robot.received(DiagnosticArray, '/diagnostics')
    for text in ('red cube', 'blue bowl'):
        reply = robot.ask(action.FindAffordances, 'find_affordances', query=text).result
        assert reply.error_code == ResultCode.NONE
    said = ros.wait_for(lambda: [
        (status.level, status.message, values['recorded'])
        for message in statuses for status in message.status
        if status.name.endswith(': recorder')
        and (values := {v.key: v.value for v in status.values})['lost'] == '2'])[0]
    assert said[0] == DiagnosticStatus.WARN
    assert 'Not a directory' in said[1]
    assert said[2] == '0'
    assert robot.ros.call(robot.node.trigger_deactivate) is TransitionCallbackReturn.SUCCESS
    first, last = [line for line in log() if 'record_to' in line]
    assert str(file) in first
    assert '2 of 2 answers were not recorded' in last


def test_a_folder_grows_to_its_bound_over_all_recordings(tmp_path: Path) -> None:
    warnings: list[str] = []
    for start in (0, 20):
        recorder = Recorder(str(tmp_path), 10_000, LIMITS, warnings.append)
        for shade in range(start, start + 8):
            recorder.add(question(shade=shade), msg.Outcome(kind='find_affordances'), None)
        recorder.close()
        assert recorder.recorded + recorder.lost == 8
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 10_000
    assert 1 < len(lines(tmp_path)) < 16
    assert len(warnings) == 4  # each at the first loss and at the end
    assert all('record_max_mb' in text for text in warnings)
    assert {name for line in lines(tmp_path) for name in line['images']} == {
        file.name for file in tmp_path.glob('*.jpg')}


def test_two_recorders_keep_one_bound(tmp_path: Path) -> None:
    recorders = [Recorder(str(tmp_path), 10_000, LIMITS, lambda _: None) for _ in range(2)]
    for shade in range(16):
        recorded(recorders[shade % 2], shade=shade)
    for recorder in recorders:
        recorder.close()
        assert recorder.recorded
        assert recorder.lost
    assert 5_000 < sum(file.stat().st_size for file in tmp_path.iterdir()) <= 10_000


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
    assert (recorder.recorded, recorder.lost) == (2, 1)
    assert 'File too large' in warnings[0]
    assert len(list(tmp_path.glob('*.jpg'))) == 2


def recorded(recorder: Recorder, text: str = 'cup', **fields: Any) -> bool:
    """Record one answer; returns whether it was written."""
    before, lost = recorder.recorded, recorder.lost
    recorder.add(question(**fields), msg.Outcome(kind='ask', text=text), None)
    wait_for(lambda: recorder.recorded + recorder.lost > before + lost)
    return recorder.recorded > before


def test_recording_goes_on_when_a_full_folder_has_room_again(tmp_path: Path) -> None:
    warnings: list[str] = []
    recorder = Recorder(str(tmp_path), 6_000, LIMITS, warnings.append)
    shades = iter(range(250))
    wait_for(lambda: not recorded(recorder, shade=next(shades)))
    assert not recorded(recorder, shade=next(shades))
    assert len(warnings) == 1
    assert 'move what it holds elsewhere' in recorder.problem
    for file in tmp_path.glob('*.jpg'):
        file.unlink()
    wait_for(lambda: recorded(recorder, 'again', shade=next(shades)))
    assert recorder.problem == ''
    recorder.close()
    assert lines(tmp_path)[-1]['recorded']['text'] == 'again'
    assert (tmp_path / lines(tmp_path)[-1]['images'][0]).exists()
    assert warnings[-1].startswith(f'{recorder.lost} of ')


def test_a_folder_that_was_removed_is_made_again_with_the_images(tmp_path: Path) -> None:
    folder = tmp_path / 'answers'
    recorder = Recorder(str(folder), 10**6, LIMITS, pytest.fail)
    query = question()
    for _ in range(2):
        for number in (1, 2):
            recorder.add(query, msg.Outcome(kind='ask', text=str(number)), None)
        wait_for(lambda: recorder.recorded in (2, 4) and not recorder._waiting.qsize())
        first, second = lines(folder)
        assert first['images'] == second['images']
        assert (folder / first['images'][0]).exists()
        if recorder.recorded == 2:
            shutil.rmtree(folder)
    recorder.close()


def test_no_error_ends_the_recording(tmp_path: Path) -> None:
    """A disk that is full, and answers that no line can hold."""
    warnings: list[str] = []
    recorder = Recorder(str(tmp_path), 10**6, LIMITS, warnings.append)
    (tmp_path / FILE).symlink_to('/dev/full')
    assert not recorded(recorder)
    assert 'No space left on device' in recorder.problem
    assert list(tmp_path.iterdir()) == [tmp_path / FILE]  # not the picture alone
    (tmp_path / FILE).unlink()
    assert recorded(recorder, 'a \ud800 b\udcff')
    recorder.add(question(), msg.Outcome(kind='ask'), object())
    recorder.add(question(), None, None)
    wait_for(lambda: recorder.lost == 3)
    assert len(list(tmp_path.iterdir())) == 2
    assert recorded(recorder, 'again', stamp_ns=1, intrinsics=Intrinsics(
        *[float('nan')] * 4, 80, 60))
    recorder.close()
    assert (recorder.recorded, recorder.lost) == (2, 3)
    assert len(warnings) == 3  # two kinds of problems, and the end
    texts = [line['recorded']['text'] for line in lines(tmp_path)]
    assert texts == ['a \ufffd b\ufffd', 'again']
    (frame,) = lines(tmp_path)[1]['recorded']['frames']
    assert frame['intrinsics']['fx'] is None


def test_a_clock_that_is_set_back_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, 'time_ns', lambda: 1_700_000_000_000_000_000)
    for _ in range(2):
        recorder = Recorder(str(tmp_path), 10**6, LIMITS, pytest.fail)
        assert all(recorded(recorder, shade=shade) for shade in (0, 100, 200))
        recorder.close()
    written = lines(tmp_path)
    assert len({line['id'] for line in written}) == len(list(tmp_path.glob('*.jpg'))) == 6
    for half in (written[:3], written[3:]):
        assert [line['id'] for line in half] == sorted(line['id'] for line in half)


RECORD = """
import sys
import time
import numpy as np
from mimo_embodied_ros import msg
from mimo_embodied_ros.core.frames import Frame, Intrinsics
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.node.recorder import Recorder
folder, name, bound = sys.argv[1:]
recorder = Recorder(folder, int(bound), PixelLimits(784, 784 * 64), sys.exit)
for number in range(40):
    shade = np.full((60, 80, 3), number % 2, np.uint8)
    outcome = msg.Outcome(kind='ask', text='x' * 9000)
    recorder.add(Query(Task.POINTS, f'{name} {number}', (Frame(shade),)), outcome, None)
    while recorder.recorded + recorder.lost <= number:
        time.sleep(0.001)
recorder.close()
"""


def test_two_nodes_may_record_in_one_folder(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"id": "torn"')  # by one that was killed
    with contextlib.ExitStack() as stack:
        programs = [stack.enter_context(subprocess.Popen(
            [sys.executable, '-c', RECORD, str(tmp_path), name, str(10**8)],
            cwd=tmp_path.parent)) for name in 'ab']
        assert [program.wait(WAIT_S) for program in programs] == [0, 0]
    torn, *written = (tmp_path / FILE).read_text('utf-8').splitlines()
    assert torn == '{"id": "torn"'
    asked = [json.loads(line)['question'] for line in written]
    for name in 'ab':
        assert [q for q in asked if q[0] == name] == [f'{name} {n}' for n in range(40)]
    images = [image for line in written for image in json.loads(line)['images']]
    assert len(set(images)) == len(images) == 80
    assert {file.name for file in tmp_path.glob('*.jpg')} == set(images)


def test_images_have_the_size_that_positions_refer_to(tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path), 10**6, LIMITS, pytest.fail)
    recorder.add(question(size=(160, 120), camera='left'), msg.Outcome(kind='ask'), None)
    recorder.close()
    (line,) = lines(tmp_path)
    assert read_picture(tmp_path / line['images'][0]).shape == (120, 160, 3)
    assert line['recorded']['frames'][0]['camera'] == 'left'
