"""The vendor's rules for points and boxes, in pixels of the image that the model saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mimo_embodied_ros.core.errors import InvalidRequestError

from . import metrics, vendor_text
from .regions import Boxes, Mask, answer_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mimo_embodied_ros.core.resize import Resize

    from .answered import Answered
    from .dataset import Record


def points_in_mask(answered: Answered) -> float:
    """Return the share of the points above 0 in the mask, resized as the model's image was."""
    points = _strict_points(answered)
    if not points:
        return 0.0
    width, height = _seen(answered)
    mask = _mask(answered.record, (width, height))
    hits = [0 <= x < width and 0 <= y < height and bool(mask[y, x]) for x, y in points]
    return sum(hits) / len(points)


def points_in_box(answered: Answered) -> float:
    """Return the share of the points in the box, whose corners are cut to integers."""
    points = _strict_points(answered)
    x_min, y_min, x_max, y_max = map(int, _published_box(answered))
    return sum(x_min <= x <= x_max and y_min <= y <= y_max for x, y in points) / max(
        1, len(points))


def box_iou_50(answered: Answered) -> float:
    """Return 1 where the first box overlaps the true one enough, else 0.

    A box whose numbers are all at most 1 is taken as shares of the image.
    """
    box = vendor_text.box(answered.text)
    if not any(edge > 1 for edge in box):
        resize = _resize(answered)
        box = (box[0] * resize.model_width, box[1] * resize.model_height,
               box[2] * resize.model_width, box[3] * resize.model_height)
    return float(metrics.iou(box, _seen_box(answered)) >= metrics.IOU)


def _strict_points(answered: Answered) -> list[tuple[int, int]]:
    """Return the points of the answer; none where nothing stands behind the reasoning."""
    answer = vendor_text.after_think(answered.text, strict=True)
    return vendor_text.points(answer) if answer else []


def _mask(record: Record, size: tuple[int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    truth = record.truth
    if not isinstance(truth, Mask):
        msg = f'{record.place}: this metric needs a mask; give one as answer'
        raise InvalidRequestError(msg)
    try:
        picture = Image.open(truth.file)
        grey = picture.convert('L') if len(picture.getbands()) > 1 else picture
        return np.asarray(grey.resize(size)) > 0
    except OSError as error:
        msg = f'{record.place}: the mask {truth.file} cannot be read ({error}); copy it anew'
        raise InvalidRequestError(msg) from error


def _box(record: Record) -> metrics.Corners:
    if not isinstance(record.truth, Boxes) or len(record.truth.boxes) != 1:
        msg = f'{record.place}: this metric needs one box; give one as answer'
        raise InvalidRequestError(msg)
    return record.truth.boxes[0]


def _seen_box(answered: Answered) -> metrics.Corners:
    """Return the true box in pixels of the image that the model saw."""
    resize = _resize(answered)
    x_min, y_min, x_max, y_max = _box(answered.record)
    return *resize.to_model(x_min, y_min), *resize.to_model(x_max, y_max)


def _published_box(answered: Answered) -> Sequence[float]:
    """Return the true box as the vendor scales it: from the published shares, where it has them."""
    shares = answered.record.extra.get('normalized_box')
    if shares is None:
        return [round(edge, 6) for edge in _seen_box(answered)]
    return [share * side for share, side in zip(shares, _seen(answered) * 2)]


def _resize(answered: Answered) -> Resize:
    if answered.resize is None:
        msg = f'{answered.record.place}: this metric needs an image; give one'
        raise InvalidRequestError(msg)
    return answered.resize


def _seen(answered: Answered) -> tuple[int, int]:
    resize = _resize(answered)
    return resize.model_width, resize.model_height


def our_points_in_box(answered: Answered) -> float:
    """Return the share of the points in the box, as a robot reads them; not rounded."""
    if answered.content is None:
        return 0.0
    x_min, y_min, x_max, y_max = _box(answered.record)
    points = answer_points(answered.content)
    return sum(x_min <= x <= x_max and y_min <= y <= y_max for x, y in points) / max(
        1, len(points))
