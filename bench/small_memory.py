"""Send random requests to an engine on a small device, and compare each with its answer alone.

The device gives keys and values a fixed number of bytes. In the first half of the run the engine
knows it, and lets requests wait. In the second half it believes that there is more, and passes fail
at random, as when other programs take memory: answers leave the batch and go on later. It fails
when a request gets no answer, two, or another one than alone, or a delta twice. Run it by
``make soak``.
"""

from __future__ import annotations

import argparse
import json
import random
import threading
import time
import weakref
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mimo_embodied_ros.core.errors import CancelledError, MimoError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.engine.job import Job
from mimo_embodied_ros.engine.scheduler import Scheduler
from mimo_embodied_ros.share import embedded_model
from mimo_embodied_ros.worlds import table_scene

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.engine import Reply

AT_ONCE, FIT = 8, 6  # answers; the device has room for so many of the largest ones
LONGEST = 300  # tokens of an answer
SMALLER = 2  # times the largest answer: what there is in the second half
FAIL = 0.02  # share of the passes in it
WAIT_S = 600.0  # a longer wait is a hang
TEXTS = (
    (Task.PLAN, 'put the red cube in the blue bowl'), (Task.POINTS, 'the green ball'),
    (Task.BOXES, 'the blue bowl'), (Task.SPATIAL, 'Is the red cube left of the blue bowl?'),
    (Task.ASK, 'What do you see?'))


class SmallDevice:
    """Gives an engine's keys and values at most so many bytes; more raise OutOfMemoryError.

    Attributes:
        capacity: bytes.
        peak: most bytes that were in use at once.
        refused: how often there were too few.

    """

    def __init__(self, engine: Any, capacity: int) -> None:
        """Take the place of the allocator of an idle engine's keys and values."""
        memory = engine._batch.memory
        self.capacity, self.peak, self.refused, self.used = capacity, 0, 0, 0
        self._allocate: Callable[[Sequence[int]], torch.Tensor] = memory.allocate
        memory.allocate = self.allocate

    def allocate(self, shape: Sequence[int]) -> torch.Tensor:
        """Return a new tensor, as long as there is memory for it."""
        tensor = self._allocate(shape)
        if self.used + tensor.nbytes > self.capacity:
            self.refused += 1
            msg = f'{tensor.nbytes} bytes more than {self.used} of {self.capacity}'
            raise torch.OutOfMemoryError(msg)
        self.used += tensor.nbytes
        self.peak = max(self.peak, self.used)
        weakref.finalize(tensor, self._free, tensor.nbytes)  # counted by Python, not the engine
        return tensor

    def _free(self, size: int) -> None:
        self.used -= size


class Failures:
    """Raises torch.OutOfMemoryError in passes of the model, as if others had taken the memory.

    Attributes:
        fails: says it of a pass, by its number of new tokens and its rows.
        raised: how often.

    """

    def __init__(self, engine: Any, fails: Callable[[int, Sequence[Any]], bool]) -> None:
        """Stand before the passes of an engine."""
        self.fails, self.raised, decoder = fails, 0, engine._batch._decoder
        forward = decoder.forward

        def guarded(hidden: Any, positions: Any, rows: Any, *more: Any, **options: Any) -> Any:
            if self.fails(hidden.shape[1], rows):
                self.raised += 1
                msg = 'another program took the memory'
                raise torch.OutOfMemoryError(msg)
            return forward(hidden, positions, rows, *more, **options)

        decoder.forward = guarded


class Tokens:
    """Notes the tokens of each answer, which a reply does not have."""

    def __init__(self, engine: Any) -> None:
        """Stand before the batch of an engine."""
        self._engine, self._of_thread = engine, threading.local()
        submit = engine._batch.submit

        def noted(generation: Any) -> None:
            self._of_thread.generation = generation
            submit(generation)

        engine._batch.submit = noted

    def generate(self, prompt: Prompt, **options: Any) -> tuple[Reply, list[int]]:
        """Answer as the engine does, and return the tokens with the reply."""
        reply = self._engine.generate(prompt, **options)
        return reply, self._of_thread.generation.tokens


@dataclass
class Asked:
    """One request.

    Attributes:
        prompt: the question.
        limit: tokens of its answer.
        cancel_at: number of tokens at which it is cancelled; 0 is never.
        deltas: the text as it came.
        ends: what it got, an error or a reply with its tokens.

    """

    prompt: Prompt
    limit: int
    cancel_at: int
    deltas: list[str] = field(default_factory=list)
    ends: list[Any] = field(default_factory=list)


class _Question(Job):
    """A request in the queue."""

    def __init__(self, asked: Asked, tokens: Tokens, scheduler: Scheduler,
                 rng: random.Random, ended: threading.Semaphore) -> None:
        super().__init__(caller=rng.choice('abc'), priority=rng.choice((0, 0, 1, 9)))
        self._asked, self._tokens, self._scheduler, self._ended = asked, tokens, scheduler, ended

    def run(self) -> tuple[Reply, list[int]]:
        asked = self._asked

        def on_text(text: str, count: int) -> None:
            asked.deltas.append(text)
            if asked.cancel_at and count >= asked.cancel_at:
                self._scheduler.cancel(self)

        return self._tokens.generate(
            asked.prompt, max_new_tokens=asked.limit, on_text=on_text, cancelled=self.stopped)

    def finish(self, result: Any, error: MimoError | None) -> None:
        self._asked.ends.append(error or result)
        self._ended.release()


def requests(rng: random.Random, count: int, limits: Any) -> list[Asked]:
    """Draw requests of all lengths, with no image up to three, some to be cancelled."""
    frames = [Frame(table_scene.draw_table(rng, 640, 480).pixels) for _ in range(12)]
    out = []
    for _ in range(count):
        task, text = rng.choice(TEXTS)
        pictures = 1 if task is not Task.ASK else rng.randint(0, 3)
        if task is Task.ASK:
            text += ' Look at the table, and tell it.' * rng.choice((0, 0, 1, 5, 15))
        query = Query(task, text, tuple(rng.sample(frames, pictures)))
        out.append(Asked(build_prompt(query, limits), rng.choice((4, 40, LONGEST, LONGEST)),
                         rng.randint(1, 12) if rng.random() < 0.2 else 0))
    return out


def run(count: int, seed: int) -> dict[str, Any]:
    """Return the report of ``count`` requests, half of them with a wrong budget."""
    rng = random.Random(f'small memory {seed}')
    engine_settings = EngineConfig(
        embedded_model(), device='cpu', threads=1, max_batch=AT_ONCE, longest_answer=LONGEST)
    alone = load_engine(replace(engine_settings, max_batch=1, draft_tokens=0))
    engine: Any = load_engine(engine_settings)
    asked = requests(rng, count, engine.limits)
    memory = engine._batch.memory
    largest = max(memory.cost(len(engine._encoder.encode(a.prompt).tokens) + a.limit)
                  for a in asked)
    measured = memory.budget
    device = SmallDevice(engine, FIT * largest)
    memory.limit(device.capacity)
    failures = Failures(engine, lambda *_: False)
    begin = time.monotonic()
    tokens, halves = Tokens(engine), []
    for half in (asked[: count // 2], asked[count // 2 :]):
        before = device.refused, failures.raised, engine.memory().preempted
        device.peak = 0
        _ask(half, tokens, rng)
        _wait_for(lambda: not memory.bytes)
        halves.append({
            'requests': len(half), 'budget_bytes': memory.budget,
            'device_bytes': device.capacity, 'peak_bytes': device.peak,
            'idle_bytes': memory.bytes, 'allocations_refused': device.refused - before[0],
            'passes_failed': failures.raised - before[1],
            'preempted': engine.memory().preempted - before[2]})
        memory.budget, device.capacity = measured, SMALLER * largest
        # only what is beside others, or has begun, may fail; the first such pass does in any case
        failures.fails = lambda tokens, _rows: (
            tokens <= 1 + engine_settings.draft_tokens or bool(engine._batch._rows)
        ) and (not failures.raised or rng.random() < FAIL)
    seconds = time.monotonic() - begin
    engine.close()
    wrong = _compare(asked, Tokens(alone))
    alone.close()
    ends = Counter(
        end.code.name if isinstance(end, MimoError) else end[0].finish_reason
        for a in asked for end in a.ends)
    return {
        'requests': count, 'seconds': round(seconds, 1), 'largest_bytes': largest,
        'known_budget': halves[0], 'wrong_budget': halves[1], 'ends': dict(ends.most_common()),
        'unanswered': sum(not a.ends for a in asked),
        'answered_twice': sum(len(a.ends) > 1 for a in asked), 'wrong': wrong}


def _ask(asked: Sequence[Asked], tokens: Tokens, rng: random.Random) -> None:
    """Send requests and wait for their ends."""
    scheduler, ended = Scheduler(len(asked), AT_ONCE), threading.Semaphore(0)
    scheduler.start()
    for request in asked:
        scheduler.submit(_Question(request, tokens, scheduler, rng, ended))
    for _ in asked:
        if not ended.acquire(timeout=WAIT_S):
            break
    scheduler.stop()


def _wait_for(done: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not done() and time.monotonic() < end:
        time.sleep(0.01)


def _compare(asked: Sequence[Asked], alone: Tokens) -> list[str]:
    """Return what differs from the answers that the requests get alone."""
    wrong = []
    for number, request in enumerate(asked):
        reply, expected = alone.generate(request.prompt, max_new_tokens=request.limit)
        text = ''.join(request.deltas)
        end = request.ends[0] if request.ends else None
        if isinstance(end, CancelledError):
            if not request.cancel_at or not reply.text.startswith(text):
                wrong.append(f'{number}: cancelled after {text!r}, alone {reply.text!r}')
        elif isinstance(end, MimoError) or end is None:
            wrong.append(f'{number}: {end}')
        elif (end[1], end[0].finish_reason, text) != (expected, reply.finish_reason, reply.text):
            wrong.append(f'{number}: {text!r}, alone {reply.text!r}')
    return wrong


def faults(report: dict[str, Any]) -> list[str]:
    """Return the failures in a report."""
    problems = [f'{name}: {report[name]}' for name in ('unanswered', 'answered_twice', 'wrong')
                if report[name]]
    known, wrong = report['known_budget'], report['wrong_budget']
    if known['allocations_refused'] or known['preempted']:
        problems.append('the budget was not kept')
    if not (wrong['allocations_refused'] and wrong['passes_failed'] and wrong['preempted']):
        problems.append('memory never ended')
    if known['idle_bytes'] or wrong['idle_bytes']:
        problems.append('memory was not given back')
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--requests', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('bench_out/small_memory.json'))
    options = parser.parse_args()
    report = run(options.requests, options.seed)
    report['faults'] = faults(report)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + '\n', 'utf-8')
    print(json.dumps(report, indent=2))
    return bool(report['faults'])


if __name__ == '__main__':
    raise SystemExit(main())
