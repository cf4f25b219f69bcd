"""Ask a model the questions of a dataset, and judge what it says.

What the model wrote is kept in ``replies.jsonl``, a line for each question: a run that was stopped
goes on where it was, and scores are made from there each time.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tqdm import tqdm

from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError, ResultCode
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.engine.answering import answer_query
from mimo_embodied_ros.pictures import read_picture

from .ground_truth import METRES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mimo_embodied_ros.core.answers import Content
    from mimo_embodied_ros.core.resize import PixelLimits
    from mimo_embodied_ros.engine import Engine

    from .dataset import Record

# With these no further question would fare better.
_FATAL = (ResultCode.MODEL_NOT_READY, ResultCode.BACKEND_UNREACHABLE)
_ENDINGS = {ResultCode.OUTPUT_TRUNCATED: 'length', ResultCode.TIMEOUT: 'deadline'}


@dataclass(frozen=True)
class Prediction:
    """What the model said to one question.

    Attributes:
        key: of the record.
        id: of the record, for people.
        text: what it wrote.
        finish_reason: as in ``Reply``.
        code: name of the failure; '' if there was none.
        message: of the failure.
        seconds: from the question to the end of the answer.

    """

    key: str
    id: str
    text: str
    finish_reason: str
    code: str
    message: str
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What an answer was worth.

    Attributes:
        record: what was asked.
        said: what came.
        content: as it was read; None where it could not be.
        score: in the metric of the record's truth; None is a path that cannot be measured.
        code: name of the failure; '' if there was none.

    """

    record: Record
    prediction: Prediction
    content: Content | None
    score: float | None
    code: str = ''

    @property
    def badness(self) -> float:
        """From 0, nothing could be better, to 1; what orders answers of all metrics."""
        if self.score is None:
            return 1.0
        return 1 - 1 / (1 + self.score) if self.record.truth.metric == METRES else 1 - self.score


class Replies:
    """The file of replies, written line by line."""

    def __init__(self, path: Path, about: dict[str, str | int]) -> None:
        """Open or make a file.

        Args:
            path: the file; its folder is made.
            about: model and image sizes; replies with others are not to be mixed.

        Raises:
            InvalidRequestError: it is of another model, or damaged.

        """
        self._predictions: dict[str, Prediction] = {}
        first = json.dumps(about)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            written = path.read_bytes() if path.exists() else b''
            whole = written[: written.rfind(b'\n') + 1]  # a line may have been cut short
            lines = whole.decode('utf-8').splitlines()
            if lines and lines[0] != first:
                msg = (f'{path} holds the replies of {lines[0]}, and now {first} is asked; give '
                       'another folder, or delete the file')
                raise InvalidRequestError(msg)
            for line in lines[1:]:
                prediction = Prediction(**json.loads(line))
                self._predictions[prediction.key] = prediction
            self._file = path.open('r+b' if written else 'wb')
            self._file.truncate(len(whole))
            self._file.seek(len(whole))
        except (OSError, TypeError, ValueError) as error:
            msg = f'{path} cannot be used ({error}); give another folder, or delete the file'
            raise InvalidRequestError(msg) from error
        if not lines:
            self._write(first)

    def get(self, record: Record) -> Prediction | None:
        """What was said; None where nothing was, or only a failure came."""
        prediction = self._predictions.get(record.key)
        return prediction if prediction is not None and prediction.text else None

    def add(self, prediction: Prediction) -> None:
        """Keep a reply, also through the end of this process."""
        self._predictions[prediction.key] = prediction
        self._write(json.dumps(dataclasses.asdict(prediction)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, line: str) -> None:
        self._file.write(line.encode() + b'\n')
        self._file.flush()


def evaluate(
    engine: Engine, records: Iterable[Record], out: Path, *, timeout: float = 0.0
) -> list[Outcome]:
    """Ask what has not been answered yet, with a progress bar, and judge all.

    Args:
        engine: a loaded model.
        records: the dataset.
        out: folder of ``replies.jsonl``.
        timeout: seconds for an answer; 0 is without end.

    Raises:
        InvalidRequestError: the replies there are of another model; a picture is missing or does
            not fit its mask.
        BadEncodingError: a picture cannot be read.
        ModelNotReadyError, BackendUnreachableError: the model is gone; run again to go on.

    """
    info = engine.info
    replies = Replies(out / 'replies.jsonl', {
        'model': info.name, 'dtype': info.dtype, 'min_pixels': info.min_pixels,
        'max_pixels': info.max_pixels})
    outcomes = []
    try:
        for record in tqdm(list(records), unit='question', disable=None):
            frames = tuple(Frame(read_picture(image)) for image in record.images)
            query = Query(record.task, record.question, frames, thinking=record.thinking,
                          options=record.options, experimental=record.task.experimental)
            prediction = replies.get(record)
            if prediction is None:
                prediction = _ask(engine, record, query, timeout)
                replies.add(prediction)
            outcomes.append(judge(record, prediction, query, engine.limits))
    finally:
        replies.close()
    return outcomes


def judge(record: Record, prediction: Prediction, query: Query, limits: PixelLimits) -> Outcome:
    """Read an answer and score it; one that cannot be read is worth nothing.

    Raises:
        InvalidRequestError: the truth does not fit the image.

    """
    nothing = None if record.truth.metric == METRES else 0.0
    if not prediction.text:
        code = prediction.code or ResultCode.EMPTY_ANSWER.name
        return Outcome(record, prediction, None, nothing, code)
    try:
        prompt = build_prompt(query, limits)
        content = parse_answer(query, prompt, prediction.text, prediction.finish_reason).content
    except MimoError as error:
        return Outcome(record, prediction, None, nothing, error.code.name)
    frame = query.frames[0]
    try:
        score = record.truth.score(content, (frame.width, frame.height))
    except ValueError as error:
        msg = f'{record.place}: {error}'
        raise InvalidRequestError(msg) from error
    code = ResultCode.PARSE_FAILED.name if score is None else ''
    return Outcome(record, prediction, content, score, code)


def _ask(engine: Engine, record: Record, query: Query, timeout: float) -> Prediction:
    begin = time.monotonic()
    query = dataclasses.replace(query, deadline=begin + timeout if timeout else None)
    text, ending, code, message = '', 'stop', '', ''
    try:
        _, reply = answer_query(engine, query)
        text, ending = reply.text, reply.finish_reason
    except MimoError as error:
        if error.code in _FATAL:
            raise
        text, ending = error.raw_text, _ENDINGS.get(error.code, 'stop')
        code, message = error.code.name, str(error)
    seconds = round(time.monotonic() - begin, 3)
    return Prediction(record.key, record.id, text, ending, code, message, seconds)
