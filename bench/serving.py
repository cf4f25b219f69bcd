"""Compare the resident engine with plain ``generate``, which is called for each question.

Each engine goes from a query to the text of its answer, on the same frames. They are measured in
turn within each repetition, because the load of a machine changes. The same run checks that greedy
answers have the same tokens, in float32 (``EngineConfig.deterministic`` says why). Run it by
``make bench``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import random
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import growth
import torch
import transformers
from compared_engines import PackageEngine, PlainGenerate, TimedAnswer, with_new_frames
from figures import spread
from workload import POINT, YES_NO, about_new_frames, about_one_frame, long_plan

from mimo_embodied_ros.engine import EngineConfig
from mimo_embodied_ros.share import embedded_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compared_engines import ComparedEngine

    from mimo_embodied_ros.core.query import Query

AT_LEAST = {'same_frame_8q': 5.0, 'seen_frame_yes_no': 3.0, 'decode_one_stream': 2.0,
            'new_frame_8q': 2.0}
AT_MOST = {'ros_added_ms': 5.0, 'cancel_p99_ms': 50.0}
_WARM = 3
_SETTLE_S = 0.05  # so that the threads of the engine before are idle


class AnswerComparison:
    """Compares all answers of the run with those of plain ``generate``, token by token.

    They must be the same, with drafts and without; an answer that was ended because it repeated
    itself must be the beginning of plain ``generate``'s.
    """

    def __init__(self) -> None:
        """Begin without answers."""
        self.compared = self.repeated = 0
        self.other_tokens: list[dict[str, str]] = []

    def compare_tokens(self, query: Query, plain: TimedAnswer, ours: TimedAnswer) -> None:
        """Compare an answer token by token."""
        self.compared += 1
        expected = plain.tokens
        if ours.reason == 'repetition':
            self.repeated += 1
            expected = expected[: len(ours.tokens)]
        if ours.tokens != expected:
            self.other_tokens.append(
                {'question': query.text, 'plain': plain.text, 'ours': ours.text})


class Bench:
    """Measures the engine; each result is a ratio of medians, with its parts."""

    def __init__(self, repetitions: int, seed: int, threads: int) -> None:
        """Load a model for each engine, and let each answer a few questions."""
        model = embedded_model()
        settings = EngineConfig(model, device='cpu')
        self.ours = PackageEngine(settings)  # with the default settings
        self.stepwise = PackageEngine(replace(settings, draft_tokens=0))
        for side in (self.ours, self.stepwise):
            side.engine.warm_up()  # its threads keep the number that they start with
        self.plain = PlainGenerate(model)
        torch.set_num_threads(threads)
        self.answers = AnswerComparison()
        self._repetitions, self._threads = repetitions, threads
        self._rng = random.Random(f'serving {seed}')
        self._sides: dict[str, ComparedEngine] = {
            'plain': self.plain, 'ours': self.ours, 'stepwise': self.stepwise}
        # as in a node that has served for a while, drafts exist for each form of answer
        for _ in range(_WARM):
            queries = about_one_frame(self._rng)
            for side in self._sides.values():
                side.ask_all(queries)

    def close(self) -> None:
        """Free the models."""
        for side in (self.ours, self.stepwise):
            side.close()

    def throughput(self, make: Callable[[random.Random], list[Query]]) -> dict[str, Any]:
        """Measure several questions at once."""
        seconds: dict[str, list[float]] = {name: [] for name in self._sides}
        for repetition in range(self._repetitions):
            queries = make(self._rng)
            written = {}
            for name in self._order(repetition):
                new_queries = with_new_frames(queries)
                begin = time.perf_counter()
                written[name] = self._sides[name].ask_all(new_queries)
                seconds[name].append(time.perf_counter() - begin)
            self._check(queries, written)
        return _ratios(seconds)

    def seen_frame(self) -> dict[str, Any]:
        """Measure a yes/no question on a frame about which another one was asked before."""
        seconds: dict[str, list[float]] = {name: [] for name in self._sides}
        for repetition in range(2 * self._repetitions):
            queries = about_one_frame(self._rng)
            pair = queries[POINT], queries[YES_NO]
            written = {}
            for name in self._order(repetition):
                before, query = with_new_frames(pair)
                self._sides[name].ask(before)
                written[name] = [self._sides[name].ask(query)]
                seconds[name].append(written[name][0].seconds)
            self._check(pair[1:], written)
        return _ratios(seconds)

    def decode(self) -> dict[str, Any]:
        """Measure a long answer alone: seconds per token after the first one."""
        seconds: dict[str, list[float]] = {name: [] for name in self._sides}
        for repetition in range(2 * self._repetitions):
            query = long_plan(self._rng)
            written = {}
            for name in self._order(repetition):
                answer = self._sides[name].ask(*with_new_frames([query]))
                written[name] = [answer]
                seconds[name].append(answer.after_first_s / (len(answer.tokens) - 1))
            self._check([query], written)
        out = _ratios(seconds)
        for name in seconds:
            out[f'{name}_tokens_per_s'] = 1 / out[f'{name}_s']['median']
        return out

    def growth(self, *, quick: bool) -> dict[str, Any]:
        """Measure the scaling with questions, cameras and image tokens."""
        repetitions = 1 if quick else 5
        part = slice(2) if quick else slice(None)
        return {
            'questions': growth.with_questions(
                self.plain, self.ours, growth.QUESTIONS[part], self._rng, repetitions),
            'cameras': growth.with_cameras(
                self.plain, self.ours, growth.CAMERAS[part], self._rng, repetitions),
            'image_tokens': growth.with_image_tokens(
                growth.IMAGE_TOKENS[part], self._rng, min(2, repetitions), self._threads),
        }

    def _order(self, repetition: int) -> list[str]:
        """The names of the engines, with another one first each time."""
        time.sleep(_SETTLE_S)
        names = list(self._sides)
        first = repetition % len(names)
        return names[first:] + names[:first]

    def _check(self, queries: Sequence[Query], written: dict[str, list[TimedAnswer]]) -> None:
        sides = (written[name] for name in ('plain', 'ours', 'stepwise'))
        for query, plain, ours, stepwise in zip(queries, *sides, strict=True):
            self.answers.compare_tokens(query, plain, ours)
            self.answers.compare_tokens(query, plain, stepwise)


def _ratios(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Medians with quartiles, and how many times faster than plain the others are."""
    out: dict[str, Any] = {f'{name}_s': spread(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        if name != 'plain':
            pairs = spread([p / s for p, s in zip(seconds['plain'], values, strict=True)])
            out[f'{name}_ratio'] = {
                **pairs, 'median': out['plain_s']['median'] / out[f'{name}_s']['median']}
    return out


def machine(threads: int) -> dict[str, Any]:
    """Return the machine's properties on which the figures depend."""
    name = re.search(r'model name\s*: (.*)', Path('/proc/cpuinfo').read_text('utf-8'))
    return {
        'processor': name[1] if name else platform.machine(), 'cores': os.cpu_count(),
        'threads': threads, 'load_before': os.getloadavg()[0], 'python': platform.python_version(),
        'torch': torch.__version__, 'transformers': transformers.__version__,
    }


def run(*, quick: bool, seed: int, threads: int) -> dict[str, Any]:
    """Return the report of all measures."""
    about = machine(threads)
    bench = Bench(1 if quick else 15, seed, threads)
    try:
        details = {
            'same_frame_8q': bench.throughput(about_one_frame),
            'seen_frame_yes_no': bench.seen_frame(),
            'decode_one_stream': bench.decode(),
            'new_frame_8q': bench.throughput(about_new_frames),
        }
        figures: dict[str, Any] = {
            name: detail['ours_ratio']['median'] for name, detail in details.items()}
        growth_figures = bench.growth(quick=quick)
    finally:
        bench.close()
    if importlib.util.find_spec('rclpy') is None:
        print('ROS is not installed: what it adds is not measured')
        figures |= dict.fromkeys(AT_MOST)
    else:
        import ros_side

        details['ros'] = ros_side.measure(*((5, 5) if quick else (200, 200)), seed)
        figures |= {'ros_added_ms': details['ros']['added_ms']['median'],
                    'cancel_p99_ms': details['ros']['cancel_p99_ms']}
    answers = bench.answers
    return {
        **figures,
        'token_identical': not answers.other_tokens,
        'targets': {'at_least': AT_LEAST, 'at_most': AT_MOST},
        'machine': about,
        'model': bench.ours.engine.info.name,
        'details': details | {'answers': vars(answers)},
        'growth': growth_figures,
    }


def met(report: dict[str, Any], name: str) -> bool:
    """Return whether a figure exists and reaches its target."""
    value = report[name]
    if value is None:
        return False
    return value >= AT_LEAST[name] if name in AT_LEAST else value <= AT_MOST[name]


def table(report: dict[str, Any]) -> str:
    """Return the text that ``make bench`` prints."""
    rows = [('measure', 'target', 'figure', '')]
    for name in (*AT_LEAST, *AT_MOST):
        value, unit = report[name], ' ms' if name in AT_MOST else ' x'
        target = f'>= {AT_LEAST[name]:g}' if name in AT_LEAST else f'<= {AT_MOST[name]:g}'
        figure = '-' if value is None else f'{value:.2f}{unit}'
        rows.append((name, target + unit, figure, '' if met(report, name) else 'MISSED'))
    answers = report['details']['answers']
    rows.append(('token_identical', 'true', str(report['token_identical']).lower(),
                 f'{answers["compared"]} answers'))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return '\n'.join('  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
                     for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--out', type=Path, default=Path('bench_out/serving.json'))
    parser.add_argument('--quick', action='store_true',
                        help='each measure once, as a test; the figures are not reliable')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--threads', type=int, default=2, help='PyTorch threads of plain generate')
    options = parser.parse_args()
    begin = time.monotonic()
    report = run(quick=options.quick, seed=options.seed, threads=options.threads)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + '\n', 'utf-8')
    print(table(report))
    print(f'{time.monotonic() - begin:.0f} s; {options.out}')
    return 0 if report['token_identical'] else 1


if __name__ == '__main__':
    raise SystemExit(main())
