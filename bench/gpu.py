"""Measure the full shape of MiMo-Embodied-7B on a GPU, with random weights, against the roofline.

Plain ``generate`` and the engine run one after the other, each alone on the GPU. The roofline is
the bytes that a token must read, over the memory bandwidth that a copy reaches. The weights pass
through a temporary directory (TMPDIR). It needs up to 8 minutes, 17 GB of disk and 20 GB of GPU
memory. ``--small`` runs the same with a small shape on a CPU, as a test.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from compared_engines import PackageEngine, PlainGenerate, TimedAnswer, synchronized_now
from random_checkpoint import Shape, write_checkpoint
from workload import about_one_frame

from mimo_embodied_ros.core.query import Task
from mimo_embodied_ros.engine import EngineConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compared_engines import ComparedEngine

# the published shape, as far as it is known: 8.3 billion parameters
FULL: Shape = {
    'hidden_size': 4096, 'intermediate_size': 11008, 'num_hidden_layers': 36,
    'num_attention_heads': 32, 'num_key_value_heads': 8, 'max_window_layers': 36,
    'max_position_embeddings': 32768, 'vocab_size': 151680, 'rms_norm_eps': 1e-5,
    'rope_theta': 640000.0, 'rope_scaling': {'type': 'mrope', 'mrope_section': [16, 24, 24]},
}
FULL_VISION: Shape = {
    'depth': 32, 'hidden_size': 1280, 'intermediate_size': 3456, 'num_heads': 16,
    'out_hidden_size': 4096, 'fullatt_block_indexes': [7, 15, 23, 31],
}
SMALL: Shape = {
    'hidden_size': 128, 'intermediate_size': 256, 'num_hidden_layers': 2,
    'num_attention_heads': 4, 'num_key_value_heads': 2, 'max_window_layers': 2,
}
SMALL_VISION: Shape = {
    'depth': 2, 'hidden_size': 64, 'intermediate_size': 128, 'num_heads': 2,
    'out_hidden_size': 128, 'fullatt_block_indexes': [1],
}
TARGETS = {'roofline_share': 0.8, 'same_frame_8q': 5.0}
STREAMS = 8
# approximate lengths of answers with the published model's tokenizer
_ANSWER_TOKENS = {Task.PLAN: 64, Task.POINTS: 32, Task.SPATIAL: 12}


def bandwidth(device: str, size: int) -> float:
    """Measure the bytes per second that a copy of ``size`` bytes reads and writes."""
    source = torch.randn(size // 4, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(10):
        begin = synchronized_now()
        target.copy_(source)
        seconds.append(synchronized_now() - begin)
    return 2 * source.nbytes / statistics.median(seconds)


def token_bytes(model: Any, context: float, streams: int) -> float:
    """Return the bytes read for one token of each stream: the weights once, and all caches."""
    text, config = model.model.language_model, model.config.get_text_config()
    weights = [*text.layers.parameters(), *text.norm.parameters(), *model.lm_head.parameters()]
    width = config.hidden_size // config.num_attention_heads
    cache = 2 * config.num_hidden_layers * config.num_key_value_heads * width
    return (sum(weight.nbytes for weight in weights)
            + streams * context * cache * text.norm.weight.itemsize)


class Measures:
    """Measures one engine; frames are new each time, so that nothing is cached."""

    def __init__(self, side: ComparedEngine, tokens: int, repetitions: int) -> None:
        """Take the engine and warm it up; measured answers have ``tokens`` tokens."""
        self._side, self._tokens, self._repetitions = side, tokens, repetitions
        self._rng = random.Random('gpu')
        for count in (1, STREAMS):
            self._ask(count, 4)

    def run(self) -> dict[str, Any]:
        """Return latencies in seconds, tokens per second, and the peak memory."""
        alone = self._repeated(1)
        out = {
            'first_token_s': statistics.median(
                answer.seconds - answer.after_first_s for (answer,) in alone),
            'seen_first_token_s': self._seen(),
            'tokens_per_s': _rate(alone),
        }
        # plain generate answers one after the other and is no faster with more
        if isinstance(self._side, PackageEngine):
            out[f'tokens_per_s_{STREAMS}'] = _rate(self._repeated(STREAMS))
            out['prompt_tokens'] = alone[0][0].prompt_tokens
        out['same_frame_8q_s'], out['answers'] = self._mixed()
        peak = (torch.cuda.max_memory_allocated() if torch.cuda.is_available()
                else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return {**out, 'peak_memory_gb': peak / 1e9}

    def _repeated(self, count: int) -> list[list[TimedAnswer]]:
        return [self._ask(count, self._tokens) for _ in range(self._repetitions)]

    def _ask(self, count: int, tokens: int) -> list[TimedAnswer]:
        queries = about_one_frame(self._rng)[:count]
        return self._side.ask_all([replace(query, max_new_tokens=tokens) for query in queries])

    def _seen(self) -> float:
        """Seconds to the first token of a second question about the same frame."""
        seconds = []
        for _ in range(self._repetitions):
            before, query = (
                replace(q, max_new_tokens=1) for q in about_one_frame(self._rng)[:2])
            self._side.ask(before)
            seconds.append(self._side.ask(query).seconds)
        return statistics.median(seconds)

    def _mixed(self) -> tuple[float, list[tuple[int, ...]]]:
        """Seconds for the eight questions of bench/serving.py, and their last answers' tokens."""
        rng = random.Random('mixed')  # the same for both engines
        seconds = []
        for _ in range(self._repetitions):
            queries = [replace(query, max_new_tokens=_ANSWER_TOKENS[query.task])
                       for query in about_one_frame(rng)]
            begin = synchronized_now()
            answers = self._side.ask_all(queries)
            seconds.append(synchronized_now() - begin)
        return statistics.median(seconds), [answer.tokens for answer in answers]


def _rate(rounds: Sequence[Sequence[TimedAnswer]]) -> float:
    """Tokens per second after the first one, including the time until all answers run."""
    return statistics.median(
        sum(len(answer.tokens) - 1 for answer in answers)
        / max(answer.after_first_s for answer in answers)
        for answers in rounds)


def run(folder: Path, *, small: bool) -> dict[str, Any]:
    """Return the report of all measures; the checkpoint is written to ``folder``."""
    device, dtype = ('cpu', torch.float32) if small else ('cuda', torch.bfloat16)
    tokens, repetitions = (12, 1) if small else (128, 3)
    speed = bandwidth(device, 1 << (26 if small else 32))
    _free()
    write_checkpoint(
        folder, *((SMALL, SMALL_VISION) if small else (FULL, FULL_VISION)), device=device)
    _free()
    print('plain generate', flush=True)
    plain = Measures(PlainGenerate(folder, dtype, device), tokens, repetitions).run()
    _free()
    print('the engine', flush=True)
    engine = PackageEngine(EngineConfig(
        str(folder), device=device, max_batch=STREAMS, draft_tokens=0))
    try:
        ours = Measures(engine, tokens, repetitions).run()
        context = ours['prompt_tokens'] + tokens / 2
        roofline = {streams: streams * speed / token_bytes(engine.engine._model, context, streams)
                    for streams in (1, STREAMS)}
        parameters = engine.engine.info.parameters
    finally:
        engine.close()
    same = [a == b for a, b in zip(plain.pop('answers'), ours.pop('answers'), strict=True)]
    return {
        'device': 'cpu' if small else torch.cuda.get_device_name(),
        'shape': 'small' if small else 'MiMo-Embodied-7B', 'parameters': parameters,
        'dtype': str(dtype).removeprefix('torch.'),
        'torch': torch.__version__, 'transformers': transformers.__version__,
        'bandwidth_gb_per_s': speed / 1e9,
        'plain': plain, 'ours': ours,
        'roofline': {'tokens_per_s': roofline[1], f'tokens_per_s_{STREAMS}': roofline[STREAMS]},
        'roofline_share': {
            'plain_one_stream': plain['tokens_per_s'] / roofline[1],
            'one_stream': ours['tokens_per_s'] / roofline[1],
            f'{STREAMS}_streams': ours[f'tokens_per_s_{STREAMS}'] / roofline[STREAMS],
        },
        'times_plain': {
            'one_stream': ours['tokens_per_s'] / plain['tokens_per_s'],
            f'{STREAMS}_streams': ours[f'tokens_per_s_{STREAMS}'] / plain['tokens_per_s'],
            'first_token': plain['first_token_s'] / ours['first_token_s'],
            'seen_first_token': plain['seen_first_token_s'] / ours['seen_first_token_s'],
            'same_frame_8q': plain['same_frame_8q_s'] / ours['same_frame_8q_s'],
        },
        # in bfloat16 two orders of the same sums may choose different tokens
        'same_answers': sum(same) / len(same),
        'targets': TARGETS,
    }


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--small', action='store_true', help='a small shape, on a CPU')
    parser.add_argument('--out', type=Path,
                        default=Path(os.environ.get('OUT', 'bench_out'), 'gpu.json'))
    options = parser.parse_args()
    if not options.small and not torch.cuda.is_available():
        print('PyTorch sees no GPU here; --small runs on a CPU', file=sys.stderr)
        return 1
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder), small=options.small)
    report['seconds'] = time.monotonic() - begin
    text = json.dumps(report, indent=2)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + '\n', 'utf-8')
    print(text)
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
