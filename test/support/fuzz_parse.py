"""Feeds made-up outputs of all tasks to the parser; ``make fuzz`` runs it.

The outputs are mutations of the conformance file and random strings of what answers are made of.
Nothing but the package's own errors may be raised, and what is read must be derivable from the text
(`support.derivable`).
"""

from __future__ import annotations

import argparse
import collections
import random
import re
import time
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import MimoError
from mimo_embodied_ros.core.tasks import TASKS
from support.conformance import RECORDS, answer_to
from support.derivable import check_derivable

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def run(count: int, seed: int) -> collections.Counter[str]:
    """Parse so many outputs and count the kinds of answers and errors."""
    outcomes: collections.Counter[str] = collections.Counter()
    for record in outputs(count, seed):
        try:
            answer = answer_to(record)
        except MimoError as error:
            outcomes[error.code.name] += 1
            continue
        check_derivable(record, answer)
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
