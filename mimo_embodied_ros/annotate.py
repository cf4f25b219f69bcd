"""Draw answers on their pictures."""

from __future__ import annotations

import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .core.answers import Affordances, DrivingDecision, SpatialAnswer, TaskPlan, TextAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .core.answers import Box, Content, Point

_FONT = cv2.FONT_HERSHEY_SIMPLEX
MARK = (255, 40, 160)
"""RGB of points and boxes."""
PLAN = (40, 220, 255)
"""RGB of the steps of a plan."""
_FOOTER = 24
_SAMPLE = 'the letters of a line that is as wide as most are'


def tile(pictures: Sequence[NDArray[np.uint8]], columns: int = 2) -> NDArray[np.uint8]:
    """Arrange pictures of one width in rows; returns (height, width, 3) uint8."""
    height = max(p.shape[0] for p in pictures)
    padded = [np.pad(p, ((0, height - p.shape[0]), (0, 0), (0, 0)), constant_values=_FOOTER)
              for p in pictures]
    padded += [np.full_like(padded[0], _FOOTER)] * (-len(padded) % columns)
    rows = [np.hstack(padded[i : i + columns]) for i in range(0, len(padded), columns)]
    return np.vstack(rows)


class Canvas:
    """A copy of a picture to draw on; lines and letters are scaled with the picture."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        """Copy the picture, (height, width, 3) uint8, RGB."""
        self._picture = np.ascontiguousarray(pixels).copy()
        self._unit = max(1.0, min(pixels.shape[:2]) / 240)
        self._lines: list[str] = []

    def answer(self, question: str, content: Content) -> None:
        """Draw one answer, and write its question below the picture."""
        self.mark(content)
        if isinstance(content, TaskPlan):
            self.note(question if content.steps else f'{question}: cannot be done')
            self.note(*(f'  {i}. {step.text}' for i, step in enumerate(content.steps, 1)))
        elif isinstance(content, (SpatialAnswer, TextAnswer)):
            self.note(f'{question} {content.text}')
        elif isinstance(content, DrivingDecision):
            self.note(f'{question} {content.decision}'.strip())
        elif isinstance(content, Affordances) and not (content.points or content.boxes):
            self.note(f'{question}: not there')
        else:
            self.note(question)

    def mark(self, content: Content) -> None:
        """Draw the points and boxes of an answer."""
        if isinstance(content, TaskPlan):
            for number, step in enumerate(content.steps, 1):
                self._points(step.points, PLAN, str(number))
            points = [point for step in content.steps for point in step.points]
            for start, end in pairwise(points):
                self._arrow(start, end)
        elif isinstance(content, (Affordances, SpatialAnswer)):
            self._points(content.points, MARK)
            self._boxes(content.boxes)
        elif isinstance(content, DrivingDecision):
            self._boxes([hazard.box for hazard in content.hazards if hazard.box])

    def note(self, *lines: str) -> None:
        """Write lines below the picture; long lines are wrapped."""
        self._lines += lines

    def picture(self) -> NDArray[np.uint8]:
        """Return the picture with its lines below, (height + text, width, 3) uint8, RGB."""
        scale, step = 0.4 * self._unit, round(15 * self._unit)
        width = self._picture.shape[1]
        letter_width = cv2.getTextSize(_SAMPLE, _FONT, scale, 1)[0][0] / len(_SAMPLE)
        letters = max(20, int(0.9 * (width - 16) / letter_width))  # some lines are wider
        # OpenCV's fonts have only ASCII
        rows = [row for line in self._lines for row in textwrap.wrap(
            line.encode('ascii', 'replace').decode(), letters, subsequent_indent='  ')]
        footer = np.full((step * len(rows) + step // 2, width, 3), _FOOTER, np.uint8)
        for number, row in enumerate(rows, 1):
            fit = min(1.0, (width - 16) / cv2.getTextSize(row, _FONT, scale, 1)[0][0])
            cv2.putText(footer, row, (8, step * number), _FONT, scale * fit, (235, 235, 235),
                        max(1, round(self._unit * 0.6)), cv2.LINE_AA)
        return np.vstack([self._picture, footer]) if rows else self._picture

    def _points(
        self, points: Sequence[Point], colour: tuple[int, int, int], name: str = ''
    ) -> None:
        for point in points:
            centre = self._pixel(point.x, point.y)
            radius = round(4 * self._unit)
            cv2.circle(self._picture, centre, radius + 2, (255, 255, 255), -1, cv2.LINE_AA)
            cv2.circle(self._picture, centre, radius, colour, -1, cv2.LINE_AA)
            self._label(name or point.label, centre, colour)

    def _boxes(self, boxes: Sequence[Box]) -> None:
        for box in boxes:
            corner = self._pixel(box.x_min, box.y_min)
            cv2.rectangle(self._picture, corner, self._pixel(box.x_max, box.y_max), MARK,
                          max(1, round(self._unit)), cv2.LINE_AA)
            self._label(box.label, corner, MARK)

    def _arrow(self, start: Point, end: Point) -> None:
        cv2.arrowedLine(self._picture, self._pixel(start.x, start.y), self._pixel(end.x, end.y),
                        PLAN, max(1, round(self._unit)), cv2.LINE_AA, tipLength=0.05)

    def _label(self, text: str, point: tuple[int, int], colour: tuple[int, int, int]) -> None:
        corner = (point[0] + round(7 * self._unit), point[1] - round(6 * self._unit))
        scale = 0.42 * self._unit
        text = text.encode('ascii', 'replace').decode()
        thickness = max(1, round(0.6 * self._unit))
        for shift, fill in ((max(1, round(0.5 * self._unit)), (20, 20, 20)), (0, colour)):
            cv2.putText(self._picture, text, (corner[0] + shift, corner[1] + shift), _FONT, scale,
                        fill, thickness, cv2.LINE_AA)

    @staticmethod
    def _pixel(x: float, y: float) -> tuple[int, int]:
        limit = 1 << 20  # far outside of any picture, and within OpenCV's 32 bits
        return (round(min(max(x, -limit), limit)), round(min(max(y, -limit), limit)))
