"""Measure the full shape of MiMo-Embodied-7B on a GPU, with random weights, against the roofline.

The sides run one after the other, each alone on the GPU: plain ``generate``; ``generate`` with a
static cache, which transformers compiles on a GPU; the engine; the engine without CUDA graphs,
compiled, with attention by its formula, and with quantized weights; vLLM where it is installed. The
roofline is the bytes that a token must read, over the bandwidth that a copy reaches. ``--sides``
chooses some of them. The weights pass through a temporary directory (TMPDIR). It needs 17 GB of
disk and 20 GB of GPU memory. ``--small`` runs the same with a small shape on a CPU, as a test.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
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
from compared_engines import (
    PackageEngine,
    PlainGenerate,
    ServedEngine,
    TimedAnswer,
    synchronized_now,
)
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
TARGETS = {'roofline_share': 0.8, 'first_token_s': 0.1, 'seen_first_token_s': 0.025,
           'same_frame_8q': 5.0}
STREAMS = 8
SIDES = ('plain', 'plain_static', 'ours', 'dynamic', 'compiled', 'eager', 'int8', 'fp8', 'vllm')
# what of the engine's settings differs in a side
_SETTINGS: dict[str, dict[str, Any]] = {
    'ours': {}, 'dynamic': {'decode_shapes': 'dynamic'}, 'static': {'decode_shapes': 'static'},
    'compiled': {'compile': True}, 'eager': {'attention': 'eager'},
    'int8': {'quantization': 'int8'}, 'fp8': {'quantization': 'fp8'},
}
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
    return (sum(map(_bytes, weights))
            + streams * context * cache * text.norm.weight.itemsize)


def _bytes(weight: Any) -> int:
    if hasattr(weight, 'qdata'):  # quantized by torchao
        return int(weight.qdata.nbytes + weight.scale.nbytes)
    return int(weight.nbytes)


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
        if not isinstance(self._side, PlainGenerate):
            out[f'tokens_per_s_{STREAMS}'] = _rate(self._repeated(STREAMS))
            out['prompt_tokens'] = alone[0][0].prompt_tokens
        out['same_frame_8q_s'], out['texts'] = self._mixed()
        return {**out, 'peak_memory_gb': self._peak() / 1e9}

    def _peak(self) -> int:
        """Bytes of memory; of a server what its GPU has in use, which it takes at its start."""
        if not torch.cuda.is_available():
            return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if isinstance(self._side, ServedEngine):
            free, total = torch.cuda.mem_get_info()
            return total - free
        return torch.cuda.max_memory_allocated()

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

    def _mixed(self) -> tuple[float, list[str]]:
        """Seconds for the eight questions of bench/serving.py, and their last answers."""
        rng = random.Random('mixed')  # the same for all sides
        seconds = []
        for _ in range(self._repetitions):
            queries = [replace(query, max_new_tokens=_ANSWER_TOKENS[query.task])
                       for query in about_one_frame(rng)]
            begin = synchronized_now()
            answers = self._side.ask_all(queries)
            seconds.append(synchronized_now() - begin)
        return statistics.median(seconds), [answer.text for answer in answers]


def _rate(rounds: Sequence[Sequence[TimedAnswer]]) -> float:
    """Tokens per second after the first one, including the time until all answers run."""
    return statistics.median(
        sum(answer.count - 1 for answer in answers)
        / max(answer.after_first_s for answer in answers)
        for answers in rounds)


def make_side(name: str, folder: Path, *, small: bool) -> ComparedEngine:
    """Load a side."""
    device, dtype = ('cpu', torch.float32) if small else ('cuda', torch.bfloat16)
    if name == 'vllm':
        return ServedEngine(folder, str(dtype).removeprefix('torch.'), STREAMS)
    if name.startswith('plain'):
        static = {'cache_implementation': 'static'} if name == 'plain_static' else {}
        return PlainGenerate(folder, dtype, device, **static)
    settings: dict[str, Any] = {'draft_tokens': 0, **_SETTINGS[name]}
    return PackageEngine(EngineConfig(str(folder), device=device, max_batch=STREAMS, **settings))


def measure(name: str, folder: Path, speed: float, *, small: bool) -> dict[str, Any]:
    """Return the measures of a side, which is alone on the device, and its share of ``speed``."""
    print(name, flush=True)
    _free()
    tokens, repetitions = (12, 1) if small else (128, 3)
    side = make_side(name, folder, small=small)
    try:
        out = Measures(side, tokens, repetitions).run()
        if isinstance(side, PackageEngine):
            context = out['prompt_tokens'] + tokens / 2
            out['parameters'] = side.engine.info.parameters
            for suffix, streams in (('', 1), (f'_{STREAMS}', STREAMS)):
                size = token_bytes(side.engine._model, context, streams)
                read = out[f'tokens_per_s{suffix}'] / streams * size
                out |= {f'gb_per_s{suffix}': read / 1e9, f'roofline_share{suffix}': read / speed}
            steps = side.engine._batch._writer.steps
            if steps is not None and not small:
                out['graph_steps'] = steps.graphs.replayed
    finally:
        if not isinstance(side, PlainGenerate):
            side.close()
    return out


def run(folder: Path, names: Sequence[str], *, small: bool) -> dict[str, Any]:
    """Return the report of some sides; the checkpoint is written to ``folder``.

    A side that fails has its error in the report, and the others are measured.
    """
    device = 'cpu' if small else 'cuda'
    speed = bandwidth(device, 1 << (26 if small else 32))
    _free()
    write_checkpoint(
        folder, *((SMALL, SMALL_VISION) if small else (FULL, FULL_VISION)), device=device)
    report: dict[str, Any] = {
        'device': 'cpu' if small else torch.cuda.get_device_name(),
        'shape': 'small' if small else 'MiMo-Embodied-7B',
        'dtype': 'float32' if small else 'bfloat16',
        'torch': torch.__version__, 'transformers': transformers.__version__,
        'bandwidth_gb_per_s': speed / 1e9, 'targets': TARGETS, 'sides': {}, 'failed': {},
    }
    for name in names:
        try:
            report['sides'][name] = measure(name, folder, speed, small=small)
        except Exception as error:  # noqa: BLE001, PERF203 the time on a GPU is short
            report['failed'][name] = f'{type(error).__name__}: {error}'
    texts = {name: side.pop('texts') for name, side in report['sides'].items()}
    if 'plain' in texts:
        plain = report['sides']['plain']
        for name, side in report['sides'].items():
            # in bfloat16 two orders of the same sums may choose different tokens
            same = [a == b for a, b in zip(texts['plain'], texts[name], strict=True)]
            side['same_answers'] = sum(same) / len(same)
            side['times_plain'] = {
                'tokens_per_s': side['tokens_per_s'] / plain['tokens_per_s'],
                **{measure: plain[f'{measure}_s'] / side[f'{measure}_s']
                   for measure in ('first_token', 'seen_first_token', 'same_frame_8q')}}
    return report


def default_sides(*, small: bool) -> list[str]:
    """Return the sides that can run here; small ones are those that compile nothing."""
    if small:
        return ['plain', 'plain_static', 'ours', 'static']
    return [name for name in SIDES if name != 'vllm' or importlib.util.find_spec('vllm')]


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--small', action='store_true', help='a small shape, on a CPU')
    parser.add_argument('--sides', nargs='+', choices=SIDES, metavar='NAME',
                        help=f'only some of {", ".join(SIDES)}')
    parser.add_argument('--out', type=Path,
                        default=Path(os.environ.get('OUT', 'bench_out'), 'gpu.json'))
    options = parser.parse_args()
    if not options.small and not torch.cuda.is_available():
        print('PyTorch sees no GPU here; --small runs on a CPU', file=sys.stderr)
        return 1
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder), options.sides or default_sides(small=options.small),
                     small=options.small)
    report['seconds'] = time.monotonic() - begin
    text = json.dumps(report, indent=2)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + '\n', 'utf-8')
    print(text)
    return 1 if report['failed'] else 0


if __name__ == '__main__':
    raise SystemExit(main())
