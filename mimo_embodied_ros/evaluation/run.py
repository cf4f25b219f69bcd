"""Run a model on the questions of a dataset, and score its answers.

The model's replies are kept in ``replies.jsonl``, a line for each question, so that a run that was
stopped can continue. The scores are computed from this file each time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tqdm import tqdm

from mimo_embodied_ros.core.errors import (
    CancelledError,
    InvalidRequestError,
    MimoError,
    ResultCode,
)
from mimo_embodied_ros.core.files import parse_json, reason
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.profiles import MIMO_EMBODIED
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query, subject
from mimo_embodied_ros.engine.answering import answer_query

from .ground_truth import HIDDEN, METRES
from .media import read_frames
from .side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mimo_embodied_ros.core.answers import Content
    from mimo_embodied_ros.core.profiles import Profile
    from mimo_embodied_ros.core.resize import PixelLimits
    from mimo_embodied_ros.engine import Engine
    from mimo_embodied_ros.engine.early_end import Cancelled

    from .dataset import Record

# After these errors all further questions would fail, too.
_FATAL = (ResultCode.MODEL_NOT_READY, ResultCode.BACKEND_UNREACHABLE)
_ENDINGS = {ResultCode.OUTPUT_TRUNCATED: 'length', ResultCode.TIMEOUT: 'deadline'}


@dataclass(frozen=True)
class Prediction:
    """The model's reply to one question, a line of ``replies.jsonl``.

    Attributes:
        key: of the record.
        id: of the record, for people.
        text: everything that the model wrote.
        finish_reason: as in ``Reply``.
        code: name of the error; '' if there was none.
        message: of the error.
        seconds: from the question to the end of the answer.
        attempts: how often the question was asked.

    """

    key: str
    id: str
    text: str
    finish_reason: str
    code: str
    message: str
    seconds: float
    attempts: int = 1


@dataclass(frozen=True)
class Outcome:
    """The score of an answer.

    Attributes:
        record: the question.
        prediction: the model's reply.
        content: the parsed answer; None if it could not be parsed.
        score: in the metric of the record's truth; None for a path that cannot be measured.
        code: name of the error; '' if there was none.

    """

    record: Record
    prediction: Prediction
    content: Content | None
    score: float | None
    code: str = ''

    @property
    def badness(self) -> float:
        """From 0, the best score, to 1; comparable between metrics."""
        if self.score is None:
            return 1.0
        return 1 - 1 / (1 + self.score) if self.record.truth.metric == METRES else 1 - self.score


class Replies:
    """The file ``replies.jsonl``, written line by line, by any thread."""

    def __init__(self, path: Path, about: dict[str, str | int]) -> None:
        """Open or make a file.

        Args:
            path: the file; its folder is made.
            about: the model and how it is asked; replies with other settings must not be mixed.

        Raises:
            InvalidRequestError: the file is of other settings, or damaged.

        """
        self._predictions: dict[str, Prediction] = {}
        self._lock = threading.Lock()
        first = json.dumps(about)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            written = path.read_bytes() if path.exists() else b''
            complete = written[: written.rfind(b'\n') + 1]  # without a line that was cut short
            lines = complete.decode('utf-8').splitlines()
            if lines and lines[0] != first:
                msg = (f'{path} holds the replies of {lines[0]}, and this run is of {first}; give '
                       'another folder, or delete the file')
                raise InvalidRequestError(msg)
            for line in lines[1:]:
                prediction = Prediction(**parse_json(line))
                self._predictions[prediction.key] = prediction
            self._file = path.open('r+b' if written else 'wb')
            self._file.truncate(len(complete))
            self._file.seek(len(complete))
        except (OSError, TypeError, ValueError) as error:
            cause = reason(error, named=False) if isinstance(error, OSError) else error
            msg = f'{path} cannot be used ({cause}); give another folder, or delete the file'
            raise InvalidRequestError(msg) from error
        if not lines:
            self._write(first)

    def get(self, record: Record) -> Prediction | None:
        """Return the reply to a record; None if there is none, or only an error."""
        prediction = self._predictions.get(record.key)
        return prediction if prediction is not None and prediction.text else None

    def add(self, prediction: Prediction) -> None:
        """Write a reply to the file at once, so that it outlives this process."""
        with self._lock:
            self._predictions[prediction.key] = prediction
            self._write(json.dumps(dataclasses.asdict(prediction)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, line: str) -> None:
        try:
            self._file.write(line.encode() + b'\n')
            self._file.flush()
        except OSError as error:
            msg = f'{self._file.name} cannot be written: {reason(error)}; run again to continue'
            raise InvalidRequestError(msg) from error


def evaluate(
    engine: Engine, records: Iterable[Record], out: Path, *, timeout: float = 0.0,
    retry: bool = False, stop_early: bool = True, system: str = '', thinking_tokens: int = 0,
    parallel: int = 1,
) -> list[Outcome]:
    """Answer the questions without a reply, with a progress bar, and score all answers.

    Args:
        engine: a loaded model.
        records: the dataset.
        out: folder of ``replies.jsonl``.
        timeout: seconds for an answer; 0 is no limit.
        retry: ask once more, with the answer held to its grammar, where an answer cannot be read;
            the benchmarks take the first answer.
        stop_early: as in the engine's configuration; kept with the replies.
        system: system prompt; empty: that of each task, else of the chat template.
        thinking_tokens: most tokens of reasoning; 0: no limit of its own.
        parallel: questions that are asked at once.

    Raises:
        InvalidRequestError: the replies in the folder are of other settings; a picture or video is
            missing or does not fit its mask.
        BadEncodingError: a picture or video cannot be read.
        ModelNotReadyError, BackendUnreachableError: the model is gone; run again to continue.

    """
    info = engine.info
    replies = Replies(out / 'replies.jsonl', {
        'model': info.name, 'dtype': info.dtype, 'min_pixels': info.min_pixels,
        'max_pixels': info.max_pixels,
        # in float32 all answers are the same, deterministic or not
        **({'profile': info.profile} if info.profile != MIMO_EMBODIED.name else {}),
        **({'deterministic': True} if info.deterministic and info.dtype != 'float32' else {}),
        # only what is not usual, so that older runs can continue
        **({'retry': True} if retry else {}), **({} if stop_early else {'stop_early': False}),
        **({'system': system} if system else {}),
        **({'thinking_tokens': thinking_tokens} if thinking_tokens else {})})

    def answer(record: Record, cancelled: Cancelled) -> Outcome:
        frames = read_frames(record, engine.limits)
        query = Query(record.task, record.question, frames, thinking=record.thinking,
                      options=record.options, experimental=record.task.experimental,
                      retry=retry, system=system, thinking_tokens=thinking_tokens)
        prediction = replies.get(record)
        if prediction is None:
            prediction = ask_engine(engine, record, query, timeout, cancelled)
            replies.add(prediction)
        return judge(record, prediction, query, engine.limits, engine.profile)

    asked = list(records)
    try:
        with contextlib.closing(side_by_side(answer, asked, parallel)) as done:
            outcomes = dict(tqdm(done, total=len(asked), unit='question', disable=None))
    finally:
        replies.close()
    return [outcomes[index] for index in range(len(asked))]


def judge(
    record: Record, prediction: Prediction, query: Query, limits: PixelLimits,
    profile: Profile = MIMO_EMBODIED,
) -> Outcome:
    """Parse an answer and score it; an answer that cannot be parsed gets the worst score.

    Raises:
        InvalidRequestError: the truth does not fit the image.

    """
    worst = None if record.truth.metric in (METRES, HIDDEN) else 0.0
    if not prediction.text:
        code = prediction.code or ResultCode.EMPTY_ANSWER.name
        return Outcome(record, prediction, None, worst, code)
    try:
        prompt = build_prompt(query, limits, profile)
        content = parse_answer(query, prompt, prediction.text, prediction.finish_reason).content
    except MimoError as error:
        return Outcome(record, prediction, None, worst, error.code.name)
    frame = subject(record.task, query.frames)
    size = (frame.width, frame.height) if frame else (0, 0)
    try:
        score = record.truth.score(content, size)
    except ValueError as error:
        msg = f'{record.place}: {error}'
        raise InvalidRequestError(msg) from error
    failed = score is None and record.truth.metric != HIDDEN
    code = ResultCode.PARSE_FAILED.name if failed else ''
    return Outcome(record, prediction, content, score, code)


def ask_engine(
    engine: Engine, record: Record, query: Query, timeout: float,
    cancelled: Cancelled | None = None,
) -> Prediction:
    """Ask a model in this process or on servers; an error is a prediction, too.

    Raises:
        ModelNotReadyError, BackendUnreachableError: the model is gone.
        CancelledError: ``cancelled`` has returned True.

    """
    begin = time.monotonic()
    query = dataclasses.replace(query, deadline=begin + timeout if timeout else None)
    text, ending, code, message, attempts = '', 'stop', '', '', 1
    try:
        _, reply = answer_query(engine, query, cancelled=cancelled)
        text, ending, attempts = reply.text, reply.finish_reason, reply.attempts
    except MimoError as error:
        if error.code in _FATAL or isinstance(error, CancelledError):
            raise
        text, ending = error.raw_text, _ENDINGS.get(error.code, 'stop')
        code, message = error.code.name, str(error)
        attempts = error.reply.attempts if error.reply is not None else 1
    seconds = round(time.monotonic() - begin, 3)
    return Prediction(record.key, record.id, text, ending, code, message, seconds, attempts)
