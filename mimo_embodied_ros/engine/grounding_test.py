"""The grounding test: does a model find the marks of drawn pictures where they are?

Servers and libraries have broken the positions of this class of models again and again without any
error: an image resized once more, positions of images that count in one dimension, another model
behind the same name. A robot would move to the wrong place.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mimo_embodied_ros.core.answers import Affordances
from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError, ResultCode
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.readers import split_reasoning
from mimo_embodied_ros.core.resize import Resize

from .answering import UNREAD, answer_query
from .config import PICTURES, EngineConfig
from .grounding_pictures import VIDEO, Picture, draw
from .grounding_verdict import Finding, Sight, Verdict, conclude, judge
from .interface import Grounding, GroundingError, GroundingState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mimo_embodied_ros.core.query import Query

    from .early_end import Cancelled, Deadline
    from .interface import Engine

__all__ = ['GroundingReport', 'check_grounding', 'grounding_of']

_AT_ONCE = 8  # questions to a model in this process
_AT_ONCE_REMOTE = 4  # to a server, whose other users go on
_HOPELESS = 3  # unreadable answers before any other, after which nothing more is asked
_SHARE = r'\s*([01]?\.\d+|[01])\s*'
_SHARES = re.compile(rf'\[{_SHARE},{_SHARE}\]')  # a point that is refused, since it is no pixel
_CANCELLED = ResultCode.CANCELLED


@dataclass(frozen=True)
class GroundingReport:
    """What the test has measured.

    Attributes:
        verdict: on the model.
        sentence: with the measured error, and the likely cause and remedy where it is wrong.
        findings: one for each picture that was asked about.

    """

    verdict: Verdict
    sentence: str
    findings: tuple[Finding, ...]

    @property
    def right(self) -> bool:
        """Whether all marks were found where they are."""
        return self.verdict is Verdict.RIGHT


def check_grounding(
    engine: Engine,
    pictures: Sequence[str] = PICTURES,
    *,
    cancelled: Cancelled | None = None,
    deadline: Deadline = None,
) -> GroundingReport:
    """Ask a model about drawn pictures with known marks, as a robot asks.

    Args:
        engine: a loaded model.
        pictures: names of the pictures; the video is left out where the model takes none.
        cancelled: ends the test when it returns True.
        deadline: when the test ends.

    Raises:
        CancelledError: the test was cancelled.
        InvalidRequestError: only the video is named, and the model takes none.
        RequestTimeoutError: the deadline was reached.
        MimoError: the model cannot answer; an answer that cannot be read counts as a missed mark.

    """
    taken = [name for name in pictures if name != VIDEO or engine.info.takes_video]
    if not taken:
        msg = 'the model takes no video; name other pictures in grounding_pictures, too'
        raise InvalidRequestError(msg)
    drawn = [draw(name, engine.limits) for name in taken]
    asker = _Asker(engine, cancelled, deadline)
    at_once = _AT_ONCE_REMOTE if engine.health() else _AT_ONCE
    with ThreadPoolExecutor(at_once, 'grounding') as pool:
        answers = iter([*pool.map(asker.ask, (q for picture in drawn for q in picture.queries))])
    asker.check()
    sights = [_sight(picture, [next(answers) for _ in picture.queries], engine)
              for picture in drawn]
    # no published model of this class promises points in videos, so that it may give none
    sights = [s for s in sights if s.picture != VIDEO or np.isfinite(s.answers).all(1).mean() > 0.5]
    findings = tuple(map(judge, sights))
    return GroundingReport(*conclude(sights, findings), findings)


class _Asker:
    """Asks questions from several threads; the first failure of the model ends all of them."""

    def __init__(self, engine: Engine, cancelled: Cancelled | None, deadline: Deadline) -> None:
        self._engine, self._cancelled, self._deadline = engine, cancelled, deadline
        self._error: MimoError | None = None
        self._read = self._unread = 0

    def ask(self, query: Query) -> tuple[float, float] | None:
        """Return a point, pixels of the original image; None where it cannot be read.

        Where the model says that the thing is not there, both are NaN.
        """
        try:
            content = answer_query(
                self._engine, query, cancelled=self._over, deadline=self._deadline)[0].content
        except UNREAD as error:
            if (shares := _SHARES.search(split_reasoning(error.raw_text)[1])) is not None:
                return self._as_read(query, float(shares[1]), float(shares[2]))
            self._unread += 1
            return None
        except MimoError as error:
            if self._error is None and not (self._is_hopeless() and error.code is _CANCELLED):
                self._error = error
            return None
        self._read += 1
        assert isinstance(content, Affordances)
        places = [(point.x, point.y) for point in content.points] or [
            ((box.x_min + box.x_max) / 2, (box.y_min + box.y_max) / 2) for box in content.boxes]
        x, y = np.mean(places, 0) if places else (np.nan, np.nan)
        return float(x), float(y)

    def _as_read(self, query: Query, first: float, second: float) -> tuple[float, float]:
        """Return the point that two numbers are by the profile."""
        resize, profile = _resize(query, self._engine), self._engine.profile
        if profile.range:
            resize = Resize(resize.width, resize.height, profile.range, profile.range)
        return resize.to_image(*((second, first) if profile.y_first else (first, second)))

    def check(self) -> None:
        """Raise the failure of the model, if there was one."""
        if self._error is not None:
            raise self._error

    def _over(self) -> bool:
        stopped = self._cancelled is not None and self._cancelled()
        return stopped or self._error is not None or self._is_hopeless()

    def _is_hopeless(self) -> bool:
        """Whether nothing that the model has said can be read, so that more would be a waste."""
        return not self._read and self._unread >= _HOPELESS


def _resize(query: Query, engine: Engine) -> Resize:
    """The scale between the frames of a query and the images that the model sees."""
    return build_prompt(query, engine.limits, engine.profile).answer_resizes[-1]


def _sight(
    picture: Picture, answers: Sequence[tuple[float, float] | None], engine: Engine
) -> Sight:
    """Convert marks and answers to pixels of the image that the model sees."""
    resize = _resize(picture.queries[0], engine)
    scale = np.array(resize.to_model(1.0, 1.0))
    points = np.array([(np.nan, np.nan) if answer is None else answer for answer in answers])
    return Sight(
        picture.name, (resize.model_width, resize.model_height), picture.marks * scale,
        points * scale, sum(answer is None for answer in answers),
        None if picture.decoys is None else picture.decoys * scale, engine.profile)


def grounding_of(
    engine: Engine, config: EngineConfig, cancelled: Cancelled | None = None, url: str = ''
) -> Grounding:
    """Test an engine, or its server with this URL, as its configuration says.

    Raises:
        GroundingError: the model is wrong, and ``grounding_test`` is refuse.
        MimoError: as ``check_grounding`` does.

    """
    if config.grounding_test == 'off':
        return Grounding()
    report = check_grounding(engine, config.grounding_pictures, cancelled=cancelled)
    if report.right:
        return Grounding(GroundingState.RIGHT, report.sentence)
    grounding = Grounding(GroundingState.WRONG, report.sentence)
    if config.grounding_test == 'refuse':
        raise GroundingError.of(grounding, engine.info, url)
    return grounding
