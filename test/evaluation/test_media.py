"""Records about clips and videos: files, lists of pictures, stamps, and recorded answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.tasks import known_tasks
from mimo_embodied_ros.evaluation import report, run
from mimo_embodied_ros.evaluation.layouts import read_dataset
from mimo_embodied_ros.evaluation.media import read_frames
from support.videos import greys, write_video

if TYPE_CHECKING:
    from pathlib import Path

    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.core.tasks import Task
    from mimo_embodied_ros.evaluation.dataset import Record

LIMITS = PixelLimits(4 * 28 * 28, 1280 * 28 * 28)
TASKS = """
watch:
  prompt: "{text}"
  answer: text
  media: video
frames:
  prompt: "{text}"
  answer: text
  media: clip
around:
  prompt: "{text}"
  answer: text
  media: videos
  views: [front, left]
"""


@pytest.fixture
def tasks(tmp_path: Path) -> dict[str, Task]:
    file = tmp_path / 'tasks.yaml'
    file.write_text(TASKS)
    return dict(known_tasks(file))


def read(folder: Path, tasks: dict[str, Task], *lines: dict[str, Any]) -> list[Record]:
    """The records of a dataset, each a question with a text as answer."""
    file = folder / 'data.jsonl'
    file.write_text('\n'.join(
        json.dumps({'question': 'what?', 'answer': {'text': 'a'}, **line}) for line in lines))
    return read_dataset(file, tasks=tasks)


def prompt_of(record: Record) -> Prompt:
    frames = read_frames(record, LIMITS)
    return build_prompt(Query(record.task, record.question, frames), LIMITS)


def pictures(folder: Path, number: int, prefix: str = 'p') -> list[str]:
    names = [f'{prefix}{i}.png' for i in range(number)]
    for name, pixels in zip(names, greys(number), strict=True):
        Image.fromarray(pixels).save(folder / name)
    return names


def test_a_file_is_a_video_or_images_as_the_task_says(
    tmp_path: Path, tasks: dict[str, Task]
) -> None:
    write_video(tmp_path / 'a.mp4', greys(41))
    watch, slow, frames = read(
        tmp_path, tasks, {'video': 'a.mp4', 'task': 'watch'},
        {'video': 'a.mp4', 'task': 'watch', 'fps': 1},
        {'video': 'a.mp4', 'task': 'frames', 'frames': 5})
    (video,) = prompt_of(watch).videos
    assert len(video.frames) == 8
    assert video.interval == pytest.approx(4 / 7, abs=1e-3)
    assert len(prompt_of(slow).videos[0].frames) == 4
    images = prompt_of(frames).images
    assert [round(float(image.mean()) / 6) for image in images] == [0, 10, 20, 30, 40]
    assert len({watch.key, slow.key, frames.key}) == 3


def test_lists_of_pictures_have_a_rate_or_stamps(tmp_path: Path, tasks: dict[str, Task]) -> None:
    names = pictures(tmp_path, 4)
    rate, stamps, unknown, recorded = records = read(
        tmp_path, tasks, {'video': names, 'task': 'watch', 'fps': 4},
        {'video': names, 'task': 'watch', 'stamps': [7, 7.5, 8, 10]},
        {'images': names, 'task': 'watch'},
        {'images': names, 'task': 'watch', 'recorded': {
            'frames': [{'stamp_ns': 10**18 + i * 10**8} for i in range(4)]}})
    assert [prompt_of(r).videos[0].interval for r in records] == (
        pytest.approx([0.25, 0.5, 0.5, 0.1]))
    # the picture before a gap is shown until its end
    assert [len(prompt_of(r).videos[0].frames) for r in records] == [4, 7, 4, 4]
    assert [f.stamp_ns for f in read_frames(stamps, LIMITS)] == [7e9, 7.5e9, 8e9, 10e9]
    assert recorded.stamps_ns[1] - recorded.stamps_ns[0] == 10**8
    assert len({r.key for r in (rate, stamps, unknown, recorded)}) == 4


def test_videos_have_one_of_each_view_equally_long(
    tmp_path: Path, tasks: dict[str, Task]
) -> None:
    write_video(tmp_path / 'front.mp4', greys(41))
    write_video(tmp_path / 'left.mp4', greys(21))
    front, left = pictures(tmp_path, 3, 'front'), pictures(tmp_path, 3, 'left')
    files, lists = read(
        tmp_path, tasks, {'videos': ['front.mp4', 'left.mp4'], 'task': 'around'},
        {'videos': [front, left], 'task': 'around', 'fps': 2})
    assert [len(video.frames) for video in prompt_of(files).videos] == [4, 4]
    assert [video.interval for video in prompt_of(files).videos] == (
        pytest.approx([4 / 3, 2 / 3], abs=1e-3))
    assert [f.stamp_ns for f in read_frames(lists, LIMITS)] == [0, 5e8, 1e9] * 2
    assert len(prompt_of(lists).videos) == 2


def test_what_cannot_be_a_video_is_refused_with_its_place(
    tmp_path: Path, tasks: dict[str, Task]
) -> None:
    write_video(tmp_path / 'a.mp4', greys(5))
    names = pictures(tmp_path, 3)
    watch = {'task': 'watch', 'video': names}
    for bad, says in (
            ({'task': 'points', 'video': 'a.mp4'}, 'task points takes image, no video; give image'),
            ({'task': 'watch', 'videos': ['a.mp4']}, 'takes video, no videos'),
            ({'task': 'around', 'videos': ['a.mp4']}, 'one of each view: front, left'),
            ({'task': 'around', 'videos': [names, names[:2]]}, 'equally long lists'),
            ({'task': 'around', 'videos': ['a.mp4', names]}, 'a list of files, or equally long'),
            ({'task': 'watch', 'video': 'b.mp4'}, 'there is no video'),
            ({'task': 'watch', 'video': []}, 'give the name of a file, or a list of'),
            ({'task': 'watch', 'video': [1]}, 'give the name of a file, or a list of'),
            ({'task': 'watch', 'video': 'a.mp4', 'image': 'p0.png'}, 'in their place'),
            ({'task': 'watch', 'video': 'a.mp4', 'stamps': [1]}, 'a video file has its own'),
            ({**watch, 'frames': 8}, 'frames are chosen from a video file'),
            ({**watch, 'fps': 0}, 'fps is 0; give a positive number'),
            ({**watch, 'stamps': [0, 2, 1]}, 'give 3 rising times'),
            ({'task': 'watch', 'video': 'a.mp4', 'frames': 2.5}, 'a positive whole number')):
        with pytest.raises(InvalidRequestError) as error:
            read(tmp_path, tasks, bad)
        assert str(error.value).startswith(f'{tmp_path / "data.jsonl"}:1: ')
        assert says in str(error.value)


@pytest.mark.parametrize('media', ['file', 'list'])
def test_the_contact_sheet_shows_the_newest_frame(
    tmp_path: Path, tasks: dict[str, Task], media: str
) -> None:
    last = np.zeros((48, 64, 3), np.uint8)
    last[..., 1] = 200
    frames = [*greys(9), last]
    for i, pixels in enumerate(frames):
        Image.fromarray(pixels).save(tmp_path / f'{i}.png')
    write_video(tmp_path / 'a.mp4', frames)
    video = 'a.mp4' if media == 'file' else [f'{i}.png' for i in range(10)]
    (record,) = read(tmp_path, tasks, {'video': video, 'task': 'watch'})
    query = Query(record.task, record.question, read_frames(record, LIMITS))
    reply = run.Prediction(record.key, record.id, 'b', 'stop', '', '', 0.5)
    sheet = report.contact_sheet([run.judge(record, reply, query, LIMITS)], 1)
    assert sheet is not None
    colour = sheet[100, 240].astype(int)
    assert np.abs(colour - (0, 200, 0)).max() < 20
