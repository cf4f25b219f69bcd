"""Clips as videos in the node: from cameras, a bag and goals, and models that take none."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip('httpx2')

from builtin_interfaces.msg import Time
from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import Header

from mimo_embodied_ros import action, srv
from mimo_embodied_ros.bags import BagPlayer
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.ros.images import encode_image
from support.paths import ROOT
from support.robot import Robot, remote
from support.video_server import VideoServer
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from pathlib import Path

ASK = action.AnswerSpatial, 'answer_spatial'
QUESTION = {'question': 'How many cubes?', 'task': 'space_number'}
RATE = 8.0  # of the bag


def pictures(*stamps_ns: int) -> list[Any]:
    rng = np.random.default_rng(0)
    stamps = [Time(sec=stamp // 10**9, nanosec=stamp % 10**9) for stamp in stamps_ns]
    return [encode_image(rng.integers(0, 255, (84, 112, 3), dtype=np.uint8), Header(stamp=stamp))
            for stamp in stamps]


def test_a_video_task_about_a_bag_that_plays(ros: Any, tmp_path: Path) -> None:
    robot = Robot(ros, use_sim_time=True, camera__image_transport='compressed',
                  camera__clip_frames=4, camera__clip_rate=2.0, record_to=str(tmp_path))
    for change in (robot.node.trigger_configure, robot.node.trigger_activate):
        assert ros.call(change) is TransitionCallbackReturn.SUCCESS
    prompts = robot.prompts()
    topics = ['/camera/image_raw/compressed', '/odom']
    with BagPlayer(ROOT / 'bags' / 'tabletop', ros.node('player'), rate=RATE, clock=True,
                   topics=topics) as player:
        assert player.wait_for_subscribers(WAIT_S)
        for _ in range(2):  # the second pass begins with a jump back in time
            player.play()
            robot.ask(*ASK, **QUESTION, max_new_tokens=3)
    assert ros.call(robot.node.trigger_deactivate) is TransitionCallbackReturn.SUCCESS
    records = [json.loads(line) for line in (tmp_path / 'answers.jsonl').read_text().splitlines()]
    for prompt, record in zip(prompts, records, strict=True):
        (video,) = prompt.videos
        assert not prompt.images
        # what is recorded is enough to ask again: the pictures, and when they were taken
        stamps = [frame['stamp_ns'] / 1e9 for frame in record['recorded']['frames']]
        assert record['task'] == 'space_number'
        assert 2 <= len(record['images']) == len(stamps) <= 4
        assert all(earlier < later for earlier, later in pairwise(stamps))
        # pictures that the busy machine has missed are filled in, so that the time stays right
        assert video.interval * (len(video.frames) - 1) == pytest.approx(
            stamps[-1] - stamps[0], abs=0.01)
        assert stamps[-1] - stamps[0] <= 4 / 2.0
        assert 0.3 < video.interval < 1.1


@pytest.mark.parametrize(('stamps', 'interval'), [
    ((5_000_000_000, 5_250_000_000, 5_500_000_000), 0.25), ((0, 0, 0), 0.5)])
def test_images_of_a_goal_are_the_frames_of_a_video(
    ros: Any, stamps: tuple[int, ...], interval: float
) -> None:
    with VideoServer('jpeg') as server:
        robot = remote(ros, server).start()
        assert robot.node.engine.info.takes_video
        images = pictures(*stamps)
        result = robot.ask(*ASK, **QUESTION, images=images).result
        assert (result.error_code, result.answer.number) == (ResultCode.NONE, 2.4)
        (video,) = server.videos
        assert video.interval == pytest.approx(interval)
        assert len(video.frames) == 3
        backwards = robot.ask(*ASK, **QUESTION, images=pictures(9, 8, 7)).result
        assert backwards.error_code == ResultCode.INVALID_REQUEST
        assert 'send the oldest first' in backwards.error_msg


def test_a_model_without_videos_is_said_when_it_is_configured(
    ros: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with VideoServer() as server:
        robot = remote(ros, server, camera__clip_frames=4).start()
        said = capfd.readouterr().err
        assert 'the model takes no videos' in said
        assert 'At most 0 video(s) may be provided' in said
        for task in ('next_action', 'space_number', 'surround_video'):
            assert task in said
        assert 'is_done' not in said  # it is asked with images
        assert robot.node.engine.info.takes_video is False
        feedback: list[Any] = []
        handle = robot.send(*ASK, feedback, **QUESTION)  # there is not even an image
        result = robot.result(handle).result
        assert result.error_code == ResultCode.INVALID_REQUEST
        assert 'space_number is asked with a video, and the model takes none' in result.error_msg
        assert result.stats.queue_time.sec == result.stats.queue_time.nanosec == 0
        assert {f.state for f in feedback} <= {action.AnswerSpatial.Feedback.QUEUED}
        response = robot.call(srv.SetStandingQuery, 'set_standing_query', name='how many',
                              enabled=True, rate=1.0, text='How many?', task='space_number',
                              kind=srv.SetStandingQuery.Request.ANSWER_SPATIAL)
        assert response.error_code == ResultCode.INVALID_REQUEST
        assert not server.asked
        robot.see()
        result = robot.ask(*ASK, question='How many cubes?', task='count').result
        assert (result.error_code, result.answer.number) == (ResultCode.NONE, 2.4)


def test_a_style_of_videos_that_a_server_does_not_take_is_refused_at_configure(
    ros: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with VideoServer('jpeg') as server:
        robot = remote(ros, server, video_style='mp4')
        assert ros.call(robot.node.trigger_configure) is TransitionCallbackReturn.FAILURE
        said = capfd.readouterr().err
        assert 'MODEL_NOT_READY' in said
        assert 'does not take videos as they are (mp4: ' in said
        assert not server.asked
