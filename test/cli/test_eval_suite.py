"""``eval --suite``: the report's table on made-up records, by the embedded model."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mimo_embodied_ros.cli.main import main
from mimo_embodied_ros.evaluation.regions import Mask
from mimo_embodied_ros.evaluation.suite import load_suite, read_benchmark
from support.openai_server import ANSWER, Server
from support.paths import TEST_DATA
from support.stubborn_server import StubbornServer
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.openai_server import Handler
    from support.ros import Ros

SUITE = TEST_DATA / 'suite'


def suite(data: Path, out: Path, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run the command; return its exit code and the rows by name."""
    code = main(['eval', '--suite', 'mimo-embodied', '--data', str(data), '--out', str(out),
                 *options])
    rows = json.loads((out / 'report.json').read_text())['benchmarks']
    assert len(rows) == 29
    return code, {row['name']: row for row in rows}


def test_the_whole_table_is_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, rows = suite(SUITE, tmp_path, '--limit', '1')
    assert code == 0
    table = capsys.readouterr().out.split('\n\n')[0].splitlines()
    assert table[0].split()[:3] == ['benchmark', 'published', 'ours']
    assert [line.split('  ')[0] for line in table[1:]] == [b.title for b in load_suite()]
    assert {name for name, row in rows.items() if row['state'] == 'needs judge'} == {
        'codalm', 'drivelm', 'idkb', 'lingoqa'}
    assert all(row['answered'] == row['questions'] > 0 for row in rows.values())
    # the embedded model finds what the made-up scenes ask for
    row = rows['where2place']
    assert (row['ours'], row['robot'], row['difference']) == (100, 100, 36.4)
    assert row['interval'][0] < 100 == row['interval'][1]
    assert row['state'] == 'partial'
    assert row['reason'] == 'the first 1 of each part'
    for export in rows['codalm']['exports'] + rows['drivelm']['exports']:
        assert tmp_path in type(tmp_path)(export).parents
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['system'] == 'You are a helpful assistant.'
    assert report['max_new_tokens'] == 16384

    # a second run asks nothing again, and only what is missing
    replies = tmp_path / 'where2place' / 'replies.jsonl'
    kept = replies.read_text()
    _, rows = suite(SUITE, tmp_path, '--only', 'where2place')
    assert replies.read_text().startswith(kept)
    assert len(replies.read_text().splitlines()) == 1 + 2  # two records ask the same
    assert rows['where2place']['state'] == 'ok'
    assert rows['where2place']['reason'] == ''
    assert rows['drama']['state'] == 'not run'


def test_a_broken_benchmark_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    data = tmp_path / 'data'
    shutil.copytree(SUITE / 'where2place', data / 'where2place')
    shutil.copytree(SUITE / 'part_afford', data / 'part_afford')
    for file in (data / 'part_afford').rglob('*.parquet'):
        file.write_bytes(b'PAR1 no more')
    code, rows = suite(data, tmp_path / 'out', '--limit', '1')
    assert code == 1
    assert rows['part_afford']['state'] == 'failed'
    assert '.parquet' in rows['part_afford']['reason']
    assert rows['where2place']['ours'] == 100
    assert rows['cvbench']['state'] == 'no data'
    assert str(data / 'cvbench') in rows['cvbench']['reason']


def test_a_model_on_a_server_is_asked_as_the_vendor_did(tmp_path: Path) -> None:
    with StubbornServer(ANSWER) as server:
        code, rows = suite(SUITE, tmp_path, '--only', 'where2place', 'robospatial', '--limit', '1',
                           '--url', server.url, '--model', 'mimo')
        bodies = [request.body for request in server.asked]
    assert code == 0
    assert rows['where2place']['ours'] == 0
    assert rows['robospatial']['parts']['compatibility']['metric'] == 'yes_no'
    assert {body['max_tokens'] for body in bodies} == {16384}
    assert {body['temperature'] for body in bodies} == {0}


def test_answers_of_another_model_are_read_by_its_profile(tmp_path: Path) -> None:
    record, = read_benchmark(
        next(b for b in load_suite() if b.name == 'where2place'), SUITE, limit=1,
        unpacked=tmp_path / 'pictures')
    assert isinstance(record.truth, Mask)
    mask = record.truth.pixels()
    thousandths = [round((i.mean() + 0.5) * 1000 / n)
                   for i, n in zip(np.nonzero(mask)[::-1], mask.shape[::-1])]

    def say(handler: Handler) -> None:
        handler.start()
        handler.say(json.dumps([{'point_2d': thousandths, 'label': 'it'}]), 'stop')
        handler.send('data: [DONE]\n\n')

    with Server(say) as server:
        _, rows = suite(SUITE, tmp_path, '--only', 'where2place', '--limit', '1', '--url',
                        server.url, '--model', 'Qwen/Qwen3-VL-8B-Instruct')
    assert rows['where2place']['robot'] == 100
    about = (tmp_path / 'where2place' / 'replies.jsonl').read_text().splitlines()[0]
    assert json.loads(about)['profile'] == 'qwen3-vl'


def test_an_interrupt_keeps_the_answers_and_prints_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(handler: Handler) -> None:
        if len(server.asked) == 2:
            os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C, before this answer
        handler.answer()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with StubbornServer(answer) as server:
            options = ['--only', 'erqa', 'embspatial', '--url', server.url, '--model', 'mimo']
            code, rows = suite(SUITE, tmp_path, *options)
            table = capsys.readouterr().out
            assert code == 130
            assert rows['erqa']['reason'] == '1 of 3; interrupted; run again to go on'
            assert rows['embspatial']['state'] == 'not run'
            assert len(table.split('\n\n')[0].splitlines()) == 30
            server.answers = [ANSWER]
            asked = len(server.asked)
            code, rows = suite(SUITE, tmp_path, *options)
            assert code == 0
            assert len(server.asked) - asked == 2 + 2  # the first answer was kept
            assert rows['erqa']['answered'] == 3
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_ends_all_questions_that_are_under_way(tmp_path: Path) -> None:
    def answer(handler: Handler) -> None:
        number = server.asked.index(handler)
        if number == 0:
            handler.answer()
            return
        if number == 2:  # one of the two at once has gone on, so that its answer is kept
            os.kill(os.getpid(), signal.SIGINT)
        handler.connection.settimeout(WAIT_S)
        assert not handler.connection.recv(1)  # closed by the client
        ended.append(number)

    ended: list[int] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with StubbornServer(answer) as server:
            options = ['--only', 'erqa', '--url', server.url, '--model', 'mimo', '--parallel', '2']
            code, rows = suite(SUITE, tmp_path, *options)
            assert code == 130
            assert rows['erqa']['reason'].endswith('interrupted; run again to go on')
            assert len((tmp_path / 'erqa' / 'replies.jsonl').read_text().splitlines()) == 2
            wait_for(lambda: sorted(ended) == [1, 2])
            server.answers = [ANSWER]
            code, rows = suite(SUITE, tmp_path, *options)
            assert (code, rows['erqa']['answered'], len(server.asked)) == (0, 3, 3 + 2)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(('options', 'says'), [
    (['--data', 'absent'], 'is no folder'),
    (['--data', '.', '--only', 'cvbnch'], 'is not known; use roborefit'),
    (['--data', '.', '--url', 'http://127.0.0.1:9/v1'], '--url needs --model'),
    (['--data', '.', '--parallel', '0'], '--parallel is 0; give 1 or more'),
    (['--data', '.', '--parallel', '2'], 'a model in this process, or a node, is asked one'),
    (['--data', '.', '--judge-url', 'http://127.0.0.1:9/v1'], 'give its URL'),
])
def test_wrong_options_are_refused(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ['eval', '--suite', 'mimo-embodied', '--out', str(tmp_path / 'out'), *options]
    assert main(words) == 1
    assert says in capsys.readouterr().err
    assert main(['eval']) == 1
    assert 'give DATASET' in capsys.readouterr().err


def test_a_running_node_answers_the_same(ros: Ros, tmp_path: Path) -> None:
    from mimo_embodied_ros.cli.node_asker import NodeAsker
    from mimo_embodied_ros.evaluation.judges import Judges
    from mimo_embodied_ros.evaluation.suite_run import run_suite
    from support.robot import Robot

    robot = Robot(ros).start()
    chosen = [b for b in load_suite() if b.name in {'where2place', 'robospatial', 'omnidrive'}]
    with NodeAsker(ros.node('asker'), 'mimo_embodied') as asker:
        rows = {row.name: row for row in run_suite(
            chosen, SUITE, tmp_path, asker, Judges(), limit=1)}
    assert robot.node
    assert rows['where2place'].ours == 100
    assert rows['where2place'].robot == 100
    assert rows['robospatial'].ours == 100
    # six videos, sent as one list of pictures
    assert (rows['omnidrive'].answered, rows['omnidrive'].failures) == (1, {})
