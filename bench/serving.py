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
            'new_frame_8q': 2.0, 'growth_min_ratio': 1.0}
AT_MOST = {'ros_added_ms': 8.0, 'cancel_p99_ms': 50.0}
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

    def __init__(
        self, repetitions: int, seed: int, threads: int, answers: AnswerComparison
    ) -> None:
        """Load a model for each engine, with as many threads, and let each answer a few questions.

        All their answers are added to ``answers``.
        """
        model = embedded_model()
        settings = EngineConfig(model, device='cpu', threads=threads)  # else the default ones
        self.ours = PackageEngine(settings)
        self.stepwise = PackageEngine(replace(settings, draft_tokens=0))
        self.plain = PlainGenerate(model, threads=threads)
        self.answers = answers
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
                growth.IMAGE_TOKENS[part], self._rng, repetitions, self._threads),
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


def machine() -> dict[str, Any]:
    """Return the machine's properties on which the figures depend."""
    name = re.search(r'model name\s*: (.*)', Path('/proc/cpuinfo').read_text('utf-8'))
    return {
        'processor': name[1] if name else platform.machine(), 'cores': os.cpu_count(),
        'python': platform.python_version(), 'torch': torch.__version__,
        'transformers': transformers.__version__,
    }


def compare(
    threads: int, answers: AnswerComparison, *, quick: bool, seed: int
) -> dict[str, Any]:
    """Return the measures without ROS, with so many threads on both sides."""
    load = os.getloadavg()[0]
    bench = Bench(1 if quick else 15, seed, threads, answers)
    try:
        details = {
            'same_frame_8q': bench.throughput(about_one_frame),
            'seen_frame_yes_no': bench.seen_frame(),
            'decode_one_stream': bench.decode(),
            'new_frame_8q': bench.throughput(about_new_frames),
        }
        growth_figures = bench.growth(quick=quick)
    finally:
        bench.close()
    ratio, row = growth.worst(growth_figures)
    return {
        **{name: detail['ours_ratio']['median'] for name, detail in details.items()},
        'growth_min_ratio': ratio, 'growth_min_row': row,
        'load_before': load, 'load_after': os.getloadavg()[0],
        'model': bench.ours.engine.info.name, 'details': details, 'growth': growth_figures,
    }


def run(*, quick: bool, seed: int, threads: Sequence[int]) -> dict[str, Any]:
    """Return the report of all measures; a figure is the least of those with so many threads."""
    answers = AnswerComparison()
    by_threads = {
        str(number): compare(number, answers, quick=quick, seed=seed) for number in threads}
    figures: dict[str, Any] = {
        name: min(part[name] for part in by_threads.values()) for name in AT_LEAST}
    ros = None
    if importlib.util.find_spec('rclpy') is None:
        print('ROS is not installed: what it adds is not measured')
        figures |= dict.fromkeys(AT_MOST)
    else:
        import ros_side

        ros = ros_side.measure(*((5, 5) if quick else (200, 200)), seed)
        figures |= {'ros_added_ms': ros['added_ms']['median'],
                    'stamp_to_answer_ms': ros['stamp_to_answer_ms']['median'],
                    'cancel_p99_ms': ros['cancel_p99_ms']}
    return {
        **figures,
        'token_identical': not answers.other_tokens,
        'targets': {'at_least': AT_LEAST, 'at_most': AT_MOST},
        'machine': machine(),
        'by_threads': by_threads, 'ros': ros, 'answers': vars(answers),
    }


def met(report: dict[str, Any], name: str) -> bool:
    """Return whether a figure exists and reaches its target."""
    value = report[name]
    if value is None:
        return False
    return value >= AT_LEAST[name] if name in AT_LEAST else value <= AT_MOST[name]


def table(report: dict[str, Any]) -> str:
    """Return the text that ``make bench`` prints."""
    parts = report['by_threads'].values()
    threads = [f'threads: {number}' for number in report['by_threads']]
    rows = [('measure', 'target', *threads, '')]
    for name in (*AT_LEAST, *AT_MOST):
        value, unit = report[name], ' ms' if name in AT_MOST else ' x'
        target = f'>= {AT_LEAST[name]:g}' if name in AT_LEAST else f'<= {AT_MOST[name]:g}'
        figures = (part.get(name, value) for part in parts)
        rows.append((name, target + unit,
                     *('-' if figure is None else f'{figure:.2f}{unit}' for figure in figures),
                     '' if met(report, name) else 'MISSED'))
    rows.append(('growth_min_row', '', *(part['growth_min_row'] for part in parts), ''))
    rows.append(('load', '', *(f'{p["load_before"]:.1f} to {p["load_after"]:.1f}' for p in parts),
                 ''))
    rows.append(('token_identical', 'true', *[str(report['token_identical']).lower()] * len(parts),
                 f'{report["answers"]["compared"]} answers'))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join('  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
                     for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--out', type=Path, default=Path('bench_out/serving.json'))
    parser.add_argument('--quick', action='store_true',
                        help='each measure once, as a test; the figures are not reliable')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2],
                        help='threads of both sides; all is measured with each number')
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
