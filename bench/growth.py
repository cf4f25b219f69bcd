"""How throughput and latency scale with questions, cameras and the size of images."""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from compared_engines import PackageEngine, PlainGenerate
from random_checkpoint import Shape, write_checkpoint
from workload import SIZE, about_one_frame

from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.resize import FACTOR
from mimo_embodied_ros.engine import EngineConfig
from mimo_embodied_ros.worlds import table_scene

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from compared_engines import ComparedEngine

QUESTIONS = (1, 2, 4, 8, 16, 32, 64)
CAMERAS = (1, 2, 3, 4, 5, 6)
IMAGE_TOKENS = (64, 256, 1024, 4096)
_ANSWER_TOKENS = 16
_QUESTION, _NEXT_QUESTION = 'What do you see?', 'What is on the table?'
# 29 million parameters: the context of the embedded model has no room for such large images
LARGER: Shape = {
    'hidden_size': 512, 'intermediate_size': 1408, 'num_hidden_layers': 8,
    'num_attention_heads': 8, 'num_key_value_heads': 2, 'max_window_layers': 8,
    'max_position_embeddings': 8192,
    'rope_scaling': {'type': 'mrope', 'mrope_section': [8, 12, 12]},
}
LARGER_VISION: Shape = {
    'hidden_size': 256, 'intermediate_size': 768, 'num_heads': 4, 'out_hidden_size': 512,
    'fullatt_block_indexes': [3],
}


def with_questions(
    plain: ComparedEngine, ours: ComparedEngine, counts: Sequence[int], rng: random.Random,
    repetitions: int,
) -> list[dict[str, Any]]:
    """Ask different questions at once about one new frame of 1280x720 pixels."""
    rows = []
    for count in counts:
        plain_s, seconds, latencies = [], [], []
        for _ in range(repetitions):
            queries = about_one_frame(rng, count)
            begin = time.perf_counter()
            plain.ask_all(queries)
            between = time.perf_counter()
            answers = ours.ask_all(queries)
            plain_s.append(between - begin)
            seconds.append(time.perf_counter() - between)
            latencies.append([answer.seconds for answer in answers])
        rows.append({
            'questions': count,
            'plain_s': statistics.median(plain_s),
            'new_s': statistics.median(seconds),
            'latency_median_s': statistics.median(map(statistics.median, latencies)),
            'latency_longest_s': statistics.median(map(max, latencies)),
        })
    return rows


def with_cameras(
    plain: ComparedEngine, ours: ComparedEngine, counts: Sequence[int], rng: random.Random,
    repetitions: int,
) -> list[dict[str, Any]]:
    """Ask about several new images of 1280x720 pixels, and ask again about the same images."""
    def draw(count: int) -> tuple[Frame, ...]:
        return tuple(Frame(table_scene.draw_table(rng, *SIZE).pixels) for _ in range(count))

    return [
        {'cameras': count}
        | _new_and_seen(plain, ours, functools.partial(draw, count), repetitions)
        for count in counts
    ]


def with_image_tokens(
    counts: Sequence[int], rng: random.Random, repetitions: int, threads: int
) -> dict[str, Any]:
    """Ask twice about one square image of many tokens, with random weights of a larger shape."""
    noise = np.random.default_rng(rng.getrandbits(32))

    def draw(tokens: int) -> tuple[Frame]:
        side = round(tokens ** 0.5) * FACTOR
        return (Frame(noise.integers(0, 255, (side, side, 3), np.uint8)),)

    with tempfile.TemporaryDirectory() as name:
        write_checkpoint(Path(name), LARGER, LARGER_VISION)
        plain = PlainGenerate(name, threads=threads)
        ours = PackageEngine(EngineConfig(
            name, device='cpu', threads=threads, draft_tokens=0))
    try:
        ask = functools.partial(_new_and_seen, plain, ours)
        ask(functools.partial(draw, counts[0]), 1)  # warms up
        rows = [{'image_tokens': tokens} | ask(functools.partial(draw, tokens), repetitions)
                for tokens in counts]
        return {'parameters': ours.engine.info.parameters, 'answers': rows}
    finally:
        ours.close()


def worst(growth: dict[str, Any]) -> tuple[float, str]:
    """Return the least of plain over engine in all rows of new frames, and which row it is."""
    tables = {**growth, 'image_tokens': growth['image_tokens']['answers']}
    return min(
        (row['plain_s'] / row['new_s'], f'{row[name]} {name.replace("_", " ")}')
        for name, rows in tables.items() for row in rows)


def _new_and_seen(
    plain: ComparedEngine, ours: ComparedEngine, draw: Callable[[], tuple[Frame, ...]],
    repetitions: int,
) -> dict[str, float]:
    """Median seconds of an answer of at most 16 tokens, to a first and a second question."""
    seconds: dict[str, list[float]] = {'plain_s': [], 'new_s': [], 'seen_s': []}
    for _ in range(repetitions):
        frames = draw()
        query, following = (Query(Task.ASK, text, frames, max_new_tokens=_ANSWER_TOKENS)
                            for text in (_QUESTION, _NEXT_QUESTION))
        seconds['plain_s'].append(plain.ask(query).seconds)
        seconds['new_s'].append(ours.ask(query).seconds)
        seconds['seen_s'].append(ours.ask(following).seconds)
    return {name: statistics.median(values) for name, values in seconds.items()}
