"""From pixels to positions: lens models, surfaces, transforms and poses, without ROS."""

from __future__ import annotations

import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import geometry
import numpy as np
import pytest
from depth_scenes import LENSES, Ball, Cuboid, Ground, Scene, look_at, stereo_depth
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_registration import pixels_by_opencv, register_plainly

from mimo_embodied_ros.core.errors import (
    CancelledError,
    InvalidRequestError,
    NoCameraInfoError,
    NoDepthError,
    TransformError,
)
from mimo_embodied_ros.core.frames import Frame, Intrinsics, Odometry, View
from mimo_embodied_ros.geometry import quaternions
from mimo_embodied_ros.geometry.camera_model import CameraModel
from mimo_embodied_ros.geometry.extrinsics import (
    LATE,
    NOT_THEN,
    Extrinsics,
    Transform,
    load_extrinsics,
)
from mimo_embodied_ros.geometry.lifting import Lifter, PositionStatus
from mimo_embodied_ros.geometry.odometry import interpolate, is_valid_at
from mimo_embodied_ros.geometry.poses import goals_before, tool_pose
from mimo_embodied_ros.geometry.registration import SharedRegistration, register
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from pathlib import Path

PINHOLE = Intrinsics(500.0, 500.0, 319.5, 239.5)
ORIGIN = (0.0, 0.0, 0.0)
NO_TURN = (0.0, 0.0, 0.0, 1.0)
# a camera that looks ahead from 0.2 m before and 0.5 m above the base: x ahead, y left, z up
MOUNT = Transform.of((0.2, 0.0, 0.5), (-0.5, 0.5, -0.5, 0.5))
metres = st.floats(-10, 10)
vectors = st.tuples(metres, metres, metres)
rotations = st.tuples(*4 * [st.floats(-1, 1)]).filter(lambda q: np.linalg.norm(q) > 0.1).map(
    lambda q: tuple(np.divide(q, np.linalg.norm(q))))
transforms = st.builds(Transform.of, vectors, rotations)


def unknown(target: str, source: str) -> Transform:
    text = f'no way from {source} to {target}'
    raise TransformError(text)


def frame_with(depth: Any, **others: Any) -> Frame:
    values = {'intrinsics': PINHOLE, 'frame_id': 'optical', **others}
    return Frame(np.zeros((480, 640, 3), np.uint8),
                 depth=None if depth is None else np.asarray(depth, np.float32), **values)


def odometry(stamp_ns: int = 0, **values: Any) -> Odometry:
    usual = Odometry(stamp_ns, 'odom', 'base_link', ORIGIN, NO_TURN, ORIGIN, ORIGIN)
    return replace(usual, **values)


# -- lens models


@given(lens=st.sampled_from(sorted(LENSES)), x=st.floats(0, 640), y=st.floats(0, 480),
       depth=st.floats(0.1, 20))
def test_a_pixel_becomes_a_ray_that_meets_the_pixel(
    lens: str, x: float, y: float, depth: float
) -> None:
    intrinsics, size = LENSES[lens]
    camera = CameraModel(intrinsics, *size)
    ray = camera.rays([(x, y)])[0]
    assert np.isfinite(ray).all()
    assert camera.pixels([(*ray * depth, depth)])[0] == pytest.approx((x, y), abs=0.05)


def test_pixels_count_from_the_edge_and_camera_info_from_the_middle_of_the_first() -> None:
    camera = CameraModel(PINHOLE, 640, 480)
    assert camera.rays([(320, 240), (820, 240)]) == pytest.approx(np.array([(0, 0), (1, 0)]))
    assert np.isnan(camera.pixels([(0, 0, -1), (0, 0, 0)])).all()


@given(x=st.floats(0, 640), y=st.floats(0, 480))
def test_a_smaller_copy_of_an_image_has_the_same_rays(x: float, y: float) -> None:
    intrinsics = replace(PINHOLE, size=(640, 480))
    whole, half = CameraModel(intrinsics, 640, 480), CameraModel(intrinsics, 320, 240)
    assert half.rays([(x / 2, y / 2)]) == pytest.approx(whole.rays([(x, y)]), abs=1e-9)


@pytest.mark.parametrize(('changes', 'says'), [
    ({'model': 'double_sphere', 'distortion': (0.1, 0.2)}, 'double_sphere'),
    ({'model': '', 'distortion': (0.1,) * 5}, 'plumb_bob .*, rational_polynomial .*equidistant'),
    ({'model': 'equidistant', 'distortion': (0.1,) * 5}, '5 coefficients'),
    ({'model': 'equidistant', 'distortion': (0.1, 0.0, 0.0, 0.0, 1e-9)}, '5 coefficients'),
    ({'model': 'fisheye', 'distortion': (0.1, 0.2)}, '2 coefficients'),
    ({'model': 'plumb_bob', 'distortion': (0.1,) * 5 + (0.0, 0.0, 1e-9)}, '8 coefficients'),
    ({'model': 'rational_polynomial', 'distortion': (0.1,) * 10 + (0.0,)}, '11 coefficients'),
    # what their zeros mean is not known
    ({'model': 'double_sphere', 'distortion': (0.0, 0.0)}, "'double_sphere'"),
    ({'model': 'omni'}, "0 coefficients of the distortion model 'omni'"),
    ({'size': (640, 640)}, '640x640'),
])
def test_unknown_lens_models_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(NoCameraInfoError, match=says):
        CameraModel(replace(PINHOLE, **changes), 640, 480)


@pytest.mark.parametrize('model', ['', 'none', 'pinhole', 'plumb_bob', 'rational_polynomial'])
@pytest.mark.parametrize('count', [0, 4, 5, 8, 14])
def test_a_pinhole_model_without_distortion_is_a_pinhole(model: str, count: int) -> None:
    camera = CameraModel(replace(PINHOLE, model=model, distortion=(0.0,) * count), 640, 480)
    assert camera.rays([(820, 240)])[0] == pytest.approx((1, 0))
    assert camera.pixels([(1, 0, 1)])[0] == pytest.approx((820, 240))


RADIAL = (-0.28, 0.09, 0.0004, -0.0003)
RATIONAL = (0.55, -0.12, 0.0002, 0.0001, -0.01, 0.88, -0.05, -0.03)
WIDE = Intrinsics(285.0, 286.0, 321.0, 241.0)


@pytest.mark.parametrize(('model', 'own', 'zeros'), [
    ('equidistant', (), 0), ('equidistant', (0.0,) * 4, 0), ('equidistant', (0.0,) * 4, 1),
    ('fisheye', (), 0), ('fisheye', (0.0,) * 4, 8),
    ('equidistant', (-0.008, 0.03, -0.025, 0.005), 0),
    ('equidistant', (-0.008, 0.03, -0.025, 0.005), 1),
    ('equidistant', (-0.008, 0.0, 0.0, 0.0), 10),
    ('plumb_bob', (), 8), ('plumb_bob', RADIAL, 0), ('plumb_bob', (*RADIAL, -0.012), 3),
    ('plumb_bob', (*RADIAL, -0.012), 9), ('radtan', RADIAL, 1),
    ('rational_polynomial', RATIONAL, 2), ('rational_polynomial', RATIONAL, 6),
    ('rational_polynomial', (*RATIONAL, 0.001, 0.0, 0.0, 0.002), 8),
])
def test_points_that_opencv_projects_are_lifted_to_where_they_are(
    model: str, own: tuple[float, ...], zeros: int
) -> None:
    """Without distortion and with coefficients that are padded with zeros, to 1 mm."""
    intrinsics = replace(WIDE, model=model, distortion=(*own, *(0.0,) * zeros))
    k = np.array([[285.0, 0, 321], [0, 286, 241], [0, 0, 1]])
    rows, columns = np.mgrid[-0.8:0.8:7j, -1.0:1.0:9j]
    points = np.stack([columns.ravel(), rows.ravel(), np.ones(63)], 1)[:, None]
    if model in ('equidistant', 'fisheye'):
        coefficients = np.array(own or (0.0,) * 4)
        pixels, _ = cv2.fisheye.projectPoints(points, np.zeros(3), np.zeros(3), k, coefficients)
    else:
        pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), k, np.array(own))
    seen = pixels[:, 0] + 0.5  # OpenCV counts from the middle of the first pixel
    lifter = Lifter(frame_with(np.ones((480, 640)), intrinsics=intrinsics), 'optical', unknown)
    inside = [(lifter.point(*pixel), point) for pixel, point in zip(seen, points[:, 0])
              if (pixel > 8).all() and (pixel < (632, 472)).all()]
    assert len(inside) > 40
    for position, point in inside:
        assert position.status is PositionStatus.OK, position.problem
        assert np.linalg.norm(position.xyz - point) < 1e-3


def test_a_fisheye_without_distortion_sees_nearly_to_its_side() -> None:
    camera = CameraModel(replace(WIDE, model='equidistant'), 960, 480)
    for degrees in (1, 45, 80, 85):
        angle = math.radians(degrees)
        pixel = (321.5 + 285 * angle, 241.5)
        assert camera.rays([pixel])[0] == pytest.approx((math.tan(angle), 0), rel=1e-4, abs=1e-9)
    behind = (321.5 + 285 * math.radians(95), 241.5)
    assert np.isnan(camera.rays([behind])).all()


def test_where_a_lens_model_does_not_hold_there_is_no_ray() -> None:
    folded = replace(PINHOLE, model='plumb_bob', distortion=(-0.9, 0.0, 0.0, 0.0, 0.0))
    lifter = Lifter(frame_with(np.ones((480, 640)), intrinsics=folded), 'optical', unknown)
    assert lifter.point(320, 240).status is PositionStatus.OK
    assert lifter.point(1, 1).status is PositionStatus.OUT_OF_RANGE
    assert 'lens model' in lifter.point(1, 1).problem
    assert lifter.box(280, 200, 360, 280).status is PositionStatus.OK
    for corner in ((1, 1, 40, 30), (1, 1, 320, 240)):
        box = lifter.box(*corner)
        assert (box.status, box.center) == (PositionStatus.OUT_OF_RANGE, ORIGIN)
        assert 'lens model' in box.problem


# -- depth


def test_drawn_scenes_are_measured_within_the_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / 'bench_out' / 'geometry.json'
    monkeypatch.setattr('sys.argv', [
        'geometry.py', '--scenes', '16', '--points', '20', '--seed', '3', '--repeats', '0',
        '--out', str(file)])
    geometry.main()
    report = json.loads(file.read_text('utf-8'))
    assert report['median_error'] < 0.01
    assert report['worst_ok_error'] < geometry.OK_WITHIN
    assert report['off_by_more_than_3_percent'] == 0
    assert report['ok_anywhere'] > 0.6
    assert report['median_normal_error_deg'] < 10


@settings(max_examples=25)
@given(lens=st.sampled_from(sorted(LENSES)), x=st.floats(200, 440), y=st.floats(150, 380))
def test_an_inclined_surface_is_exact_and_has_its_normal(lens: str, x: float, y: float) -> None:
    scene = FLOORS[lens]
    lifter = Lifter(frame_with(scene.depth, intrinsics=scene.intrinsics), 'optical', unknown)
    point, truth = lifter.point(x, y), scene.cast_rays(np.array([(x, y)]))[0][0]
    assert point.status is PositionStatus.OK
    assert point.xyz == pytest.approx(truth, rel=1e-3, abs=1e-3)
    assert point.normal == pytest.approx(scene.pose.inverse.rotate([0, 0, 1]), abs=1e-2)
    assert point.depth_stddev < 1e-3


FLOORS = {lens: Scene((Ground(),), look_at(np.zeros(3), np.array([1.0, 0.3, 1.2])), *LENSES[lens])
          for lens in LENSES}


def step(near: float = 1.0, far: float = 2.0, at: int = 320) -> np.ndarray[Any, Any]:
    depth = np.full((480, 640), far, np.float32)
    depth[:, :at] = near
    return depth


@pytest.mark.parametrize(('x', 'z'), [(312, 1.0), (316.5, 1.0), (323.5, 2.0), (328, 2.0)])
def test_a_point_beside_an_edge_is_on_its_own_side(x: float, z: float) -> None:
    point = Lifter(frame_with(step()), 'optical', unknown).point(x, 200)
    assert (point.status, point.xyz[2]) == (PositionStatus.OK, pytest.approx(z))


@pytest.mark.parametrize('x', [318.5, 319.5, 320.5, 321.5])
def test_a_point_on_an_edge_is_not_guessed(x: float) -> None:
    point = Lifter(frame_with(step()), 'optical', unknown).point(x, 200)
    assert point.status is PositionStatus.DEPTH_INVALID
    assert 'between 1.00 m and 2.00 m' in point.problem


def test_single_wrong_values_and_holes_do_not_count_but_wide_holes_do() -> None:
    random = np.random.default_rng(2)
    depth = np.full((480, 640), 1.5, np.float32)
    depth[random.random(depth.shape) < 0.03] = np.nan
    depth[random.random(depth.shape) < 0.01] = 4.0
    depth[200:220, 300:320] = np.nan
    lifter = Lifter(frame_with(depth), 'optical', unknown)
    point = lifter.point(100.5, 100.5)
    assert point.xyz == pytest.approx(((100.5 - 320) / 500 * 1.5, (100.5 - 240) / 500 * 1.5, 1.5))
    hole = lifter.point(310, 210)
    assert hole.status is PositionStatus.DEPTH_INVALID
    assert 'hole' in hole.problem


def test_the_deviation_of_a_depth_is_its_noise() -> None:
    depth = 2 + np.random.default_rng(1).normal(0, 0.01, (480, 640))
    point = Lifter(frame_with(depth), 'optical', unknown).point(320, 240)
    assert point.xyz[2] == pytest.approx(2, abs=0.01)
    assert point.depth_stddev == pytest.approx(0.01, rel=0.5)


def test_missing_calibration_and_depth_are_named_for_points_and_frame() -> None:
    depth = np.ones((480, 640))
    for frame, status, kind in (
        (frame_with(depth, intrinsics=None), PositionStatus.NO_DEPTH, NoCameraInfoError),
        (frame_with(None), PositionStatus.NO_DEPTH, NoDepthError),
        (frame_with(depth, intrinsics=replace(PINHOLE, model='odd', distortion=(1.0,))),
         PositionStatus.NO_DEPTH, NoCameraInfoError),
        (frame_with(depth, depth_view=View('depth', None)), PositionStatus.NO_DEPTH,
         NoCameraInfoError),
        (frame_with(depth, depth_view=View('depth', PINHOLE)), PositionStatus.TF_ERROR,
         TransformError),
    ):
        lifter = Lifter(frame, 'optical', unknown)
        point, box = lifter.point(320, 240), lifter.box(300, 200, 340, 280)
        assert (point.status, box.status) == (status, status)
        assert isinstance(lifter.error, kind)
        assert point.problem == box.problem == str(lifter.error)
    elsewhere = Lifter(frame_with(depth), 'map', unknown)
    assert elsewhere.point(320, 240).status is PositionStatus.TF_ERROR
    assert elsewhere.point(320, 240).problem == 'no way from optical to map'
    outside = Lifter(frame_with(depth), 'optical', unknown)
    assert outside.point(640, 240).status is PositionStatus.OUT_OF_RANGE
    assert outside.box(650, 10, 700, 20).status is PositionStatus.OUT_OF_RANGE
    assert outside.error is None


def test_positions_and_normals_come_in_the_frame_that_was_asked_for() -> None:
    lifter = Lifter(frame_with(np.full((240, 320), 2.0)), 'base', lambda *_: MOUNT)
    point = lifter.point(320, 340)
    assert point.xyz == pytest.approx((2.2, 0, 0.5 - 100 / 500 * 2), abs=1e-6)
    assert point.normal == pytest.approx((-1, 0, 0), abs=1e-6)


def test_a_box_has_the_place_and_size_of_what_is_seen_in_it() -> None:
    # from above, the thing's top is what is seen
    scene = Scene((Ground(), Cuboid((-0.1, -0.05, 0), (0.1, 0.05, 0.2))),
                  look_at(np.zeros(3), np.array([0.0, -0.001, 1.2])), PINHOLE, (640, 480))
    lifter = Lifter(frame_with(scene.depth), 'world', lambda *_: scene.pose)
    box = lifter.box(270, 215, 370, 265)
    assert box.status is PositionStatus.OK
    assert box.center == pytest.approx((0, 0, 0.2), abs=0.01)
    assert box.size == pytest.approx((0.2, 0.1, 0), abs=0.02)


def test_a_ball_on_a_table_does_not_take_the_table_along() -> None:
    scene = Scene((Ground(), Ball((0, 0, 0.08), 0.08)),
                  look_at(np.array([0, 0, 0.08]), np.array([0.9, 0.0, 0.5])), PINHOLE, (640, 480))
    lifter = Lifter(frame_with(scene.depth), 'world', lambda *_: scene.pose)
    rows, columns = np.indices((480, 640))
    pixels = np.column_stack([columns.ravel(), rows.ravel()]) + 0.5
    ball = pixels[scene.cast_rays(pixels)[2] == 1]
    box = lifter.box(*ball.min(0) - 0.5, *ball.max(0) + 0.5)
    assert box.status is PositionStatus.OK
    assert np.linalg.norm(np.subtract(box.center, (0.03, 0, 0.08))) < 0.06
    assert max(box.size) < 0.3


def test_depth_registered_to_its_own_view_stays_as_it_is() -> None:
    camera, depth = CameraModel(PINHOLE, 640, 480), FLOORS['pinhole'].depth
    same = register(depth, camera, camera, (640, 480), Transform())
    assert np.nanmax(np.abs(same - depth)) < 1e-5


@pytest.mark.parametrize('lens', sorted(LENSES))
def test_depth_of_another_camera_is_seen_as_by_this_one(lens: str) -> None:
    things = (Ground(), Cuboid((-0.1, -0.1, 0), (0.1, 0.1, 0.2)))
    pose, beside = look_at(np.zeros(3), np.array([0.8, 0.2, 0.9])), Transform.of(
        (0.05, 0.01, 0.0), (0.01, 0.0, 0.0, 1.0))
    here = Scene(things, pose, *LENSES[lens])
    there = Scene(things, pose @ beside, *LENSES['pinhole'])
    lifter = Lifter(
        frame_with(there.depth, intrinsics=here.intrinsics,
                   depth_view=View('depth', there.intrinsics)),
        'optical', lambda target, source: {('optical', 'depth'): beside}[target, source])
    pixels = np.random.default_rng(4).uniform((120, 100), (520, 380), (60, 2))
    truth, points = here.cast_rays(pixels)[0], [lifter.point(x, y) for x, y in pixels]
    good = [np.linalg.norm(f.xyz - t) / np.linalg.norm(t) for f, t in zip(points, truth)
            if f.status is PositionStatus.OK]
    assert len(good) > 20
    assert max(good) < 0.02


@settings(max_examples=20)
@given(depth_lens=st.sampled_from(sorted(LENSES)), lens=st.sampled_from(sorted(LENSES)),
       scale=st.sampled_from([4, 5]), shift=st.tuples(*3 * [st.floats(-0.1, 0.1)]),
       turn=st.tuples(*3 * [st.floats(-0.1, 0.1)]), seed=st.integers(0, 99))
def test_depth_is_registered_as_the_plain_way_does_it(
    depth_lens: str, lens: str, scale: int, shift: tuple[float, ...], turn: tuple[float, ...],
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    depth = stereo_depth(FLOORS['pinhole'].depth, random)[::4, ::4]
    source = CameraModel(replace(LENSES[depth_lens][0], size=(640, 480)), 160, 120)
    size = 640 // scale, 480 // scale
    target = CameraModel(replace(LENSES[lens][0], size=(640, 480)), *size)
    transform = Transform.of(shift, (*turn, 1.0))
    plain = register_plainly(depth, source, target, size, transform)
    own = register(depth, source, target, size, transform)
    assert own.shape == plain.shape
    # at the border between two pixels a rounding decides
    assert np.mean(~np.isclose(own, plain, rtol=1e-6, equal_nan=True)) < 1e-3


@pytest.mark.parametrize('lens', sorted({*LENSES, 'tilted'}))
def test_points_are_projected_as_opencv_projects_them(lens: str) -> None:
    tilted = Intrinsics(500.0, 510.0, 320.0, 240.0, 'rational_polynomial', (
        0.1, -0.2, 0.001, 0.002, 0.03, 0.2, 0.01, 0.02, 0.001, 0.002, 0.003, 0.004, 0.05, -0.04))
    camera = CameraModel(tilted if lens == 'tilted' else LENSES[lens][0], 640, 480)
    points = np.random.default_rng(2).uniform((-1, -1, 0.5), (1, 1, 5), (500, 3))
    assert camera.pixels(points) == pytest.approx(pixels_by_opencv(camera, points), abs=1e-9)
    upright = replace(tilted, distortion=tilted.distortion[:12])
    camera = CameraModel(upright, 640, 480)
    assert camera.pixels(points) == pytest.approx(pixels_by_opencv(camera, points), abs=1e-9)


def test_the_cost_of_registration_is_measured() -> None:
    report = geometry.measure_registration(1, (160, 90))
    assert report.keys() == LENSES.keys()
    assert all(seconds['share'] == seconds['own_s'] / seconds['plain_s']
               for seconds in report.values())


def test_depth_is_registered_once_for_the_requests_on_a_frame() -> None:
    camera, shared, checks = CameraModel(PINHOLE, 640, 480), SharedRegistration(2), []
    depth = FLOORS['pinhole'].depth
    arguments = camera, camera, (640, 480), MOUNT.inverse @ MOUNT

    def check() -> None:
        checks.append(1)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(
            lambda _: shared.register(depth, *arguments, check), range(8)))
    assert all(result is results[0] for result in results)
    register(depth, *arguments, check=lambda: checks.append(0))
    assert checks.count(0) <= checks.count(1)  # and more only while they wait for the first
    others = [shared.register(depth.copy(), *arguments) for _ in range(2)]
    assert others[0] is not others[1]
    assert shared.register(depth, *arguments) is not results[0]  # no longer kept


def test_registration_ends_when_its_request_ends() -> None:
    """Also that of one that waits for another, and the next one does the work."""
    camera, shared = CameraModel(PINHOLE, 640, 480), SharedRegistration()
    begun, go_on = threading.Event(), threading.Event()
    arguments = FLOORS['pinhole'].depth, camera, camera, (640, 480), Transform()

    def hold() -> None:
        begun.set()
        assert go_on.wait(WAIT_S)

    def cancel() -> None:
        raise CancelledError

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shared.register, *arguments, hold)
        assert begun.wait(WAIT_S)
        with pytest.raises(CancelledError):
            shared.register(*arguments, cancel)
        go_on.set()
        first.result()
    fresh = FLOORS['pinhole'].depth.copy()
    with pytest.raises(CancelledError):
        shared.register(fresh, *arguments[1:], cancel)
    assert shared.register(fresh, *arguments[1:]).shape == (480, 640)
    lifter = Lifter(frame_with(fresh, depth_view=View('depth', PINHOLE)), 'optical',
                    lambda *_: Transform(), check=cancel)
    assert lifter.point(320, 240).status is PositionStatus.NO_DEPTH
    assert isinstance(lifter.error, CancelledError)


# -- rotations and transforms


@given(a=transforms, b=transforms, point=vectors)
def test_transforms_are_undone_and_follow_one_another(
    a: Transform, b: Transform, point: tuple[float, float, float]
) -> None:
    assert a.inverse.apply(a.apply(point)) == pytest.approx(np.array(point), abs=1e-9)
    assert (a @ b).apply(point) == pytest.approx(a.apply(b.apply(point)), abs=1e-9)
    assert a.rotate(point) == pytest.approx(a.apply(point) - a.apply(ORIGIN), abs=1e-9)


@given(rotations)
def test_a_quaternion_becomes_a_matrix_and_one_of_the_two_that_it_was(q: tuple[float, ...]) -> None:
    back = quaternions.quaternion_of(quaternions.matrix_of(q))
    assert abs(np.dot(q, back)) == pytest.approx(1, abs=1e-9)


def test_quaternions_are_x_y_z_w() -> None:
    left = (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))
    assert quaternions.matrix_of(left) @ (1, 0, 0) == pytest.approx((0, 1, 0))
    assert quaternions.yaw_of(left) == pytest.approx(math.pi / 2)


@given(a=rotations, b=rotations, share=st.floats(0, 1))
def test_slerp_turns_evenly_the_shortest_way(
    a: tuple[float, ...], b: tuple[float, ...], share: float
) -> None:
    def angle(p: Any, q: Any) -> float:
        return 2 * math.acos(min(1.0, abs(float(np.dot(p, q)))))

    between = quaternions.slerp(a, b, share)
    assert np.linalg.norm(between) == pytest.approx(1)
    assert angle(a, between) == pytest.approx(share * angle(a, b), abs=1e-6)
    assert angle(between, b) == pytest.approx((1 - share) * angle(a, b), abs=1e-6)


@pytest.mark.skipif(quaternions._tf is None, reason='tf_transformations is not installed')
@given(a=rotations, b=rotations, share=st.floats(0, 1))
def test_both_libraries_agree(a: tuple[float, ...], b: tuple[float, ...], share: float) -> None:
    def results() -> np.ndarray[Any, Any]:
        matrix = quaternions.matrix_of(a)
        turned = (quaternions.quaternion_of(matrix), quaternions.slerp(a, b, share))
        return np.concatenate([matrix, *map(quaternions.matrix_of, turned)])

    with pytest.MonkeyPatch.context() as patch:
        theirs = results()
        patch.setattr(quaternions, '_tf', None)
        assert results() == pytest.approx(theirs, abs=1e-6)


# -- odometry


@given(start=vectors, velocity=vectors, turn=rotations, share=st.floats(0, 1))
def test_odometry_between_two_messages_moves_evenly(
    start: tuple[float, ...], velocity: tuple[float, ...], turn: tuple[float, ...], share: float
) -> None:
    end = tuple(np.add(start, velocity))
    before = odometry(1_000_000_000, position=start, orientation=turn, linear=velocity)
    after = replace(before, stamp_ns=1_500_000_000, position=end)
    stamp = 1_000_000_000 + round(share * 500_000_000)
    between = interpolate(before, after, stamp)
    assert between.stamp_ns == stamp
    expected = np.array(start) + (stamp - 1_000_000_000) / 5e8 * np.array(velocity)
    assert between.position == pytest.approx(expected, abs=1e-9)
    assert between.linear == pytest.approx(velocity)
    assert abs(np.dot(between.orientation, turn)) == pytest.approx(1, abs=1e-9)
    assert is_valid_at(between, stamp)


@pytest.mark.parametrize(('after', 'stamp_ns', 'nearer'), [
    (odometry(2_500_000_000), 900_000_000, 0),  # apart by more than a second
    (odometry(600_000_000), 700_000_000, 600_000_000),  # not between
    (odometry(600_000_000, frame_id='map'), 100_000_000, 0),
    (odometry(600_000_000, orientation=(0.0, 0.0, 0.0, 0.0)), 100_000_000, 0),
    (odometry(600_000_000, position=(math.nan, 0.0, 0.0)), 100_000_000, 0),
])
def test_nothing_is_extrapolated(after: Odometry, stamp_ns: int, nearer: int) -> None:
    assert interpolate(odometry(), after, stamp_ns).stamp_ns == nearer


def test_odometry_that_is_far_or_broken_is_not_used() -> None:
    assert is_valid_at(odometry(10**9), 1_200_000_000)
    assert not is_valid_at(odometry(10**9), 1_200_000_001)
    assert not is_valid_at(odometry(10**9, orientation=(0.0, 0.0, 0.0, 0.0)), 10**9)
    assert not is_valid_at(odometry(), 0)  # nobody knows when either was
    assert not is_valid_at(None, 0)


# -- extrinsics

FILE = """
- {parent: base_link, child: mast, translation: [0.0, 0, 0.5], rotation: [0, 0, 0, 1]}
- parent: mast
  child: optical
  translation: [0.2, 0.0, 0.0]
  rotation: [-0.5, 0.5, -0.5, 0.5]
"""


@pytest.fixture
def extrinsics(tmp_path: Path) -> Extrinsics:
    file = tmp_path / 'extrinsics.yaml'
    file.write_text(FILE, 'utf-8')
    return load_extrinsics(file)


def test_fixed_frames_follow_one_another(extrinsics: Extrinsics) -> None:
    to_base = extrinsics.lookup('base_link', 'optical', 0)
    assert to_base.apply((0, 0, 1)) == pytest.approx((1.2, 0, 0.5))
    back = extrinsics.lookup('optical', 'base_link', 0)
    assert (back @ to_base).apply((1, 2, 3)) == pytest.approx((1, 2, 3))
    assert extrinsics.lookup('mast', 'mast', 0).apply((1, 2, 3)) == pytest.approx((1, 2, 3))


def test_odometry_stands_above_them(extrinsics: Extrinsics) -> None:
    left = (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))
    moved = odometry(5, position=(10.0, 0.0, 0.0), orientation=left)
    to_odom = extrinsics.lookup('odom', 'optical', 5, moved)
    assert to_odom.apply((0, 0, 1)) == pytest.approx((10, 1.2, 0.5))


@pytest.mark.parametrize(('target', 'now', 'says'), [
    ('map', odometry(10**12), "'map'.*known frames are base_link, mast, odom, optical"),
    ('odom', None, "'odom'.*base_link, mast, optical"),
    ('odom', odometry(10**12 - 10**9), r'connected by odometry, and the nearest .* 1\.00 s before'),
    ('odom', odometry(), 'odometry has the stamp 0; let its publisher stamp it'),
])
def test_frames_that_nothing_connects_are_named(
    extrinsics: Extrinsics, target: str, now: Odometry | None, says: str
) -> None:
    with pytest.raises(TransformError, match=says):
        extrinsics.lookup(target, 'optical', 10**12, now)


def test_only_odometry_that_is_behind_may_still_come(extrinsics: Extrinsics) -> None:
    for stamp_ns, cause in ((10**12 - 10**9, LATE), (10**12 + 10**9, NOT_THEN)):
        with pytest.raises(TransformError) as caught:
            extrinsics.lookup('odom', 'optical', 10**12, odometry(stamp_ns))
        assert caught.value.cause == cause
    fixed = extrinsics.lookup('base_link', 'optical', 10**12, odometry(5))
    assert fixed.apply((0, 0, 1)) == pytest.approx((1.2, 0, 0.5))


def entry(**values: Any) -> str:
    usual = {'parent': 'a', 'child': 'b', 'translation': [0, 0, 0], 'rotation': [0, 0, 0, 1]}
    return f'- {({**usual, **values})}\n'


@pytest.mark.parametrize(('text', 'says'), [
    ('', 'holds no list'),
    ('a: 1', 'holds no list'),
    ('- [', 'cannot be read'),
    ('- {parent: a, child: b}', 'entry 1: it has parent, child; give parent, child, translation'),
    (entry() + entry(), 'entry 2: b has a parent already'),
    (entry() + entry(parent='b', child='a'), 'entry 2: a would be its own ancestor'),
    (entry(child='a'), 'entry 1: a would be its own ancestor'),
    (entry(child=''), "entry 1: child is ''"),
    (entry(translation=[0, 0]), r'entry 1: translation is \[0, 0\]; give three numbers'),
    (entry(translation=[0, 0, True]), 'entry 1: translation'),
    (entry(translation=[0, 0, '1 m']), 'entry 1: translation'),
    (entry(rotation=[0, 0, 0, 2]), 'entry 1: rotation has the length 2.000'),
    (entry(rotation=[0, 0, 0]), 'entry 1: rotation is'),
])
def test_errors_in_a_file_of_extrinsics_name_entry_and_field(
    tmp_path: Path, text: str, says: str
) -> None:
    file = tmp_path / 'bad.yaml'
    file.write_text(text, 'utf-8')
    with pytest.raises(InvalidRequestError, match=says) as error:
        load_extrinsics(file)
    assert str(file) in str(error.value)
    with pytest.raises(InvalidRequestError, match='cannot be read'):
        load_extrinsics(tmp_path / 'missing.yaml')


# -- poses


@given(point=vectors, normal=vectors.filter(lambda v: np.linalg.norm(v) > 0.01),
       distance=st.floats(0, 1), x_axis=st.sampled_from([(1, 0, 0), (0, 1, 0), (0, 0, 2)]))
def test_a_tool_points_straight_at_the_surface(
    point: Any, normal: Any, distance: float, x_axis: Any
) -> None:
    pose = tool_pose(point, normal, distance, x_axis)
    turned = quaternions.matrix_of(pose.orientation)
    assert np.linalg.det(turned) == pytest.approx(1)
    assert turned[:, 2] == pytest.approx(-np.divide(normal, np.linalg.norm(normal)), abs=1e-6)
    there = np.array(pose.position) + distance * turned[:, 2]
    assert there == pytest.approx(np.array(point), abs=1e-6)


def test_a_tool_turns_as_it_is_told() -> None:
    turned = quaternions.matrix_of(tool_pose(ORIGIN, (0, 0, 1), 0.1, (0, 1, 0)).orientation)
    assert turned[:, 0] == pytest.approx((0, 1, 0))
    with pytest.raises(InvalidRequestError, match='normal_valid'):
        tool_pose(ORIGIN, ORIGIN)


@given(thing=vectors, base=vectors, distance=st.floats(0.1, 3), count=st.integers(1, 12))
def test_goals_stand_around_the_thing_and_face_it(
    thing: Any, base: Any, distance: float, count: int
) -> None:
    goals = goals_before(thing, base, distance, count)
    assert len({tuple(np.round(g.position, 6)) for g in goals}) == count
    ways = []
    for goal in goals:
        away = np.subtract(thing, goal.position)[:2]
        assert np.hypot(*away) == pytest.approx(distance)
        ahead = quaternions.matrix_of(goal.orientation)[:2, 0]
        assert ahead == pytest.approx(away / distance, abs=1e-6)
        assert goal.position[2] == base[2]
        ways.append(np.hypot(*np.subtract(goal.position, base)[:2]))
    assert ways == pytest.approx(sorted(ways), abs=1e-6)


def test_a_goal_needs_a_distance() -> None:
    with pytest.raises(InvalidRequestError, match='distance'):
        goals_before((1, 0, 0), ORIGIN, 0)
