"""Feeds made-up outputs of all tasks to the parser; ``make fuzz`` runs it.

The outputs are mutations of the conformance file and random strings of what answers are made of.
Nothing but the package's own errors may be raised, and no number and no coordinate may be in an
answer that is not in the text.
"""

from __future__ import annotations

import argparse
import collections
import random
import re
import time
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.answers import DrivingDecision, SpatialAnswer, Trajectory
from mimo_embodied_ros.core.characters import to_ascii
from mimo_embodied_ros.core.errors import MimoError
from mimo_embodied_ros.core.tasks import TASKS, Positions
from support.conformance import RECORDS, answer_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mimo_embodied_ros.core.answers import Answer

_NUMBER = re.compile(r'-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?')
_TO_TEXT = (1.0, 3.6, 1 / 0.44704)  # from metres a second to the units that speeds come in
_FINISH = ('stop',) * 8 + ('length', 'repetition')
_OPTIONS = (['move left', 'stop', 'B', '3'], ['0', '1', '2', '3'], ['yes', 'no'])
PIECES = (
    '[', ']', '{', '}', '(', ')', '"', "'", ',', ', ', ':', ': ', ' ', '\n', '\t', '\\', '`', '$',
    '```json\n', '```', '<think>', '</think>', '<think>\n</think>\n\n', '\\boxed{', '\\text{', '.',
    '-', '+', '**', '# ', '1. ', '2) ', '- ', 'Step 1: ', 'yes', 'no', 'A', 'AC', 'B. ', '(C)', 'm',
    ' km/h', ' m/s', 'NaN', 'true', 'null', 'Infinity', '1e400', '-1e3', '7.5', '"12"', '0', '42',
    '"points": ', '"bbox_2d": ', '"label": ', '"caption": ', '"x": ', '"y": ', '"steps": ',
    '"action": ', 'pick up', 'put', ' the red cube', ' in ', '[57, 80]', '(3, 4)', '[1, 2, 3, 4]',
    '[]', '[{"points": [[57, 80]], "label": "cube"}]', '[{"bbox_2d": [1, 2, 30, 40], "caption": "a',
    '<c1,CAM_BACK,1088.3,497.5>', '<c2,CAM_FRONT,', '[PT, ', '(+1.20, -0.30)', '(0.0, 0.0, 0.1), ',
    'The answer is ', 'stop', 'slow down', ' to 30', 'turn left', 'change lanes to the right',
    ', justification: ', ' because ', 'Decision: ', 'Hazards: ', 'Reason: ', 'Speed: ', 'car',
    'not standing', 'about ', '\u0665', '\ud83d', '\x00', '\u2028', '\uff08', '%', '\u00b0',
)  # fmt: skip


def outputs(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Make records without ``expect``; the same seed gives the same ones."""
    rng = random.Random(seed)
    names = sorted(TASKS)
    for _ in range(count):
        if rng.random() < 0.3:
            task = rng.choice(names)
            text = ''.join(rng.choices(PIECES, k=rng.randrange(1, 30)))
            options = rng.choice(_OPTIONS)
        else:
            record = rng.choice(RECORDS)
            # sometimes the answer to another question
            task = record['task'] if rng.random() < 0.7 else rng.choice(names)
            text = record['text']
            options = record.get('options') or rng.choice(_OPTIONS)
            for _ in range(rng.randrange(5)):
                text = mutated(rng, text)
        if not TASKS[task].options:
            options = []
        yield {'task': task, 'text': text, 'finish': rng.choice(_FINISH), 'options': options}


def mutated(rng: random.Random, text: str) -> str:
    """Change one thing about a text."""
    start = rng.randrange(len(text) + 1)
    end = min(len(text), start + rng.choice((0, 1, 1, 2, 5, 20)))
    piece = text[start:end]
    other = rng.choice(RECORDS)['text']
    cut = rng.randrange(len(other) + 1)
    return text[:start] + rng.choice((
        text[end:],
        piece * rng.choice((2, 3, 100)) + text[end:],
        rng.choice(PIECES) + text[end:],
        rng.choice(PIECES) + text[start:],
        ''.join(rng.sample(piece, len(piece))) + text[end:],
        re.sub('[0-9]', lambda _: str(rng.randrange(10)), text[start:]),
        '',
        other[cut:],
    ))  # fmt: skip


def check(record: dict[str, Any], answer: Answer) -> None:
    """Raise an AssertionError if the answer holds a number that its text does not hold."""
    answer_text = to_ascii(record['text'].rpartition('</think>')[2])
    in_text = {float(number) for number in _NUMBER.findall(answer_text)}
    original = TASKS[record['task']].coordinates is Positions.ORIGINAL
    for number in _numbers(answer, original=original):
        close = (s for s in in_text if abs(s - number) <= 1e-6 * max(1.0, abs(s)))
        assert next(close, None) is not None, (number, record)
    speed = getattr(answer.content, 'target_speed', None)
    if speed is not None:
        assert any(abs(speed * unit - s) < 1e-6 for unit in _TO_TEXT for s in in_text), record


def _numbers(answer: Answer, *, original: bool) -> Iterator[float]:
    """Yield every number of an answer, positions as the model counts them."""
    content = answer.content
    marks = [*getattr(content, 'points', ()), *getattr(content, 'boxes', ())]
    if isinstance(content, DrivingDecision):
        marks += [hazard.box for hazard in content.hazards if hazard.box]
    if isinstance(content, Trajectory):
        for point in marks:
            yield from (point.x, point.y)
            yield from () if point.heading is None else (point.heading,)
        marks = []
    for step in getattr(content, 'steps', ()):
        marks += step.points
    scale = 1 if original else 2
    for mark in marks:
        names = ('x', 'y') if hasattr(mark, 'x') else ('x_min', 'y_min', 'x_max', 'y_max')
        yield from (getattr(mark, name) / scale for name in names)
    for reference in answer.objects:
        yield from (reference.x, reference.y)
    if isinstance(content, SpatialAnswer) and content.number is not None:
        yield content.number


def run(count: int, seed: int) -> collections.Counter[str]:
    """Parse so many outputs and count the kinds of answers and errors."""
    outcomes: collections.Counter[str] = collections.Counter()
    for record in outputs(count, seed):
        try:
            answer = answer_to(record)
        except MimoError as error:
            outcomes[error.code.name] += 1
            continue
        check(record, answer)
        outcomes[type(answer.content).__name__] += 1
    return outcomes


def main() -> None:
    """Run and print the counts."""
    parser = argparse.ArgumentParser(description='Fuzz the parser.')
    parser.add_argument('--count', type=int, default=100_000, help='outputs (default: 100000)')
    parser.add_argument('--seed', type=int, default=0, help='gives the same outputs again')
    options = parser.parse_args()
    start = time.monotonic()
    outcomes = run(options.count, options.seed)
    seconds = time.monotonic() - start
    print(f'{options.count} outputs with seed {options.seed} in {seconds:.1f} s')
    for name, number in outcomes.most_common():
        print(f'{number:8d} {name}')


if __name__ == '__main__':
    main()
