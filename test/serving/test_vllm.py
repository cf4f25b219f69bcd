"""A real vLLM server, on the CPU with the embedded model, answers as the model in this process.

Run by ``make test-vllm``. In float32 the same tokens are the most likely ones on both sides, so
that nothing has to be nearly equal.
"""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mimo_embodied_ros.cli.main import main
from mimo_embodied_ros.core.errors import (
    BackendError,
    BackendUnreachableError,
    InvalidRequestError,
    ModelNotReadyError,
)
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import Prompt, build_prompt
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.core.skills import select_skills
from mimo_embodied_ros.core.tasks import TASKS, Media
from mimo_embodied_ros.engine import Engine, EngineConfig, load_engine
from mimo_embodied_ros.engine.answering import answer_query
from mimo_embodied_ros.share import embedded_model
from mimo_embodied_ros.worlds import table_scene
from support.outcomes import outcome
from support.paths import SKILL_FILES
from support.vllm_server import CONTEXT, MODEL, START_S, VllmServer
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.vllm
PLAN = 'put the red cube in the blue bowl'
QUESTIONS = (
    Query(Task.PLAN, PLAN),
    Query(Task.POINTS, 'the green ball'),
    Query(Task.BOXES, 'the blue bowl'),
    Query(Task.SPATIAL, 'Is the red cube left of the blue bowl?'),
    Query(Task.ASK, 'Is the green ball in the top or in the bottom half?'),
)
HELD = (
    *QUESTIONS[1:3],
    Query(TASKS['yes_no'], 'Is the red cube left of the blue bowl?'),
    Query(TASKS['drive_action'], 'Which is left?', options=('red cube', 'blue bowl')),
    Query(Task.PLAN, PLAN, skills=select_skills(load_skills(SKILL_FILES / 'manipulator.yaml'))),
)
# An answer that takes long and does not repeat itself, which would end it; the second rule is one
# that all grammars of this package have.
COUNTED = ' '.join(map(str, range(1, 400)))
LONG = f'start: "{COUNTED}"\nreasoning[lazy]: /(?s:<think>.*<\\/think>)/\n'


def scene(width: int = 280, height: int = 196, seed: int = 1) -> Frame:
    things = (table_scene.Thing('red', 'cube', width * 0.3, height * 0.6, height * 0.1),
              table_scene.Thing('blue', 'bowl', width * 0.7, height * 0.4, height * 0.12),
              table_scene.Thing('green', 'ball', width * 0.6, height * 0.8, height * 0.1))
    return Frame(table_scene.draw_table(random.Random(seed), width, height, things=things).pixels)


@pytest.fixture(scope='module')
def local() -> Iterator[Engine]:
    # a server waits for the model to end its answer, too
    engine = load_engine(
        EngineConfig(embedded_model(), device='cpu', threads=1, stop_early=False))
    yield engine
    engine.close()


@pytest.fixture(scope='module')
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    server = VllmServer(tmp_path_factory.mktemp('vllm'))
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def connect(served: VllmServer, local: Engine, **options: Any) -> Engine:
    """Connect with the pixel limits of the local engine; patient on a busy machine."""
    return load_engine(EngineConfig(**{
        'model': MODEL, 'backend': 'openai', 'servers': (served.url,),
        'min_pixels': local.limits.min_pixels, 'max_pixels': local.limits.max_pixels,
        'connect_timeout': WAIT_S, 'first_token_timeout': WAIT_S, 'token_timeout': WAIT_S,
        **options}))


@pytest.fixture(scope='module')
def remote(served: VllmServer, local: Engine) -> Engine:
    engine = connect(served, local)
    assert engine.warm_up().stats.completion_tokens == 2
    return engine


def long_answer(local: Engine) -> Prompt:
    """A prompt whose answer has 1500 letters."""
    prompt = build_prompt(replace(QUESTIONS[-1], frames=(scene(),)), local.limits)
    return replace(prompt, grammar=LONG)


def test_answers_are_the_same_as_in_process(local: Engine, remote: Engine) -> None:
    """Text, finish reason and counts: of all tasks, with reasoning, of images resized and not."""
    texts = set()
    for seed, size in enumerate(((640, 480), (196, 196), (320, 400))):
        for question in QUESTIONS:
            for thinking in (False, True):
                query = replace(question, frames=(scene(*size, seed),), thinking=thinking)
                here, there = outcome(local, query), outcome(remote, query)
                assert there == here
                texts.add(there[1])
    assert len(texts) > 15, 'the model must see its image for this test to mean anything'
    two = Query(Task.ASK, 'What do you see?', (scene(196, 196, 1), scene(320, 400, 2)))
    for query in (
        two, replace(two, frames=()), replace(two, frames=(), text='机器人, où est-il?'),
        replace(two, system='You are a helpful assistant.'), replace(two, max_new_tokens=3),
    ):
        assert outcome(remote, query) == outcome(local, query)
    assert outcome(remote, replace(two, system='Be kind.'))[-1] != outcome(remote, two)[-1]


def test_the_reasoning_is_bounded(local: Engine, remote: Engine) -> None:
    query = replace(QUESTIONS[3], frames=(scene(),), thinking=True)
    whole = outcome(remote, query)[0].reasoning
    bounded = replace(query, thinking_tokens=6)
    here, there = outcome(local, bounded), outcome(remote, bounded)
    assert there[:3] == here[:3]
    assert whole.startswith(there[0].reasoning)
    assert len(there[0].reasoning) < len(whole)


def test_an_answer_is_held_by_the_grammar_of_this_package(local: Engine, remote: Engine) -> None:
    assert remote.holds_grammars
    changed = 0
    for question in HELD:
        for thinking in (False, True):
            query = replace(question, frames=(scene(),), structured=True, thinking=thinking)
            here, there = outcome(local, query), outcome(remote, query)
            assert there[:3] == here[:3]
            changed += outcome(remote, replace(query, structured=False))[1] != there[1]
    assert changed, 'without a grammar that matters nothing is tested'


def test_a_video(local: Engine, remote: Engine) -> None:
    assert remote.info.takes_video
    frames = tuple(
        replace(scene(280, 196, seed=number), stamp_ns=number * 500_000_000) for number in range(4))
    query = Query(replace(Task.ASK, media=Media.VIDEO), 'What do you see?', frames)
    video = outcome(remote, query)
    assert video == outcome(local, query)
    images = outcome(remote, replace(query, task=Task.ASK))
    assert video[-1][1] < images[-1][1], 'two frames of a video share their tokens'


def test_a_limit_of_tokens_above_the_context_is_shortened(
    served: VllmServer, local: Engine, remote: Engine
) -> None:
    """Else vLLM refuses every question with reasoning, as it does a prompt that is longer."""
    assert remote.info.context_length == CONTEXT
    query = replace(QUESTIONS[3], frames=(scene(),), thinking=True)
    assert build_prompt(query, local.limits).max_new_tokens > CONTEXT
    assert connect(served, local).generate(
        build_prompt(query, local.limits), max_new_tokens=2 * CONTEXT).finish_reason == 'stop'
    with pytest.raises(InvalidRequestError, match=str(CONTEXT)):
        answer_query(remote, Query(Task.ASK, 'red cube ' * CONTEXT, (scene(),)))


def test_a_cancelled_answer_stops_the_server(
    served: VllmServer, local: Engine, remote: Engine
) -> None:
    written = served.metric('generation_tokens_total')
    pieces: list[str] = []
    reply = remote.generate(
        long_answer(local), max_new_tokens=3000, on_text=lambda text, _: pieces.append(text),
        cancelled=lambda: len(pieces) > 3)
    assert reply.finish_reason == 'cancelled'
    assert ''.join(pieces) == reply.text
    assert COUNTED.startswith(reply.text)
    wait_for(lambda: served.metric('num_requests_running') == 0)
    assert 3 < served.metric('generation_tokens_total') - written < 3000


def test_a_deadline_stops_the_server(served: VllmServer, local: Engine, remote: Engine) -> None:
    begin = time.monotonic()
    reply = remote.generate(long_answer(local), max_new_tokens=3000, deadline=begin + 0.25)
    assert reply.finish_reason == 'deadline'
    assert time.monotonic() - begin < WAIT_S / 2
    wait_for(lambda: served.metric('num_requests_running') == 0)


def test_what_was_computed_of_an_image_serves_the_next_question(
    served: VllmServer, remote: Engine
) -> None:
    def hits() -> tuple[float, float]:
        return served.metric('mm_cache_hits_total'), served.metric('prefix_cache_hits_total')

    frame = scene(seed=random.getrandbits(32))  # that it has not seen
    answer_query(remote, replace(QUESTIONS[0], frames=(frame,)))
    before = hits()
    for question in QUESTIONS[1:]:
        answer_query(remote, replace(question, frames=(frame,)))
    expected = len(QUESTIONS) - 1, 32 * (len(QUESTIONS) - 1)  # a block of each prompt
    wait_for(lambda: all(after - first >= least for after, first, least in zip(
        hits(), before, expected)))  # they are counted a moment later


def test_a_name_that_the_server_does_not_know(served: VllmServer, local: Engine) -> None:
    with pytest.raises(ModelNotReadyError, match='does not serve another'):
        answer_query(
            connect(served, local, model='another'), replace(QUESTIONS[0], frames=(scene(),)))


def test_the_commands_ask_it(
    served: VllmServer, local: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``ask``, ``point``, ``plan`` and ``eval`` print what they print of a model in process."""
    picture = tmp_path / 'table.png'
    Image.fromarray(scene().pixels).save(picture)
    server = ['--url', served.url, '--model', MODEL, '--min-pixels', str(local.limits.min_pixels),
              '--max-pixels', str(local.limits.max_pixels)]
    skills = ['--skills', str(SKILL_FILES / 'manipulator.yaml')]
    for words in (['ask', str(picture), QUESTIONS[-1].text, '--thinking'],
                  ['point', str(picture), 'the green ball'],
                  ['plan', str(picture), PLAN], ['plan', str(picture), PLAN, *skills]):
        codes, answers = [], []
        for where in ([], server):
            codes.append(main([*words, '--json', *where]))
            answers.append({**json.loads(capsys.readouterr().out), 'seconds': 0})
        assert codes[0] == codes[1]
        assert answers[0] == answers[1]
    dataset = tmp_path / 'questions.jsonl'
    dataset.write_text('\n'.join(json.dumps({
        'id': str(number), 'image': picture.name, 'question': f'the {colour} {thing}',
        'task': 'points', 'answer': {'polygons': []}})
        for number, (colour, thing) in enumerate(
            (c, t) for c in ('red', 'blue', 'green') for t in ('cube', 'bowl', 'ball'))) + '\n')
    replies = []
    for where in ([], [*server, '--parallel', '4']):
        out = tmp_path / f'out{len(where)}'
        assert main(['eval', str(dataset), '--out', str(out), *where]) == 0
        lines = (out / 'replies.jsonl').read_text().splitlines()[1:]
        replies.append({reply['id']: (reply['text'], reply['finish_reason'])
                        for reply in map(json.loads, lines)})
    assert len(replies[0]) == 9
    assert replies[0] == replies[1]


def processes_of(group: int) -> list[int]:
    """Numbers of the processes of a group that run."""
    found = []
    for number in filter(str.isdecimal, os.listdir('/proc')):  # noqa: PTH208 names, not paths
        try:
            with open(f'/proc/{number}/stat') as file:  # noqa: PTH123 no file
                state, _, its_group = file.read().rpartition(')')[2].split()[:3]
        except OSError:  # it has ended meanwhile
            continue
        if state != 'Z' and int(its_group) == group:
            found.append(int(number))
    return found


def test_a_server_that_is_killed_and_comes_back(
    served: VllmServer, local: Engine, remote: Engine, request: pytest.FixtureRequest
) -> None:
    """All its processes end; the answer fails at once; a node that starts meanwhile waits."""
    query = replace(QUESTIONS[0], frames=(scene(),))
    before = outcome(remote, query)
    group = served.first
    assert len(processes_of(group)) > 1
    killed: list[float] = []

    def kill(*_: object) -> None:
        if not killed:
            killed.append(time.monotonic())
            served.kill()

    with pytest.raises((BackendError, BackendUnreachableError)) as caught:
        remote.generate(long_answer(local), max_new_tokens=3000, on_text=kill)
    assert time.monotonic() - killed[0] < WAIT_S / 2  # and not after token_timeout
    assert caught.value.raw_text
    assert not remote.health()[0].healthy
    wait_for(lambda: not processes_of(group))
    served.start()
    plan_when_it_serves(served, local, request)
    assert outcome(remote, query) == before
    assert remote.health()[0].healthy
    assert remote.holds_grammars


def plan_when_it_serves(
    served: VllmServer, local: Engine, request: pytest.FixtureRequest
) -> None:
    """Configure a node while a server starts, and plan with it."""
    pytest.importorskip('mimo_embodied_ros.msg', reason='ROS or the interfaces are not installed')
    from lifecycle_msgs.msg import Transition

    from mimo_embodied_ros import action
    from support.robot import Robot

    ros, log = request.getfixturevalue('ros'), request.getfixturevalue('log')
    robot = Robot(
        ros, backend='openai', model=MODEL, servers=[served.url], startup_timeout=START_S,
        min_pixels=local.limits.min_pixels, max_pixels=local.limits.max_pixels,
        first_token_timeout=WAIT_S, token_timeout=WAIT_S)
    configured = ros.executor.create_task(
        robot.node.change_state, Transition.TRANSITION_CONFIGURE)
    ros.wait_for(configured.done, START_S)
    assert configured.result(), log()
    assert len([line for line in log() if 'waiting for a server' in line]) == 1
    robot.activate()
    pixels = np.ascontiguousarray(scene().pixels)
    robot.see(pixels)
    result = robot.ask(action.PlanTask, 'plan_task', instruction=PLAN).result
    here, _ = answer_query(local, replace(QUESTIONS[0], frames=(Frame(pixels),)))
    assert result.raw_text == here.raw_text
