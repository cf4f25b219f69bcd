"""Tell from points whether a model finds marks where they are, and what is wrong if it does not.

Positions are pixels of the image that the model sees, x to the right and y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mimo_embodied_ros.core.profiles import MIMO_EMBODIED
from mimo_embodied_ros.core.resize import FACTOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mimo_embodied_ros.core.profiles import Profile

    Points = NDArray[np.float64]

TWO = 'two'  # the picture that is two images, of which the second one is asked about
_SHARE = 0.005  # of the longer side, which is added to the tolerance
_SCALES = 0.1, 10.0  # factors beyond are no resize
_FITTED = 4.0  # pixels by which a fit must be better than what needs none
_SAME = 1.0  # pixels within which two answers are the same


class Verdict(Enum):
    """What the points of a model are."""

    RIGHT = 'right'
    SHIFTED = 'shifted'
    SCALED = 'scaled'
    SWAPPED = 'swapped'
    NORMALISED = 'normalised'
    NOT_NORMALISED = 'not normalised'
    SECOND_IMAGE = 'second image wrong'
    SCATTERED = 'not where the marks are'
    OTHER_MODEL = 'another model'


_CAUSES = {
    Verdict.SHIFTED: (
        'the images are cropped or padded on the way to the model; let the server take them as '
        'they are'),
    Verdict.SCALED: (
        'the server resizes the images once more; set min_pixels and max_pixels to its values, or '
        'start it with these'),
    Verdict.SWAPPED: (
        'the model writes {} before {}, and its profile says otherwise; set profile to that of the '
        'model that answers, such as Gemini, which writes y first'),
    Verdict.NORMALISED: (
        'a model of another family answers, such as Qwen3-VL (0 to 1000); set profile to that of '
        'the model that answers'),
    Verdict.NOT_NORMALISED: (
        'the model answers in pixels, and its profile says 0 to {2}; set profile to that of the '
        'model that answers'),
    Verdict.SECOND_IMAGE: (
        'the positions of several images are wrong, as in transformers 5.3.0 to 5.5.3 and some '
        'releases of vLLM; install another release'),
    Verdict.SCATTERED: (
        'the positions of the image patches are probably one-dimensional, as in some releases of '
        'vLLM, SGLang and llama.cpp; install another release, or set model to one that finds '
        'points'),
    Verdict.OTHER_MODEL: (
        'another model answers, or its weights are damaged; see what is served, and set model to '
        'one that finds points'),
}


@dataclass(frozen=True)
class Sight:
    """What was asked about one picture, and answered.

    Attributes:
        picture: name.
        size: (width, height) of the image that the model sees, pixels.
        marks: (marks, 2), where the things are.
        answers: (marks, 2), where the model says that they are; NaN where it gives no point.
        unread: number of answers that cannot be read.
        decoys: (any, 2), things of another image, which was not asked about.
        profile: with which the answers were read.

    """

    picture: str
    size: tuple[int, int]
    marks: Points
    answers: Points
    unread: int = 0
    decoys: Points | None = None
    profile: Profile = MIMO_EMBODIED

    @property
    def tolerance(self) -> float:
        """Greatest median error of right points: half a token of the model, and a bit."""
        return FACTOR / 2 + _SHARE * max(self.size)


@dataclass(frozen=True)
class Finding:
    """What one picture shows.

    Attributes:
        picture: name.
        verdict: on the points in it.
        error: median distance between answers and marks, pixels; infinite where most are missing.
        detail: by how much they differ, in words; empty where nothing is known.

    """

    picture: str
    verdict: Verdict
    error: float
    detail: str = ''

    def __str__(self) -> str:
        """Describe it in a few words."""
        error = f'{self.error:.1f} px' if np.isfinite(self.error) else 'most marks not found'
        detail = f' {self.detail}' * bool(self.detail)
        return f'{self.verdict.value}{detail} ({error})'


class _Explanation(NamedTuple):
    """What may be wrong, and the mean distance that it leaves between answers and marks, pixels."""

    error: float
    verdict: Verdict
    detail: str


def judge(sight: Sight) -> Finding:
    """Tell what the points in one picture are.

    Half of the marks, rounded down, may be missed: a right model is not refused for one of three.
    A shift or a scale, which is fitted, needs all marks and at least three.
    """
    error = _median(sight, sight.answers)
    verdict, detail = Verdict.RIGHT, ''
    if error > sight.tolerance:
        candidates = [*_conventions(sight)]
        if len(sight.marks) > 2 and np.isfinite(sight.answers).all():
            candidates += _fits(sight)
        unknown = _Explanation(0.0, Verdict.SCATTERED, _axis(sight))
        best = min(candidates, key=lambda candidate: candidate.error, default=unknown)
        verdict, detail = best.verdict, best.detail
    if sight.picture == TWO and verdict is not Verdict.RIGHT:
        at_decoys = sight.decoys is not None and _are_at(sight, sight.decoys)
        detail = 'and the first one answered' * at_decoys or detail
    return Finding(sight.picture, verdict, error, detail)


def conclude(sights: Sequence[Sight], findings: Sequence[Finding]) -> tuple[Verdict, str]:
    """Return the verdict on a model, and a sentence with error, likely cause and remedy.

    Args:
        sights: one or several.
        findings: of these, in the same order.

    """
    wrong = [finding for finding in findings if finding.verdict is not Verdict.RIGHT]
    if not wrong:
        worst = max(finding.error for finding in findings)
        names = ', '.join(finding.picture for finding in findings)
        return Verdict.RIGHT, f'right in {names}: median error at most {worst:.1f} px'
    verdict = _common(sights, wrong)
    shown = next((f for f in wrong if f.verdict is verdict), wrong[0])
    if verdict is Verdict.OTHER_MODEL:
        said = _sameness(sights) or 'most answers cannot be read as points'
    else:
        error = (f'median error {shown.error:.0f} px' if np.isfinite(shown.error)
                 else 'most marks are not found')
        said = ' '.join(filter(None, (f'points are {verdict.value}', shown.detail)))
        if verdict is Verdict.SECOND_IMAGE:
            kind = shown.verdict.value * (shown.verdict is not Verdict.SCATTERED)
            parts = 'points in the second image are wrong', kind, shown.detail
            said = ' '.join(filter(None, parts))
        said = f'{said} ({error} in picture {shown.picture})'
    names = ', '.join(finding.picture for finding in wrong)
    profile = sights[0].profile
    cause = _CAUSES[verdict].format(*('xy' if profile.y_first else 'yx'), profile.range)
    return verdict, f'{said}; wrong: {names}; {cause}'


def _common(sights: Sequence[Sight], wrong: Sequence[Finding]) -> Verdict:
    """The verdict that most of the wrong pictures have; the first one of several."""
    if {finding.picture for finding in wrong} == {TWO} and len(sights) > 1:
        return Verdict.SECOND_IMAGE
    verdicts = [finding.verdict for finding in wrong]
    verdict = max(verdicts, key=verdicts.count)
    unread = sum(sight.unread for sight in sights)
    asked = sum(len(sight.marks) for sight in sights)
    if verdict is Verdict.SCATTERED and (2 * unread >= asked or _sameness(sights)):
        return Verdict.OTHER_MODEL
    return verdict


def _sameness(sights: Sequence[Sight]) -> str:
    """Say that all answers are the same point; empty where they are not."""
    answers = np.concatenate([sight.answers for sight in sights])
    answers = answers[np.isfinite(answers).all(1)]
    same = len(answers) > 2 and (np.ptp(answers, 0) <= _SAME).all()
    return 'all answers are the same point' * bool(same)


def _distances(points: Points, marks: Points) -> NDArray[np.float64]:
    return np.asarray(np.nan_to_num(np.hypot(*(points - marks).T), nan=np.inf))


def _median(sight: Sight, points: Points) -> float:
    return float(np.median(_distances(points, sight.marks)))


def _mean(sight: Sight, points: Points) -> float:
    """Mean distance of the points that there are, at most the size of the image each."""
    return float(np.minimum(_distances(points, sight.marks), sum(sight.size)).mean())


def _are_at(sight: Sight, places: Points) -> bool:
    """Whether most answers are at one of these places."""
    gaps = [np.nan_to_num(np.hypot(*(places - answer).T).min(), nan=np.inf)
            for answer in sight.answers]
    return float(np.median(gaps)) <= sight.tolerance


def _conventions(sight: Sight) -> Iterator[_Explanation]:
    """Yield other meanings of the numbers that were written, if they explain most answers."""
    size, profile = np.array(sight.size, float), sight.profile
    written = sight.answers * profile.range / size if profile.range else sight.answers
    written = written[:, ::-1] if profile.y_first else written
    for y_first in profile.y_first, not profile.y_first:
        numbers = written[:, ::-1] if y_first else written
        order = f'{"y" if y_first else "x"} first' * (y_first is not profile.y_first)
        for range_ in dict.fromkeys((profile.range, 1000, 1, 0)):
            points = numbers * size / range_ if range_ else numbers
            if _median(sight, points) > sight.tolerance:
                continue
            verdict = Verdict.NORMALISED if range_ else Verdict.NOT_NORMALISED
            verdict = Verdict.SWAPPED if range_ == profile.range else verdict
            unit = f'to 0 to {range_}' * (verdict is Verdict.NORMALISED)
            yield _Explanation(
                _mean(sight, points), verdict, ', '.join(filter(None, (unit, order))))


def _fits(sight: Sight) -> Iterator[_Explanation]:
    """Yield a shift and a scale that explain all answers.

    What is fitted must do so better than a convention, which has nothing to fit.
    """
    shift = (sight.answers - sight.marks).mean(0)
    scale = (sight.answers * sight.marks).sum(0) / (sight.marks**2).sum(0)
    width, height = scale * sight.size
    x, y = shift
    moved = [(sight.answers - shift, Verdict.SHIFTED, f'by {x:+.0f} px in x and {y:+.0f} px in y')]
    if (scale > _SCALES[0]).all() and (scale < _SCALES[1]).all():
        x, y = scale
        moved.append((
            sight.answers / scale, Verdict.SCALED,
            (f'by {x:.2f} in x and {y:.2f} in y, as if {sight.size[0]}x{sight.size[1]} were '
             f'{width:.0f}x{height:.0f} pixels')))
    for points, verdict, detail in moved:
        if _distances(points, sight.marks).max() <= sight.tolerance:
            yield _Explanation(_FITTED + _mean(sight, points), verdict, detail)


def _axis(sight: Sight) -> str:
    """Say that one coordinate is right, as where positions have only rows or only columns."""
    x, y = np.median(np.nan_to_num(np.abs(sight.answers - sight.marks), nan=np.inf), 0)
    if x > sight.tolerance >= y:
        return 'in x, and right in y'
    return 'in y, and right in x' if y > sight.tolerance >= x else ''
