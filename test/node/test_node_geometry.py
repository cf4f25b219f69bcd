"""3D positions and the base's state in answers, over real DDS with the embedded model."""

from __future__ import annotations

import math
import re
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from action_msgs.msg import GoalStatus
from rclpy.duration import Duration
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from mimo_embodied_ros import action, msg, srv
from mimo_embodied_ros.core.errors import InvalidRequestError, ResultCode
from mimo_embodied_ros.geometry import registration
from mimo_embodied_ros.geometry.camera_model import CameraModel
from mimo_embodied_ros.geometry.extrinsics import Transform
from mimo_embodied_ros.node import settings as node_settings
from mimo_embodied_ros.ros import transforms
from mimo_embodied_ros.ros.calibration import intrinsics_of
from mimo_embodied_ros.ros.images import encode_image
from support import tf2
from support.paths import EXAMPLES
from support.programs import run_program
from support.robot import FRAME, Robot
from support.seeing_robot import DEPTH, LEFT, K, Seeing, flat_depth
from support.tabletop import SCENE
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from pathlib import Path

@pytest.fixture
def robot(ros: Any, tmp_path: Path) -> Seeing:
    return Seeing(ros, tmp_path)


def in_base(point: Any) -> tuple[float, float, float]:
    """Return the position of a pixel in base_link."""
    return (0.2 + DEPTH, (320 - point.x) / 500 * DEPTH, 0.5 - (point.y - 240) / 500 * DEPTH)


def xyz(message: Any) -> tuple[float, float, float]:
    return (message.x, message.y, message.z)


def test_points_come_in_frames_of_the_robot_with_the_state_of_its_base(robot: Seeing) -> None:
    header = robot.see_depth()
    result = robot.find('base_link')
    assert result.error_code == ResultCode.NONE
    point, base = result.affordances.points[0], result.affordances.base
    assert point.position_status == point.OK
    assert result.affordances.position_frame_id == 'base_link'
    assert xyz(point.position) == pytest.approx(in_base(point), abs=1e-6)
    assert point.normal_valid
    assert xyz(point.normal) == pytest.approx((-1, 0, 0), abs=1e-6)
    # half of the way between the messages before and after
    assert base.valid
    assert base.pose.header == Header(stamp=header.stamp, frame_id='odom')
    assert base.twist.header == Header(stamp=header.stamp, frame_id='base_link')
    assert xyz(base.pose.pose.position) == pytest.approx((2, 0, 0), abs=1e-6)
    assert base.pose.pose.orientation.z == pytest.approx(LEFT)
    assert base.twist.twist.linear.x == pytest.approx(20)

    point = robot.find('odom').affordances.points[0]
    x, y, z = in_base(point)
    assert xyz(point.position) == pytest.approx((2 - y, x, z), abs=1e-6)

    boxes = robot.ask(action.FindAffordances, 'find_affordances', query='red cube', kind=1,
                      target_frame='base_link').result.affordances.boxes
    assert boxes[0].position_status == point.OK
    assert boxes[0].center.x == pytest.approx(0.2 + DEPTH)
    width = (boxes[0].x_max - boxes[0].x_min) / 500 * DEPTH
    assert boxes[0].size.y == pytest.approx(width, rel=0.05)

    lost = robot.find('map')
    assert ResultCode(lost.error_code) is ResultCode.TF_ERROR
    assert 'map' in lost.error_msg
    assert lost.affordances.points[0].position_status == point.TF_ERROR
    assert lost.affordances.points[0].position_problem in lost.error_msg


def test_a_transform_that_is_late_is_waited_for_beside_everything_else(
    ros: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transforms, 'tf2_ros', tf2)
    robot = Seeing(ros, tmp_path, wait_for_transform=WAIT_S, max_batch=2)
    broadcaster = tf2.Broadcaster(ros, robot.other)
    stamp = Time.from_msg(robot.see_depth().stamp)

    def drive(*seconds: float, parent: str = 'map', child: str = FRAME) -> None:
        for second in seconds:
            broadcaster.send(parent, child, 1.0, (stamp + Duration(seconds=second)).to_msg())

    def ask(target_frame: str) -> Any:
        feedback: list[Any] = []
        handle = robot.send(action.FindAffordances, 'find_affordances', feedback,
                            query='red cube', target_frame=target_frame)
        ros.wait_for(lambda: any(f.state == f.LIFTING for f in feedback))
        return handle

    drive(-3.0, -1.5)
    late = ask('map')
    # neither the executor nor the model waits with it
    assert robot.call(srv.ListCameras, 'list_cameras').cameras
    assert robot.find('').error_code == ResultCode.NONE
    assert late.status != GoalStatus.STATUS_SUCCEEDED
    drive(0.5)
    result = robot.result(late).result
    assert (ResultCode(result.error_code), result.error_msg) == (ResultCode.NONE, '')
    assert result.affordances.points[0].position.z == pytest.approx(DEPTH)
    # a cancel ends the wait, and so does the limit
    drive(-3.0, -1.5, parent='earth', child='map')
    cancelled = ask('earth')
    ros.wait_for(ros.call(cancelled.cancel_goal_async).done)
    assert robot.result(cancelled).status == GoalStatus.STATUS_CANCELED
    robot.node.set_parameters([rclpy.parameter.Parameter('wait_for_transform', value=0.2)])
    result = robot.find('earth')
    assert ResultCode(result.error_code) is ResultCode.TF_ERROR
    assert result.error_msg.startswith(
        'pixels are given, but no 3D: tf2: Lookup would require extrapolation into the future')
    assert result.affordances.points


def test_depth_of_another_camera_is_brought_into_the_image(robot: Seeing) -> None:
    robot.see_depth('depth_optical_frame')
    point = robot.find('base_link').affordances.points[0]
    assert point.position_status == point.OK
    assert xyz(point.position) == pytest.approx(in_base(point), abs=1e-3)
    # and once for all requests on the frame
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registration, 'register', lambda *_: pytest.fail('registered again'))
        assert xyz(robot.find(FRAME).affordances.points[0].position)[2] == pytest.approx(
            DEPTH, abs=1e-3)


def test_depth_of_a_camera_without_extrinsics_is_not_used(robot: Seeing) -> None:
    robot.see_depth('elsewhere')
    result = robot.find(FRAME)
    assert ResultCode(result.error_code) is ResultCode.TF_ERROR
    assert 'elsewhere' in result.error_msg


def broken_info(**values: Any) -> tuple[str, dict[str, Any]]:
    return 'info', {'width': 640, 'height': 480, 'k': K, **values}


def broken_depth(**values: Any) -> tuple[str, dict[str, Any]]:
    return 'depth', {'width': 2, 'height': 2, 'step': 4, 'encoding': '16UC1', 'data': bytes(8),
                     **values}


@pytest.mark.parametrize(('broken', 'code', 'says'), [
    (broken_info(k=[math.nan, *K[1:]]), ResultCode.NO_CAMERA_INFO, 'k is'),
    (broken_info(k=[0.0] * 9), ResultCode.NO_CAMERA_INFO, 'calibrated'),
    (broken_info(height=640), ResultCode.NO_CAMERA_INFO, '640x640'),
    (broken_info(distortion_model='double_sphere', d=[0.0] * 2), ResultCode.NO_CAMERA_INFO,
     'double_sphere'),
    (broken_info(distortion_model='equidistant', d=[0.1] * 5), ResultCode.NO_CAMERA_INFO,
     'equidistant'),
    (('info', b'\0\1\0\0garbage'), ResultCode.BAD_ENCODING, 'CameraInfo'),
    (broken_depth(encoding='rgb8'), ResultCode.BAD_ENCODING, 'is not a depth image'),
    (broken_depth(encoding='h264'), ResultCode.BAD_ENCODING, 'is not a depth image'),
    (broken_depth(data=bytes(3)), ResultCode.BAD_ENCODING, 'step x height'),
    (broken_depth(width=0), ResultCode.BAD_ENCODING, 'no pixels'),
    (broken_depth(header=Header(frame_id=FRAME)), ResultCode.NO_DEPTH,
     'images on /depth/image have the stamp 0; let the driver stamp them'),
    (broken_depth(header=Header(frame_id=FRAME, stamp=Time(seconds=5).to_msg())),
     ResultCode.NO_DEPTH, 'the nearest depth image on /depth/image is'),
])
def test_what_only_3d_needs_leaves_the_pixels_whatever_is_wrong_with_it(
    robot: Seeing, broken: tuple[str, Any], code: ResultCode, says: str
) -> None:
    (name, values), header = broken, robot.see()
    messages: dict[str, Any] = {
        'info': CameraInfo(header=header, width=640, height=480, k=K),
        'depth': Image(header=header, width=2, height=2, step=4, encoding='16UC1',
                       data=b'\xdc\x05' * 4)}
    if isinstance(values, bytes):
        messages[name] = values
    else:
        messages[name] = type(messages[name])(**{'header': header, **values})
    camera = robot.node.session.intake.cameras['camera']
    for part, message in messages.items():
        stream, received = getattr(camera, part), getattr(camera, part).received
        getattr(robot, part).publish(message)
        robot.ros.wait_for(lambda s=stream, n=received: s.poll() or s.received > n)
    result = robot.find(FRAME)
    assert ResultCode(result.error_code) is code
    assert result.error_msg.startswith('pixels are given, but no 3D: ')
    assert says in result.error_msg
    found, = result.affordances.points
    assert found.in_image
    assert found.position_status == found.NO_DEPTH
    assert found.position_problem in result.error_msg
    plain = robot.find('').affordances
    assert [(p.x, p.y) for p in plain.points] == [(found.x, found.y)]


def test_the_camera_of_depth_that_is_not_usable_leaves_the_pixels(robot: Seeing) -> None:
    header = robot.see_depth('depth_optical_frame')
    stream = robot.node.session.intake.cameras['camera'].depth_info
    stream.forget(0)  # the good one
    robot.depth_info.publish(CameraInfo(
        header=header, width=640, height=480, k=[-1.0, *K[1:]]))
    robot.ros.wait_for(lambda: stream.poll() or stream.newest)
    result = robot.find('base_link')
    assert ResultCode(result.error_code) is ResultCode.NO_CAMERA_INFO
    assert result.affordances.points


def test_lost_depth_and_camera_info_are_explained_by_what_is_wrong_with_their_topics(
    robot: Seeing
) -> None:
    camera = robot.node.session.intake.cameras['camera']

    def problem(
        *, info: bool, depth_frame: str, age_s: float = 0.0
    ) -> tuple[ResultCode, str]:
        """The error of a request with an image, with camera info, and with depth of a frame."""
        header = robot.see(age_s=age_s)
        if info:
            robot.info.publish(CameraInfo(header=header, width=640, height=480, k=K))
            robot.ros.wait_for(lambda: camera.info.poll() or camera.info.newest)
        if depth_frame:
            robot.depth.publish(flat_depth(Header(stamp=header.stamp, frame_id=depth_frame)))
            robot.ros.wait_for(lambda: camera.depth.poll() or camera.depth.newest)
        result = robot.find('base_link')
        assert result.affordances.points
        return ResultCode(result.error_code), result.error_msg

    code, text = problem(info=False, depth_frame='')
    assert code is ResultCode.NO_CAMERA_INFO
    assert '/robot publishes /camera/camera_info and nothing arrives' in text
    assert 'large' not in text  # camera info is small
    code, text = problem(info=True, depth_frame='')
    assert code is ResultCode.NO_DEPTH
    assert '/robot publishes /depth/image (about 0.6 MB each) and nothing arrives' in text
    assert 'fastdds_large_images.xml' in text
    code, text = problem(info=False, depth_frame='depth_optical_frame')
    assert code is ResultCode.NO_CAMERA_INFO
    assert 'is not registered' in text
    assert '/robot publishes /depth/camera_info and nothing arrives' in text
    camera.depth._counted, camera.depth.rate, camera.depth.loss = False, 0.5, 14.0  # as measured
    code, text = problem(info=False, depth_frame='', age_s=0.5)  # so that no depth belongs to it
    assert code is ResultCode.NO_DEPTH
    assert '0.6 MB arrive on /depth/image 0.5 times a second, and 14.0 a second get lost' in text
    camera.depth.forget()
    robot.ros.call(robot.other.destroy_publisher, robot.depth)
    robot.ros.wait_for(lambda: not robot.node.count_publishers('/depth/image'))
    code, text = problem(info=True, depth_frame='')
    assert code is ResultCode.NO_DEPTH
    assert 'nothing publishes /depth/image; start the camera, or set camera.depth_topic' in text


def test_an_image_without_a_stamp_has_no_3d_and_says_so(robot: Seeing) -> None:
    stream = robot.node.session.intake.cameras['camera'].image
    robot.camera.publish(encode_image(SCENE.pixels, Header(frame_id=FRAME)))
    robot.ros.wait_for(lambda: stream.poll() or stream.newest)
    result = robot.find('base_link')
    assert ResultCode(result.error_code) is ResultCode.NO_DEPTH
    assert 'images on /camera/image_raw have the stamp 0; let the driver stamp' in result.error_msg
    assert result.affordances.points


def test_a_frame_with_a_slash_before_its_name_is_named(robot: Seeing) -> None:
    robot.see_depth()
    result = robot.find('/base_link')
    assert ResultCode(result.error_code) is ResultCode.TF_ERROR
    assert "'/base_link' begins with a slash" in result.error_msg
    assert 'leave the slash out' in result.error_msg
    robot.see_depth(f'/{FRAME}')
    result = robot.find('base_link')
    assert f"'/{FRAME}' begins with a slash" in result.error_msg


def test_an_image_in_a_request_has_no_3d_and_says_why(robot: Seeing) -> None:
    image = encode_image(SCENE.pixels, Header(frame_id=FRAME))
    result = robot.ask(action.FindAffordances, 'find_affordances', query='red cube',
                       images=[image], target_frame='base_link').result
    assert ResultCode(result.error_code) is ResultCode.NO_CAMERA_INFO
    assert 'name a camera for 3D' in result.error_msg
    assert result.affordances.points


def test_depth_is_registered_where_the_parameter_says_so(ros: Any) -> None:
    robot = Robot(ros, camera__depth_topic='depth/image', camera__depth_registered=True)
    settings = node_settings.read_settings(robot.node).cameras[0]
    assert settings.depth_registered
    assert not settings.depth_info_topic


def test_a_wrong_file_of_extrinsics_fails_configuring(ros: Any, tmp_path: Path) -> None:
    file = tmp_path / 'wrong.yaml'
    file.write_text('- {parent: a}', 'utf-8')
    robot = Robot(ros)
    robot.node.set_parameters([rclpy.parameter.Parameter('extrinsics_file', value=str(file))])
    with pytest.raises(InvalidRequestError, match='entry 1'):
        node_settings.read_settings(robot.node)


def printed(robot: Seeing, program: str, *arguments: str) -> tuple[str, list[float]]:
    """Run an example; return frame and numbers of the pose that it prints."""
    done = run_program(sys.executable, EXAMPLES / program, 'red cube', *arguments,
                       environment=robot.ros.environment)
    line = done.stdout.splitlines()[-1]
    return line.split(':')[0], [float(v) for v in re.findall(r'-?\d+\.\d+', line)]


def test_an_arm_gets_a_pose_to_reach_for(robot: Seeing) -> None:
    robot.see_depth()
    frame, numbers = printed(robot, 'grasp.py', '--frame', 'base_link', '--distance', '0.1')
    x, y, z = in_base(robot.find('base_link').affordances.points[0])
    assert frame == 'base_link'
    assert numbers[:3] == pytest.approx((x - 0.1, y, z), abs=2e-3)
    # z of the tool points ahead, as x of the base does
    assert Transform.of((0, 0, 0), numbers[3:]).rotate((0, 0, 1)) == pytest.approx(
        (1, 0, 0), abs=2e-3)


def test_a_base_gets_a_goal_before_the_thing(robot: Seeing) -> None:
    robot.see_depth()
    frame, numbers = printed(robot, 'approach.py', '--distance', '0.8')
    there = xyz(robot.find('odom').affordances.points[0].position)
    assert frame == 'odom'
    assert math.dist(numbers[:2], there[:2]) == pytest.approx(0.8, abs=2e-3)
    ahead = Transform.of((0, 0, 0), numbers[3:]).rotate((0.8, 0, 0))
    assert np.add(numbers[:2], ahead[:2]) == pytest.approx(there[:2], abs=5e-3)


def test_an_example_names_what_is_missing(ros: Any, tmp_path: Path) -> None:
    robot = Seeing(ros, tmp_path)
    robot.see()
    done = run_program(sys.executable, EXAMPLES / 'grasp.py', 'red cube',
                       environment=ros.environment, succeeds=False)
    assert done.returncode != 0
    assert 'publishes /camera/camera_info and nothing arrives' in done.stderr


# -- without a graph


P = [400.0, 0.0, 300.0, 5.0, 0.0, 401.0, 200.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def info(**values: Any) -> CameraInfo:
    return CameraInfo(**{'width': 640, 'height': 480, 'k': K, 'p': P, 'd': [0.1] * 5,
                         'distortion_model': 'plumb_bob', **values})


def test_camera_info_becomes_a_model() -> None:
    raw, flat = intrinsics_of(info()), intrinsics_of(info(), rectified=True)
    assert (raw.fx, raw.cx, raw.model, raw.distortion, raw.size) == (
        500, 319.5, 'plumb_bob', (0.1,) * 5, (640, 480))
    assert (flat.fx, flat.fy, flat.cx, flat.cy, flat.distortion) == (400, 401, 300, 200, ())
    flat_fisheye = intrinsics_of(info(distortion_model='equidistant'), rectified=True)
    assert CameraModel(flat_fisheye, 640, 480).rays([(700.5, 200.5)])[0] == pytest.approx((1, 0))
    binned = intrinsics_of(info(binning_x=2, binning_y=4))
    assert (binned.fx, binned.fy, binned.cx, binned.size) == (250, 125, 159.5, (320, 120))
    region = intrinsics_of(info(roi=RegionOfInterest(
        x_offset=100, y_offset=40, width=200, height=100)))
    assert (region.cx, region.cy, region.size) == (219.5, 199.5, (200, 100))
    assert intrinsics_of(info(width=0, height=0)).size is None


def test_camera_info_without_calibration_gives_no_model() -> None:
    assert intrinsics_of(info(k=[0.0] * 9)) is None


def test_the_statuses_are_those_of_the_message() -> None:
    from mimo_embodied_ros.geometry.lifting import PositionStatus

    assert {s.name: int(s) for s in PositionStatus} == {
        s.name: getattr(msg.AffordancePoint, s.name) for s in PositionStatus}
