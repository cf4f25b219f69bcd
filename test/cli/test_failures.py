"""What users see when a command cannot do or finish its work: one sentence, and no traceback."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from mimo_embodied_ros.cli.main import main
from mimo_embodied_ros.cli.output import write_json
from mimo_embodied_ros.engine.libraries import hide_notes
from mimo_embodied_ros.worlds import table_scene
from support.paths import ROOT
from support.programs import COMMAND_LINE, run_program, run_python
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ros import Ros

BAG = ROOT / 'bags' / 'tabletop'
FULL = Path('/dev/full')
AWAY = ROOT / 'test'  # where Python does not find the sources, which lack the interfaces


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture and two datasets of one question, one of which is not Unicode."""
    path = tmp_path_factory.mktemp('my pictures')
    scene = table_scene.draw_table(random.Random(7), 848, 480, things=(
        table_scene.Thing('red', 'cube', 200, 320, 48),))
    Image.fromarray(scene.pixels).save(path / 'table.png')
    (path / 'set.jsonl').write_text(json.dumps({
        'image': 'table.png', 'question': 'Is there a red cube? \ud83d',
        'answer': {'text': 'yes'}}))
    (path / 'cube.jsonl').write_text(json.dumps({
        'image': 'table.png', 'question': 'Is there a red cube?', 'answer': {'text': 'yes'}}))
    return path


@pytest.fixture
def picture(folder: Path) -> str:
    return str(folder / 'table.png')


@pytest.fixture(scope='module')
def remote() -> Iterator[list[str]]:
    """Options for a model that points, where no test is about it: it needs no torch to import."""
    pytest.importorskip('httpx2')
    from support.openai_server import Handler, Server

    def point(handler: Handler) -> None:
        handler.start()
        handler.say('[[100, 200]]', finish='stop')

    with Server(point) as server:
        yield ['--url', server.url, '--model', 'mimo']


def run_with_output(output: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with a file descriptor as its stdout."""
    return subprocess.run(
        [*COMMAND_LINE, *arguments], stdout=output, stderr=subprocess.PIPE, text=True, cwd=AWAY,
        timeout=WAIT_S * 5, check=False)


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    """The end for writing of a pipe that nobody reads any more, as after ``| head -1``."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


LONG = (['--help'], ['plan', '--help'], ['doctor'],
        ['doctor', '--json', '--url', 'http://127.0.0.1:9'],  # needs no torch, which takes seconds
        ['point', 'PICTURE', 'the red cube', '--json'])


@pytest.mark.parametrize('arguments', LONG, ids=' '.join)
def test_a_closed_pipe_ends_a_command_quietly(
    arguments: list[str], picture: str, closed_pipe: int, remote: list[str]
) -> None:
    if 'PICTURE' in arguments:
        arguments = [picture if a == 'PICTURE' else a for a in arguments] + remote
    done = run_with_output(closed_pipe, *arguments)
    assert done.stderr == ''
    assert done.returncode == 141 or '--help' in arguments  # which argparse prints


def test_a_full_disk_is_told_in_one_sentence() -> None:
    with FULL.open('w') as full:
        done = run_with_output(full.fileno(), 'doctor')
    assert done.returncode == 1
    assert done.stderr == ('mimo-embodied: No space left on device; free space on the disk, or '
                           'give a folder on another one\n')


def test_a_closed_stdout_is_no_error() -> None:
    done = run_program('sh', '-c', f'{sys.executable} -m mimo_embodied_ros.cli.main --help >&-')
    assert 'Traceback' not in done.stderr


def test_a_full_disk_names_the_file(
    picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'where.png'
    out.symlink_to(FULL)
    assert main(['point', picture, 'the red cube', '--out', str(out)]) == 1
    sentence, = capsys.readouterr().err.splitlines()
    assert f'{out} cannot be written: ' in sentence
    assert 'No space left on device; free space' in sentence
    with pytest.raises(OSError, match='No space left on device') as error:
        write_json(out, {})
    assert error.value.filename == str(out)


@pytest.mark.parametrize('arguments', [
    ['eval', 'SET', '--out', 'OUT'],
    ['demo', '--out', 'OUT'],
    ['demo-pick', '--out', 'OUT'],
    ['point', 'PICTURE', 'cube', '--out', 'OUT/a.png'],
], ids=lambda arguments: arguments[0])
@pytest.mark.parametrize('out', ['/proc/out', 'PICTURE/out', 'PICTURE'])
def test_a_folder_that_cannot_be_written_is_told_in_one_sentence(
    arguments: list[str], out: str, folder: Path, picture: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, 'environ', dict(os.environ))  # the demos change it
    words = [a.replace('OUT', out).replace('PICTURE', picture)
             .replace('SET', str(folder / 'set.jsonl')) for a in arguments]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert 'Traceback' not in error
    assert out.replace('PICTURE', picture) in error.splitlines()[-1]
    assert '; ' in error.splitlines()[-1], 'the remedy'


def test_a_limit_for_the_size_of_files_is_told(
    picture: str, tmp_path: Path, remote: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('COVERAGE_PROCESS_START', 'COVERAGE_PROCESS_CONFIG'):  # its file has no room
        monkeypatch.delenv(name, raising=False)
    command, options = ' '.join(COMMAND_LINE), ' '.join(remote)
    out = tmp_path / 'where.png'
    done = run_program('bash', '-c', f'ulimit -f 1; {command} point "$0" cube --out "$1" {options}',
                       picture, out, succeeds=False)
    assert done.returncode == 1
    assert 'File too large; raise the limit' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_home_folders_are_found_without_the_shell(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(folder))
    assert main(['point', '~/table.png', 'the red cube', '--out=~/out/where.png']) == 0
    assert (folder / 'out' / 'where.png').exists()
    for arguments in (['point', '~no_such_user/table.png', 'cube'],
                      ['play', '~no_such_user/bag'],
                      ['doctor', '~no_such_user/model'],
                      ['eval', '~no_such_user/set.jsonl'],
                      ['demo', '--bag=~no_such_user/bag'],
                      ['plan', '~/table.png', 'x', '--skills=~no_such_user/skills.yaml'],
                      ['serve', '--params-file', '~no_such_user/a.yaml']):
        capsys.readouterr()
        if arguments[0] != 'serve':  # whose node speaks by the log of ROS
            assert main(arguments) == 1
            assert 'home folder of this user is not known' in capsys.readouterr().err


@pytest.mark.parametrize('encoding', ['ascii', 'utf-16'])
def test_letters_that_the_output_lacks_are_escaped(
    picture: str, encoding: str, remote: list[str]
) -> None:
    question = '红色的杯子 é 😀'
    environment = {**os.environ, 'PYTHONIOENCODING': encoding, 'LC_ALL': 'C'}
    done = subprocess.run(
        [*COMMAND_LINE, 'point', picture, question, '--json', *remote], capture_output=True,
        cwd=AWAY, env=environment, timeout=WAIT_S * 5, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode(encoding))['question'] == question


def test_words_that_the_output_lacks_do_not_end_a_command() -> None:
    done = run_python(
        'import sys; from mimo_embodied_ros.cli import output; output.open_output();'
        'print("\\u7ea2 \\ud83d")', environment={**os.environ, 'PYTHONIOENCODING': 'ascii'})
    assert done.stdout == '\\u7ea2 \\ud83d\n'


def test_half_a_letter_in_a_dataset_does_not_end_its_evaluation(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['eval', str(folder / 'set.jsonl'), '--out', str(tmp_path), '--json']) == 0
    json.loads(capsys.readouterr().out)
    report = json.loads((tmp_path / 'report.json').read_text('utf-8'))
    assert report['questions'][0]['failure'] == 'INVALID_REQUEST'


@pytest.mark.parametrize('width', ['0', '1', 'wide', ''])
def test_help_needs_no_width(
    width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('COLUMNS', width)
    with pytest.raises(SystemExit) as end:
        main(['eval', '--help'])
    assert end.value.code == 0
    assert 'DATASET' in capsys.readouterr().out


def test_a_missing_package_is_named() -> None:
    pytest.importorskip('rclpy')
    done = run_python(
        'import sys; sys.modules["lz4.frame"] = None\n'
        'from mimo_embodied_ros.cli.main import main; sys.exit(main(["play", sys.argv[1]]))',
        BAG, succeeds=False)
    assert done.returncode == 1
    sentence, = done.stderr.splitlines()
    assert 'lz4.frame' in sentence
    assert '`mimo-embodied doctor`' in sentence


@pytest.mark.parametrize('home', [None, '', '/proc/home'])
def test_ros_runs_without_a_home(ros: Ros, home: str | None) -> None:
    environment = {name: value for name, value in ros.environment.items()
                   if name not in {'HOME', 'ROS_HOME', 'ROS_LOG_DIR'}}
    if home is not None:
        environment['HOME'] = home
    done = run_program(*COMMAND_LINE, 'play', BAG, '--rate', '1000', '--quiet',
                       environment=environment)
    warning, = done.stderr.splitlines()
    assert 'there is no file with the log' in warning
    assert 'set ROS_LOG_DIR' in warning


class Interrupted:
    """A program with a process group of its own, which Ctrl-C reaches as a whole."""

    def __init__(self, environment: dict[str, str], *arguments: str | Path) -> None:
        # An interrupt in coverage's own code leaves its lock taken, and the process waits for it.
        environment = {
            n: value for n, value in environment.items() if not n.startswith('COVERAGE_PROCESS')}
        self.process = subprocess.Popen(
            [*COMMAND_LINE, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, cwd=AWAY, env=environment, start_new_session=True)

    def interrupt(self, *, often: bool = False) -> tuple[int, str]:
        """Press Ctrl-C, or press it until the end; return the exit code and the rest of stderr."""
        os.killpg(self.process.pid, signal.SIGINT)
        end = time.monotonic() + WAIT_S * 5
        while often and self.process.poll() is None and time.monotonic() < end:
            self.process.send_signal(signal.SIGINT)
            time.sleep(0.002)
        _, error = self.process.communicate(timeout=WAIT_S * 5)
        return self.process.returncode, error


def test_an_interrupt_ends_a_command_quietly() -> None:
    program = Interrupted({**os.environ}, 'doctor')
    assert program.process.stdout is not None
    program.process.stdout.readline()
    assert program.interrupt() == (130, '')


def test_an_interrupt_ends_a_demo_with_its_nodes_quietly(ros: Ros, tmp_path: Path) -> None:
    pytest.importorskip('py_trees')
    program = Interrupted(ros.environment, 'demo-pick', '--out', tmp_path)
    wait_for((tmp_path / 'executor.log').exists, WAIT_S)
    assert program.interrupt() == (130, '')


def test_a_demo_that_is_terminated_ends_its_programs(ros: Ros, tmp_path: Path) -> None:
    pytest.importorskip('py_trees')
    demo = Interrupted(ros.environment, 'demo-pick', '--out', tmp_path).process
    assert demo.stdout is not None
    assert demo.stdout.readline().startswith('scene 0')
    programs = subprocess.run(['pgrep', '-P', str(demo.pid)], check=True, text=True,
                              capture_output=True).stdout.split()
    assert len(programs) == 2  # node and executor
    demo.terminate()
    demo.communicate(timeout=WAIT_S)
    assert demo.returncode == 130
    assert not any(Path('/proc', program).exists() for program in programs)


@pytest.mark.parametrize('name', ['simulation', 'mimo_client'])
def test_an_interrupt_while_a_thread_starts_ends_the_thread(ros: Ros, name: str) -> None:
    done = run_python("""
import sys, threading
import rclpy
from mimo_embodied_ros.cli.closed_loop import _spun
from mimo_embodied_ros.client import MimoClient

start = threading.Thread.start

def interrupted(thread):
    start(thread)
    if thread.name == sys.argv[1]:
        raise KeyboardInterrupt

threading.Thread.start = interrupted
rclpy.init(args=[])
node = rclpy.create_node('interrupted')
try:
    with _spun(node), MimoClient(node):
        pass
except KeyboardInterrupt:
    sys.exit(130)
""", name, environment=ros.environment, succeeds=False)
    assert (done.returncode, done.stderr) == (130, '')


@pytest.mark.parametrize('command', [
    ('play', BAG, '--loop'), ('serve',), ('view',), ('simulate', 'drawn'),
    ('remember', '-p', "file:=''"),
    ('execute', '-p', f'skills_file:={ROOT}/config/skills/tabletop.yaml')], ids=lambda c: c[0])
def test_what_runs_until_it_is_interrupted_then_ends_with_0(
    ros: Ros, command: tuple[str | Path, ...]
) -> None:
    program, node = Interrupted(ros.environment, *command), ros.node('watcher')
    wait_for(lambda: {*node.get_node_names()} - {'watcher'})
    code, error = program.interrupt(often=True)
    assert code == 0
    assert 'Traceback' not in error
    assert 'Exception ignored' not in error


@pytest.mark.parametrize('library', ['_multiarray_umath', 'cv2'])
def test_a_node_that_is_interrupted_while_it_is_imported_ends_quietly(
    ros: Ros, library: str
) -> None:
    program = Interrupted(ros.environment, 'serve')
    maps = Path(f'/proc/{program.process.pid}/maps')
    wait_for(lambda: library in maps.read_text())
    code, error = program.interrupt(often=True)
    assert code == 0
    assert 'Traceback' not in error


def test_the_program_of_the_node_ends_with_0_when_it_is_interrupted_at_once(ros: Ros) -> None:
    program = Path(sys.prefix, 'lib', 'mimo_embodied_ros', 'mimo_embodied')
    process = subprocess.Popen([program], stderr=subprocess.PIPE, text=True, env=ros.environment)
    wait_for(lambda: 'cv2' in Path(f'/proc/{process.pid}/maps').read_text())
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=WAIT_S * 5)
    assert (process.returncode, error) == (0, '')


def test_play_carries_large_images_unless_the_user_has_a_profile(ros: Ros) -> None:
    code = ('import os, sys; from mimo_embodied_ros.cli.main import main\n'
            'from mimo_embodied_ros.share import fast_dds_variable\n'
            'os.environ.update(dict.fromkeys([fast_dds_variable()] * len(sys.argv[2:]), "mine"))\n'
            'main(["play", sys.argv[1], "--rate", "1000", "--quiet"])\n'
            'print(os.environ[fast_dds_variable()])')
    profile = ROOT / 'config' / 'fastdds_large_images.xml'
    carried = run_python(code, BAG, environment=ros.environment).stdout.strip()
    assert Path(carried).read_text('utf-8') == profile.read_text('utf-8')
    kept = run_python(code, BAG, 'mine', environment=ros.environment).stdout
    assert kept.splitlines()[-1] == 'mine'  # after what Fast DDS says of a file that is not there


def test_a_program_handles_an_interrupt_once_and_returns_its_code() -> None:
    code = ('import os, signal; from mimo_embodied_ros.program import interrupted, run\n'
            'press = lambda: os.kill(os.getpid(), signal.SIGINT)\n'
            'def main():\n'
            '    try:\n        press()\n'
            '    finally:\n        press()\n        print(interrupted())\n')
    assert run_python(code + 'run(main)').stdout == 'True\n'
    assert run_python(code + 'run(lambda: 3)', succeeds=False).returncode == 3
    # a library that is imported may turn the interrupt into another error
    assert run_python(code + 'run(lambda: main() or 1 / 0)').stderr == ''
    converted = ('def other():\n    try:\n        press()\n'
                 '    except BaseException:\n        1 / 0\n')
    assert run_python(code + converted + 'run(other)').stderr == ''
    failing = run_python(code + 'run(lambda: 1 / 0)', succeeds=False)
    assert 'ZeroDivisionError' in failing.stderr


def test_a_node_ends_without_a_look_at_all_that_was_loaded(ros: Ros) -> None:
    done = run_python(
        'import atexit, gc, sys; from mimo_embodied_ros.viewer import viewer_node\n'
        'atexit.register(lambda: print(gc.get_freeze_count() > 0))\n'
        'sys.exit(viewer_node.main(["--ros-args", "-p", "jpeg_quality:=-1"]))',
        environment=ros.environment, succeeds=False)
    assert (done.returncode, done.stdout) == (1, 'True\n')


@pytest.mark.parametrize(('logger', 'note'), [
    ('bitsandbytes.backends.cpu.ops', 'Failed to load CPU gemm_4bit_forward from kernels'),
    ('bitsandbytes.autograd._functions', 'MatMul8bitLt: inputs will be cast from torch.float32 to'),
])
def test_notes_of_libraries_are_hidden_and_their_errors_are_not(
    logger: str, note: str, caplog: pytest.LogCaptureFixture
) -> None:
    hide_notes()
    hide_notes()
    source = logging.getLogger(logger)
    assert len(source.filters) == 1
    source.warning(note)
    source.error('another thing')
    assert [record.message for record in caplog.records] == ['another thing']


def test_weights_in_8_bit_answer_without_notes(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip('bitsandbytes')
    done = run_program(*COMMAND_LINE, 'eval', folder / 'cube.jsonl', '--quantization', '8bit',
                       '--out', tmp_path)
    assert [line for line in done.stderr.splitlines() if not line.startswith('loading')] == []
