"""Right answers that are places in an image: masks, polygons and boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mimo_embodied_ros.core.answers import Affordances, AnswerType, SpatialAnswer
from mimo_embodied_ros.core.errors import BadEncodingError
from mimo_embodied_ros.pictures import deep_samples, open_picture

from . import metrics
from .truth_values import as_list, as_rows, wrong

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mimo_embodied_ros.core.answers import Content

IN_REGION, BOX = 'in_region', 'box_at_0.5'


@dataclass(frozen=True)
class Mask:
    """Points must be on the light pixels of a picture with the image's size."""

    file: Path
    metric: ClassVar[str] = IN_REGION
    task: ClassVar[str] = 'points'

    @classmethod
    def read(cls, value: Any, folder: Path) -> Mask:
        """Read the name of a file, relative to the dataset's folder."""
        if not isinstance(value, str) or not value:
            raise wrong('mask', value, 'the name of a picture')
        if not (file := folder / value).is_file():
            msg = f'there is no mask {file}'
            raise ValueError(msg)
        return cls(file)

    @property
    def words(self) -> str:
        """See ``Truth``."""
        return 'in the mask'

    def pixels(self) -> NDArray[np.bool_]:
        """Return the mask, (height, width); True where grey is lighter than half, or 1 of 0 and 1.

        Raises:
            ValueError: the file is no picture.

        """
        try:
            picture, _ = open_picture(self.file.read_bytes())
            deep = deep_samples(picture)
        except (OSError, BadEncodingError) as error:
            msg = f'the mask {self.file} cannot be read as a picture: {error}'
            raise ValueError(msg) from error
        grey = np.asarray(picture.convert('L')) if deep is None else deep
        largest = grey.max()  # 16-bit files may hold 0 and 1, or 8 bits
        return grey > (0 if largest <= 1 else 127 if largest <= 255 else 32767)

    def score(self, content: Content, size: tuple[int, int]) -> float:
        """See ``Truth``."""
        mask = self.pixels()
        if mask.shape != size[::-1]:
            msg = (f'the mask {self.file} has {mask.shape[1]}x{mask.shape[0]} pixels and the image '
                   f'{size[0]}x{size[1]}; both must be of one size')
            raise ValueError(msg)
        return metrics.hit_rate(metrics.in_mask(answer_points(content), mask))


@dataclass(frozen=True)
class Polygons:
    """Points must be in one of these polygons; without polygons the thing is not in the image."""

    polygons: tuple[tuple[tuple[float, float], ...], ...]
    metric: ClassVar[str] = IN_REGION
    task: ClassVar[str] = 'points'

    @classmethod
    def read(cls, value: Any, folder: Path) -> Polygons:
        """Read a list of polygons of at least three ``[x, y]``."""
        rings = tuple(as_rows(ring, 2, 'a polygon') for ring in as_list(value, 'polygons'))
        if any(len(ring) < 3 for ring in rings):
            raise wrong('polygons', value, 'at least three corners each')
        return cls(tuple(tuple((x, y) for x, y in ring) for ring in rings))

    @property
    def words(self) -> str:
        """See ``Truth``."""
        return 'in the outline' if self.polygons else 'not there'

    def score(self, content: Content, size: tuple[int, int]) -> float:
        """See ``Truth``."""
        if not self.polygons:
            return float(_not_there(content))
        return metrics.hit_rate(metrics.in_polygons(answer_points(content), self.polygons))


@dataclass(frozen=True)
class Boxes:
    """These boxes must be found; without boxes the thing is not in the image."""

    boxes: tuple[metrics.Corners, ...]
    metric: ClassVar[str] = BOX
    task: ClassVar[str] = 'boxes'

    @classmethod
    def read(cls, value: Any, folder: Path) -> Boxes:
        """Read a list of ``[x_min, y_min, x_max, y_max]``."""
        rows = as_rows(value, 4, 'boxes')
        if any(x_min >= x_max or y_min >= y_max for x_min, y_min, x_max, y_max in rows):
            raise wrong('boxes', value, '[x_min, y_min, x_max, y_max] of boxes that are not empty')
        return cls(tuple((a, b, c, d) for a, b, c, d in rows))

    @property
    def words(self) -> str:
        """See ``Truth``."""
        return 'the outline' if self.boxes else 'not there'

    def score(self, content: Content, size: tuple[int, int]) -> float:
        """See ``Truth``."""
        if not isinstance(content, (Affordances, SpatialAnswer)):
            return 0.0
        boxes = [(b.x_min, b.y_min, b.x_max, b.y_max) for b in content.boxes]
        return metrics.boxes_f1(boxes, self.boxes)


def answer_points(content: Content) -> list[tuple[float, float]]:
    """Return the points of an answer, (x, y) in pixels."""
    if isinstance(content, (Affordances, SpatialAnswer)):
        return [(point.x, point.y) for point in content.points]
    return []


def _not_there(content: Content) -> bool:
    """Whether an answer of points or boxes has none."""
    if isinstance(content, SpatialAnswer) and content.type is not AnswerType.POINTS:
        return False
    return isinstance(content, (Affordances, SpatialAnswer)) and not (
        content.points or content.boxes)
