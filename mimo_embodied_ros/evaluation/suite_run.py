"""Ask the questions of the report's benchmarks as the vendor asked them, and score the answers.

The model is asked by an `Asker`: in this process, on servers, or through a node. Its replies are
kept in ``OUT/<benchmark>/replies.jsonl``, from which a run goes on and all scores are made.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tqdm import tqdm

from mimo_embodied_ros.core.errors import MimoError, ResultCode
from mimo_embodied_ros.core.profiles import MIMO_EMBODIED
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query

from . import exports
from .answered import Answered
from .ground_truth import HIDDEN
from .judges import OPTIONS, Judges
from .media import read_frames
from .run import Outcome, Prediction, Replies, ask_engine, judge
from .side_by_side import side_by_side
from .suite import Benchmark, read_benchmark
from .tally import POOLED, Tally, combined, interval
from .vendor_rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mimo_embodied_ros.core.profiles import Profile
    from mimo_embodied_ros.core.resize import PixelLimits
    from mimo_embodied_ros.engine import Engine
    from mimo_embodied_ros.engine.early_end import Cancelled

    from .dataset import Record

SYSTEM = 'You are a helpful assistant.'
MAX_NEW_TOKENS = 16384
"""The vendor's README says 32768; its wrapper ``mivllm.py`` allows no more than this."""
MAX_PIXELS = 4096 * 28 * 28
"""Of an image, pixels; 4096 tokens."""

OK, NO_DATA, NEEDS_JUDGE, PARTIAL, FAILED, NOT_RUN = (
    'ok', 'no data', 'needs judge', 'partial', 'failed', 'not run')
"""States of a row."""

_FATAL = (ResultCode.MODEL_NOT_READY, ResultCode.BACKEND_UNREACHABLE)


class Asker(Protocol):
    """Who answers the questions."""

    @property
    def about(self) -> dict[str, str | int]:
        """The model and how it is asked; replies of others are not mixed with its."""
        ...

    @property
    def limits(self) -> PixelLimits:
        """The image areas that the model sees."""
        ...

    @property
    def profile(self) -> Profile:
        """How the model writes its answers."""
        ...

    def ask(
        self, record: Record, query: Query, cancelled: Cancelled | None = None
    ) -> Prediction:
        """Answer a question; where questions are asked at once, threads call this.

        Raises:
            CancelledError: ``cancelled`` has returned True.
            ModelNotReadyError, BackendUnreachableError: all further questions would fail, too.

        """
        ...


class EngineAsker:
    """Asks a model in this process or on servers."""

    def __init__(self, engine: Engine, timeout: float = 0.0) -> None:
        """Take a loaded model.

        Args:
            engine: the model.
            timeout: seconds for an answer; 0 is no limit.

        """
        self._engine, self._timeout = engine, timeout

    @property
    def about(self) -> dict[str, str | int]:
        """See `Asker`."""
        info = self._engine.info
        return {'model': info.name, 'dtype': info.dtype, 'min_pixels': info.min_pixels,
                'max_pixels': info.max_pixels,
                **({'profile': info.profile} if info.profile != MIMO_EMBODIED.name else {})}

    @property
    def limits(self) -> PixelLimits:
        """See `Asker`."""
        return self._engine.limits

    @property
    def profile(self) -> Profile:
        """See `Asker`."""
        return self._engine.profile

    def ask(
        self, record: Record, query: Query, cancelled: Cancelled | None = None
    ) -> Prediction:
        """See `Asker`."""
        return ask_engine(self._engine, record, query, self._timeout, cancelled)


@dataclass
class Row:
    """One benchmark of the report; scores are percent.

    Attributes:
        name: of the benchmark.
        title: in the report.
        field: embodied or driving.
        published: the vendor's score.
        state: one of the states above.
        reason: of a state that is not ok, and what to do.
        ours: our score by the vendor's rule; None where there is none.
        robot: our score by the reading that a robot trusts.
        difference: ours less the published one.
        interval: of ours, 95 %.
        interval_by: ``bootstrap`` or ``wilson``.
        answered: number of questions that were answered.
        questions: number of questions that there are.
        failures: number of answers that a robot cannot read, by code.
        parts: by name: metric, number of answers, and both scores.
        exports: files for the benchmark's own judges.

    """

    name: str
    title: str
    field: str
    published: float
    state: str = NOT_RUN
    reason: str = ''
    ours: float | None = None
    robot: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    interval_by: str = ''
    answered: int = 0
    questions: int = 0
    failures: dict[str, int] = dataclasses.field(default_factory=dict)
    parts: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    exports: list[str] = dataclasses.field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)


def run_suite(
    benchmarks: Sequence[Benchmark], data: Path, out: Path, asker: Asker, judges: Judges, *,
    limit: int = 0, only: Sequence[str] = (), parallel: int = 1,
) -> Iterator[Row]:
    """Yield a row for each benchmark as soon as it is measured.

    A benchmark that fails is a row with its reason, and the others go on; after an interrupt, or
    when the model is gone, the rest is not run.

    Args:
        benchmarks: of the table.
        data: folder of the benchmarks' folders.
        out: for replies, exports and pictures.
        asker: answers the questions.
        judges: that there are.
        limit: questions of each part, the first ones; 0: all.
        only: names of the benchmarks to run; empty: all.
        parallel: questions that are asked at once.

    """
    stopped = ''
    for benchmark in benchmarks:
        row = Row(benchmark.name, benchmark.title, benchmark.field, benchmark.published)
        if only and benchmark.name not in only:
            pass  # the state says it
        elif stopped:
            row.reason = stopped
        else:
            try:
                stopped = _measure(row, benchmark, data, out, asker, judges, limit, parallel)
            except MimoError as error:
                row.state, row.reason = FAILED, f'{error.code.name}: {error}'
                if error.code in _FATAL:
                    stopped = 'the model is gone; run again to go on'
            except KeyboardInterrupt:
                stopped = row.reason = 'interrupted; run again to go on'
        yield row


def _measure(
    row: Row, benchmark: Benchmark, data: Path, out: Path, asker: Asker, judges: Judges,
    limit: int, parallel: int,
) -> str:
    """Fill a row; return why the run stops here, or ''."""
    records = read_benchmark(benchmark, data, limit=limit, unpacked=out / 'pictures')
    row.questions = len(records)
    if not records:
        row.state, row.reason = NO_DATA, f'put its files into {data / benchmark.name}'
        return ''
    folder = out / benchmark.name
    replies = Replies(folder / 'replies.jsonl', {**asker.about, 'system': SYSTEM})

    def answer(record: Record, cancelled: Cancelled) -> tuple[Outcome, Any]:
        query = Query(
            record.task, record.question, read_frames(record, asker.limits),
            thinking=record.thinking, options=record.options, system=SYSTEM,
            max_new_tokens=MAX_NEW_TOKENS, experimental=record.task.experimental)
        prediction = replies.get(record)
        if prediction is None:
            prediction = asker.ask(record, query, cancelled)
            replies.add(prediction)
        return judge(record, prediction, query, asker.limits, asker.profile), _resize(query, asker)

    found, stopped = dict[int, tuple[Outcome, Any]](), ''
    bar = tqdm(total=len(records), desc=benchmark.title, unit='question', disable=None)
    try:
        with contextlib.closing(side_by_side(answer, records, parallel)) as done:
            for index, judged in done:
                found[index] = judged
                bar.update()
    except KeyboardInterrupt:
        stopped = 'interrupted; run again to go on'
    finally:
        bar.close()
        replies.close()
    outcomes = [found[index] for index in sorted(found)]
    answers = [Answered(o.record, o.prediction.text, o.content, o.score, scale)
               for o, scale in outcomes]
    first_error = next((f'{o.code}: {o.message}' for o in (o.prediction for o, _ in outcomes)
                        if not o.text and o.code), '')
    row.answered, row.failures = len(answers), dict(Counter(o.code for o, _ in outcomes if o.code))
    if answers and not any(answered.text for answered in answers):
        row.state, row.reason = FAILED, first_error or 'the model wrote nothing'
    elif answers:
        row.exports = [str(file) for file in exports.write(benchmark.name, answers, folder)]
        _score(row, benchmark, answers, judges)
    _judge_state(row, benchmark, answers, limit, stopped)
    return stopped


def _resize(query: Query, asker: Asker) -> Any:
    """Return the scale between the first frame and what the model saw; None without frames."""
    if not query.frames:
        return None
    return build_prompt(query, asker.limits, asker.profile).resizes[0]


def _score(row: Row, benchmark: Benchmark, answers: Sequence[Answered], judges: Judges) -> None:
    """Fill in the scores, where all judges are there that they need."""
    needed = {RULES[part.metric].needs for part in benchmark.parts} - {''}
    absent = [OPTIONS[name] for name in sorted(needed) if getattr(judges, name) is None]
    if any(answered.record.truth.metric == HIDDEN for answered in answers):
        row.state = NEEDS_JUDGE
        row.reason = ('its right answers are not published, so no judge here can rate it: send the '
                      'export to its own judge')
        return
    if absent:
        row.state, row.reason = NEEDS_JUDGE, f'give {", ".join(absent)}'
    vendor, robot = dict[str, Tally](), dict[str, Tally]()
    for part in benchmark.parts:
        rule = RULES[part.metric]
        own = [a for a in answers if a.record.category == part.name]
        if not own or (rule.needs and getattr(judges, rule.needs) is None):
            continue
        vendor[part.name], robot[part.name] = rule.vendor(own, judges), rule.ours(own, judges)
        row.parts[part.name] = {
            'metric': part.metric, 'answered': len(own),
            'ours': _percent(vendor[part.name].score()),
            'robot': _percent(robot[part.name].score())}
    if row.state == NEEDS_JUDGE or not vendor:
        return
    if benchmark.combine in POOLED and len(benchmark.parts) > 1:
        rule = RULES[benchmark.parts[0].metric]
        vendor = {'all': rule.vendor(answers, judges)}
        robot = {'all': rule.ours(answers, judges)}
    row.ours = _percent(combined(vendor, benchmark.combine))
    row.robot = _percent(combined(robot, benchmark.combine))
    row.difference = round(row.ours - row.published, 2)
    low, high, row.interval_by = interval(vendor, benchmark.combine)
    row.interval = _percent(low), _percent(high)


def _judge_state(
    row: Row, benchmark: Benchmark, answers: Sequence[Answered], limit: int, stopped: str
) -> None:
    """Say whether all of a benchmark was measured; the graver states are there already."""
    if row.state in (FAILED, NEEDS_JUDGE):
        return
    counts = Counter(answered.record.category for answered in answers)
    without = [part.name for part in benchmark.parts if not counts[part.name]]
    row.state = PARTIAL
    if stopped:
        row.reason = f'{row.answered} of {row.questions}; {stopped}'
    elif without:
        row.reason = f'{row.answered} of {row.questions}, none of {", ".join(without)}'
    elif limit and any(count >= limit for count in counts.values()):
        row.reason = f'the first {limit} of each part'
    else:
        row.state = OK


def _percent(share: float) -> float:
    return round(100 * share, 2)
