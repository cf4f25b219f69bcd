"""Memory for keys and values: rows cost what they hold, and no answer is lost to memory."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('torch')

import small_memory
import torch
from small_memory import Failures, SmallDevice

from mimo_embodied_ros.core.errors import InvalidRequestError, OutOfMemoryError
from mimo_embodied_ros.engine import Engine, EngineConfig, kv_memory, load_engine
from mimo_embodied_ros.engine.kv_memory import BLOCK, KVMemory, row_length
from support.prompts import make_prompt
from support.random_model import CONTEXT
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LONG = 300  # tokens of an answer: more than a block


def load(random_model: Path, **settings: Any) -> Any:
    return load_engine(EngineConfig(
        str(random_model), device='cpu', threads=1, longest_answer=LONG, **settings))


@pytest.fixture
def engine(random_model: Path) -> Iterator[Any]:
    engine = load(random_model)
    yield engine
    engine.close()


def questions(count: int) -> list[Any]:
    """Return prompts of more than a block, with an image and without."""
    return [make_prompt(f'where is cube {n}?' + ' the red cube,' * 60, seed=n, images=n % 2)
            for n in range(count)]


def ask_all(engine: Engine, prompts: list[Any]) -> list[str]:
    with ThreadPoolExecutor(len(prompts)) as pool:
        return [reply.text for reply in pool.map(
            lambda prompt: engine.generate(prompt, max_new_tokens=LONG), prompts)]


def test_a_row_costs_what_it_holds() -> None:
    """At most a block, and of long ones an eighth, more; other rows cost it nothing."""
    for tokens in range(1, 40_000, 7):
        assert tokens <= row_length(tokens) < tokens + max(BLOCK, tokens / 8 + 1)
    memory = KVMemory(3, (4, 8), torch.float32, torch.device('cpu'))
    lengths = [24_000, *[400] * 7]
    rows = memory.add(lengths)
    assert memory.bytes < 1.1 * sum(lengths) * memory.token_bytes
    assert memory.bytes < 0.2 * len(lengths) * max(lengths) * memory.token_bytes  # a rectangle
    memory.remove(rows[0])
    assert memory.bytes == 7 * memory.cost(400)
    for row in rows[1:]:
        memory.remove(row)
    assert memory.bytes == 0


class Contents:
    """Rows with a copy of what each holds."""

    def __init__(self, memory: KVMemory, rng: random.Random) -> None:
        self.memory, self.rng, self.lost = memory, rng, 0
        self.rows: dict[Any, torch.Tensor] = {}

    def act(self) -> None:
        """Let rows join, grow or end."""
        some = self.rng.sample(list(self.rows), min(3, len(self.rows)))
        action = self.rng.choice(('add', 'grow', 'grow', 'remove', 'trim'))
        if action == 'add' and len(self.rows) < 9:
            for row in self.memory.add([self.rng.choice((100, 300, 700)) for _ in range(2)]):
                self.rows[row] = torch.randn(3, 90, 2, 4)
                for layer, part in zip(row.slab.layers, self.rows[row], strict=True):
                    layer[row.index, :90] = part
        elif action == 'grow':
            self.memory.grow([(row, row.slab.length + self.rng.choice((0, 1))) for row in some])
        elif action == 'remove':
            self.remove(some[:1])
        elif action == 'trim':
            self.memory.trim()

    def remove(self, rows: list[Any]) -> None:
        for row in rows:
            self.memory.remove(row)
            del self.rows[row]

    def drop_lost(self) -> None:
        lost = [row for row in self.rows if row.lost]
        self.lost += len(lost)
        self.remove(lost)

    def check(self) -> None:
        for row, content in self.rows.items():
            for layer, part in zip(row.slab.layers, content, strict=True):
                assert torch.equal(layer[row.index, :90], part)
                assert layer[row.index].isfinite().all()
        assert self.memory.bytes == sum(
            layer.nbytes for slab in self.memory._slabs.values() for layer in slab.layers)


@pytest.mark.parametrize('stays', [False, True])
def test_rows_keep_their_contents_whatever_moves_and_fails(*, stays: bool) -> None:
    """Compared with a copy of each, over random joins, growth, ends and failing allocations."""
    rng, memory = random.Random(0), KVMemory(3, (2, 4), torch.float32, torch.device('cpu'))
    memory.stays, memory.budget = stays, 40 * memory.cost(700)
    contents = Contents(memory, rng)
    allocate, failing = memory.allocate, [0.0]

    def sometimes(shape: Any) -> torch.Tensor:
        if rng.random() < failing[0]:
            raise torch.OutOfMemoryError('a part')
        return allocate(shape).fill_(float('nan'))

    memory.allocate = sometimes
    for _ in range(300):
        failing[0] = rng.choice((0.0, 0.0, 0.3))
        try:
            contents.act()
        except torch.OutOfMemoryError:
            contents.drop_lost()
        contents.check()
    assert contents.lost
    failing[0] = 0.0
    contents.remove(list(contents.rows))
    memory.trim()
    assert memory.bytes == 0


def test_the_budget_is_measured_and_the_largest_request_must_fit(
    random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of what a machine or container has free; two layers of it are for copying."""
    monkeypatch.setattr(kv_memory, 'free_host_memory', lambda: 80_000_000)
    # the cache of images comes first, with 61,440 bytes of the largest request at least, but
    # leaves half
    for megabytes, budget in ((0, 19_984_640), (20, 15_000_000), (512, 10_000_000)):
        engine = load(random_model, cache_mb=megabytes)
        assert engine.memory().keys_values_budget == budget
        engine.close()
    monkeypatch.setattr(kv_memory, 'free_host_memory', lambda: 1_000_000)
    with pytest.raises(OutOfMemoryError, match=r'2 images of \d+ pixels and an answer of 300 '
                       r'tokens, needs 0.3 MB .* has 0.2 MB .*lower max_pixels, '
                       r'max_new_tokens or the number of cameras'):
        load(random_model, most_images=2, cache_mb=0)
    # as written in the parameters, without measuring
    engine = load(random_model, kv_cache_mb=3)
    assert engine.memory().keys_values_budget == 1_500_000
    engine.close()


def test_the_largest_request_is_answered_before_the_budget_is_measured(
    random_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mimo_embodied_ros.engine.batch import Batch

    probed = []
    probe, measure = Batch.probe, KVMemory.measure
    monkeypatch.setattr(Batch, 'probe', lambda self, g: (probed.append(g), probe(self, g))[1])
    monkeypatch.setattr(KVMemory, 'measure', lambda self, kept: (
        probed.append(self.bytes), measure(self, kept))[1])
    engine = load(random_model, most_images=3)
    generation, held = probed
    assert held == 0
    assert [image.grid for image in generation.encoded.images] == [(1, 14, 14)] * 3  # of 60 * 28²
    assert len(generation.tokens) >= 1
    assert len(engine._batch.vision.cache) == 0
    engine.close()

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError('no room')

    monkeypatch.setattr(Batch, 'probe', full)
    with pytest.raises(OutOfMemoryError, match=r'largest request.*lower max_pixels.*cameras'):
        load(random_model)


def test_a_request_that_never_fits_is_refused_with_its_numbers(engine: Any) -> None:
    memory = engine._batch.memory
    memory.budget = memory.cost(BLOCK)
    with pytest.raises(InvalidRequestError, match=r'up to 250: .*need 0.3 MB and cpu has 0.1 MB '
                       r'.*max_pixels.*max_new_tokens'):
        engine.generate(make_prompt(), max_new_tokens=250)
    assert engine.generate(make_prompt(), max_new_tokens=5).stats.completion_tokens == 5


def test_what_does_not_fit_waits(engine: Any) -> None:
    """Eight at once where six fit: no allocation fails, and memory is given back at the end."""
    prompts, memory = questions(8), engine._batch.memory
    alone = [engine.generate(prompt, max_new_tokens=LONG).text for prompt in prompts]
    memory.budget = 6 * memory.cost(CONTEXT)
    device = SmallDevice(engine, memory.budget * 2)
    most, forward = [0], engine._batch._decoder.forward

    def watched(*arguments: Any, **options: Any) -> torch.Tensor:
        most[0] = max(most[0], len(engine._batch._rows))
        return forward(*arguments, **options)

    engine._batch._decoder.forward = watched
    assert ask_all(engine, prompts) == alone
    assert most[0] == 6
    assert (device.refused, engine.memory().preempted) == (0, 0)
    assert device.peak <= memory.budget * 2
    wait_for(lambda: engine.memory().keys_values == 0)
    assert device.used == 0


def test_a_device_smaller_than_measured_loses_no_answer(engine: Any) -> None:
    """The youngest wait and go on; afterwards one alone is answered as before."""
    prompts, memory = questions(8), engine._batch.memory
    alone = [engine.generate(prompt, max_new_tokens=LONG).text for prompt in prompts]
    device = SmallDevice(engine, 6 * memory.cost(CONTEXT))
    assert ask_all(engine, prompts) == alone
    assert device.refused
    assert engine.memory().preempted
    assert device.peak <= device.capacity
    assert ask_all(engine, prompts[:1]) == alone[:1]


@pytest.mark.parametrize('fails', [
    pytest.param(lambda tokens, rows: tokens < 10 and len(rows) > 2, id='while writing'),
    pytest.param(lambda tokens, rows: tokens < 10, id='while one alone is written'),
    pytest.param(lambda tokens, rows: tokens >= 10, id='while a prompt is read'),
])
def test_memory_that_others_take_ends_no_answer(
    engine: Any, fails: Callable[[int, Any], bool]
) -> None:
    """It is there again after a while; no text comes twice."""
    prompts = [make_prompt(f'where is cube {n}?', seed=n, images=n % 2) for n in range(4)]
    alone = [engine.generate(prompt, max_new_tokens=60).text for prompt in prompts]
    failures = Failures(engine, lambda *_: False)
    streams: list[list[str]] = [[] for _ in prompts]
    begun, release = threading.Event(), threading.Event()

    def read(text: str, number: int) -> None:
        streams[number].append(text)
        begun.set()

    def ask(number: int) -> str:
        def held() -> bool:  # slows the model down, so that the failures come in between
            return number == 0 and not release.is_set() and release.wait(0.02) and False

        return engine.generate(
            prompts[number], max_new_tokens=60, cancelled=held,
            on_text=lambda text, _: read(text, number)).text

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(ask, 0)
        assert begun.wait(WAIT_S)
        failures.fails = fails
        others = [pool.submit(ask, number) for number in (1, 2, 3)]
        wait_for(lambda: engine.memory().preempted > 0)
        failures.fails = lambda *_: False
        release.set()
        written = [future.result(WAIT_S) for future in (first, *others)]
    assert failures.raised
    assert written == alone
    assert [''.join(stream) for stream in streams] == alone


def test_an_answer_that_waits_for_memory_keeps_its_deadline(engine: Any) -> None:
    begun = threading.Event()
    failures = Failures(engine, lambda tokens, _: begun.is_set())
    reply = engine.generate(
        make_prompt(), max_new_tokens=CONTEXT, on_text=lambda *_: begun.set(),
        cancelled=lambda: time.sleep(0.01) is not None, deadline=time.monotonic() + 1.0)
    assert reply.finish_reason == 'deadline'
    assert reply.text
    assert failures.raised
    failures.fails = lambda *_: False
    assert engine.generate(make_prompt(), max_new_tokens=3).stats.completion_tokens == 3


def test_random_requests_on_a_small_device() -> None:
    """A small run of ``make soak``'s part: prompts, lengths, priorities and cancels at random."""
    report = small_memory.run(40, seed=2)
    assert small_memory.faults(report) == []
    assert report['ends'].get('CANCELLED')
