"""Report an evaluation: figures as JSON and as text, and a contact sheet of the worst answers."""

from __future__ import annotations

import textwrap
from collections import Counter, defaultdict
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mimo_embodied_ros.annotate import Canvas, tile

from .media import subject_picture
from .regions import Boxes, Mask, Polygons

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from .ground_truth import Truth
    from .run import Outcome

_TRUE = (60, 220, 90)
_WIDTH = 480  # of a picture on the contact sheet
_COLUMNS = 3
_LINE = 62  # characters of a line below it


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return all figures, as they are written to JSON.

    Returns:
        ``overall`` by metric, and ``categories`` by name and metric: each with ``mean`` over the
        questions (of metres, over those with a path as answer; None if there are none),
        ``questions`` and ``failed``; ``failures`` by code; ``median_seconds`` of an answer.

    """
    categories: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        categories[outcome.record.category].append(outcome)
    return {
        'overall': _by_metric(outcomes),
        'categories': {name: _by_metric(group) for name, group in sorted(categories.items())},
        'failures': dict(Counter(o.code for o in outcomes if o.code)),
        'median_seconds': median(o.prediction.seconds for o in outcomes),
    }


def _by_metric(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.record.truth.metric].append(outcome)
    figures = {}
    for metric, group in sorted(groups.items()):
        scores = [o.score for o in group if o.score is not None]
        figures[metric] = {
            'mean': round(fmean(scores), 4) if scores else None,
            'questions': len(group), 'failed': sum(bool(o.code) for o in group)}
    return figures


def table(figures: dict[str, Any]) -> str:
    """Return the figures of `summary` by category, as a text table."""
    rows = [('category', 'metric', 'mean', 'questions', 'failed')]
    for name, metrics in (*figures['categories'].items(), ('all', figures['overall'])):
        for metric, f in metrics.items():
            mean = '-' if f['mean'] is None else f'{f["mean"]:.3f}'
            rows.append((name, metric, mean, str(f['questions']), str(f['failed'])))
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ['  '.join(cell.ljust(w) if i < 2 else cell.rjust(w)
                       for i, (cell, w) in enumerate(zip(row, widths))) for row in rows]
    if figures['failures']:
        failures = (f'{code} {n}' for code, n in figures['failures'].items())
        lines.append(f'failed: {", ".join(failures)}')
    return '\n'.join(lines)


def contact_sheet(outcomes: Iterable[Outcome], number: int) -> NDArray[np.uint8] | None:
    """Draw the worst answers with the ground truth in green.

    Returns:
        (height, width, 3) uint8, RGB; None if all answers have the best score.

    """
    ranked = sorted((o for o in outcomes if o.badness > 0), key=lambda o: -o.badness)
    drawn = [_draw(outcome) for outcome in ranked[:number]]
    return tile(drawn, min(_COLUMNS, len(drawn))) if drawn else None


def _draw(outcome: Outcome) -> NDArray[np.uint8]:
    """Draw the picture that a question is about, with truth and answer, `_WIDTH` pixels wide."""
    record = outcome.record
    pixels = subject_picture(record).copy()
    thickness = max(2, round(3 * pixels.shape[1] / _WIDTH))
    for outline in _outlines(record.truth):
        cv2.polylines(pixels, [np.round(outline).astype(np.int32)], True, _TRUE, thickness,
                      cv2.LINE_AA)
    canvas = Canvas(pixels)
    if outcome.content is not None:
        canvas.mark(outcome.content)
    height = round(pixels.shape[0] * _WIDTH / pixels.shape[1])
    small = cv2.resize(canvas.picture(), (_WIDTH, height), interpolation=cv2.INTER_AREA)
    canvas = Canvas(small.astype(np.uint8))
    title = f'{outcome.code or f"{outcome.score:.2f}"}  {record.id}  {record.category}'
    answer = outcome.prediction.text.rpartition('</think>')[2] or outcome.prediction.message
    for name, words in ((title, ''), ('question: ', record.question),
                        ('truth: ', record.truth.words), ('answer: ', answer)):
        line = name + ' '.join(words.split())
        canvas.note(*textwrap.wrap(line, _LINE, max_lines=3, subsequent_indent='   '))
    return canvas.picture()


def _outlines(truth: Truth) -> list[NDArray[Any]]:
    """Return closed outlines of the ground truth, (n, 2) each."""
    if isinstance(truth, Mask):
        contours, _ = cv2.findContours(
            truth.pixels().astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        return [contour[:, 0] for contour in contours]
    if isinstance(truth, Polygons):
        return [np.asarray(polygon) for polygon in truth.polygons]
    if isinstance(truth, Boxes):
        return [np.asarray([(a, b), (c, b), (c, d), (a, d)]) for a, b, c, d in truth.boxes]
    return []
