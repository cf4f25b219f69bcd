"""What ``mimo-embodied doctor`` finds on machines where a library or a file is missing."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('torch')

from packaging.specifiers import SpecifierSet

from mimo_embodied_ros.cli.doctor import _skills
from mimo_embodied_ros.cli.main import main
from mimo_embodied_ros.engine import EngineConfig, load_engine
from support.paths import EMBEDDED_MODEL, ROOT, SKILL_FILES
from support.programs import run_python

# what takes seconds to import; also absent where a test is not about it
LARGE = 'rclpy accelerate bitsandbytes peft'

PROGRAM = """
import sys
for absent in sys.argv.pop(1).split():
    sys.modules[absent] = None
from mimo_embodied_ros.cli.main import main
sys.exit(main(['doctor', *sys.argv[1:]]))
"""


def doctor(
    *arguments: str | Path, without: str = '', **environment: str
) -> tuple[int, dict[str, dict[str, Any]], str]:
    """Return exit code, findings by name, and stderr; ``without`` names modules to hide."""
    done = run_python(PROGRAM, without, *arguments, '--json',
                      environment={**os.environ, **environment}, succeeds=False)
    report = json.loads(done.stdout)
    assert report['ok'] is (done.returncode == 0)
    assert report['ok'] is all(f['state'] != 'broken' for f in report['findings'])
    for finding in report['findings']:
        assert bool(finding['meaning']) is (finding['state'] != 'ok'), 'what is wrong is explained'
    return done.returncode, {f['name']: f for f in report['findings']}, done.stderr


def hide_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide what takes seconds to import from a command that runs in this process."""
    for absent in LARGE.split():
        monkeypatch.setitem(sys.modules, absent, None)


def test_ros_is_optional() -> None:
    code, findings, _ = doctor(without='rclpy')
    assert code == 0
    assert findings['rclpy']['state'] == 'absent'
    assert 'the ROS node' in findings['rclpy']['meaning']
    needed = 'torch', 'transformers', 'engine', 'model'
    assert {findings[name]['state'] for name in needed} == {'ok'}
    assert EMBEDDED_MODEL.name in findings['model']['found']
    assert 'free' in findings['memory']['found']
    assert findings['Python']['found'] == sys.version.split()[0]


def test_the_calls_of_skills_are_checked(tmp_path: Path) -> None:
    pytest.importorskip('rclpy')
    path = tmp_path / 'skills.yaml'
    text = (SKILL_FILES / 'tabletop.yaml').read_text()
    path.write_text(text)
    assert _skills(str(path)).found == (
        'pick, place: all calls and conditions fit their types')
    path.write_text(text.replace('skill: place', 'skill: 3'))
    finding = _skills(str(path))
    assert (finding.state, finding.found) == ('broken', str(path))
    assert f'{path}, line 37: skill place cannot call /gripper/run_skill' in finding.meaning


def test_missing_parts_of_ros_are_explained() -> None:
    pytest.importorskip('rclpy')
    _, findings, _ = doctor(without='mimo_embodied_ros.msg tf2_ros torch transformers')
    assert findings['ROS 2']['state'] == 'ok'
    assert findings['interfaces']['state'] == 'broken'
    assert 'colcon' in findings['interfaces']['remedy']
    assert findings['tf2_ros']['state'] == 'absent'
    assert findings['cv_bridge']['state'] in {'ok', 'absent'}


@pytest.mark.parametrize('needed', ['torch', 'transformers', 'safetensors'])
def test_a_missing_library_that_is_needed_is_broken(needed: str) -> None:
    code, findings, _ = doctor(without=f'{LARGE} {needed}')
    assert code == 1
    assert findings[needed]['state'] == 'broken'
    assert findings[needed]['remedy'].startswith('pip install')
    assert ('model' in findings) is (needed != 'safetensors')


def test_a_library_that_does_not_import_is_broken(tmp_path: Path) -> None:
    (tmp_path / 'peft.py').write_text('raise RuntimeError("built for another torch")')
    code, findings, _ = doctor(
        without='rclpy accelerate bitsandbytes transformers', PYTHONPATH=str(tmp_path))
    assert code == 1
    assert findings['peft']['state'] == 'broken'
    assert 'built for another torch' in findings['peft']['found']


@pytest.mark.parametrize(('release', 'state'), [
    ('5.2.0', 'ok'), ('5.3.0', 'risky'), ('5.5.3', 'risky'), ('5.6.0', 'ok')])
def test_releases_with_wrong_positions_are_named(
    tmp_path: Path, release: str, state: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / f'transformers-{release}.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: transformers\n'
                                     f'Version: {release}\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    hide_large(monkeypatch)
    assert main(['doctor', '--json']) == 0
    (found,) = [finding for finding in json.loads(capsys.readouterr().out)['findings']
                if finding['name'] == 'transformers']
    assert (found['state'], found['found']) == (state, release)
    if state == 'risky':
        assert 'find worse places' in found['meaning']
        assert '`transformers serve`' in found['meaning']
        assert 'this package computes its own positions' in found['meaning']
        assert 'requirements/model.txt' in found['remedy']


@pytest.mark.parametrize(('release', 'admitted'), [
    ('5.2.0', True), ('5.3.0', False), ('5.4.0', False), ('5.5.0', False), ('5.5.3', False),
    ('5.6.0', True), ('5.23.0', True)])
def test_releases_with_wrong_positions_are_not_installed(release: str, admitted: bool) -> None:
    lines = (ROOT / 'requirements' / 'model.txt').read_text().splitlines()
    (line,) = [line for line in lines if re.match('transformers.*>=', line) and "'3.11'" in line
               and 'version >=' in line]
    assert SpecifierSet(line.removeprefix('transformers').split(';')[0]).contains(
        release) is admitted


def test_a_damaged_model_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copytree(EMBEDDED_MODEL, tmp_path / 'model'))
    weights = model / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:1000])
    hide_large(monkeypatch)
    assert main(['doctor', str(model), '--json']) == 1
    findings = {f['name']: f for f in json.loads(capsys.readouterr().out)['findings']}
    assert findings['model']['state'] == 'broken'
    assert str(weights) in findings['model']['meaning']
    assert '`hf download' in findings['model']['meaning']
    assert 'memory' not in findings


def test_nothing_is_downloaded(tmp_path: Path) -> None:
    with socket.create_server(('127.0.0.1', 0)) as hub:
        hub.setblocking(False)
        code, findings, _ = doctor(
            'XiaomiMiMo/MiMo-Embodied-7B', without=LARGE, HF_HOME=str(tmp_path),
            HF_ENDPOINT=f'http://127.0.0.1:{hub.getsockname()[1]}', HF_HUB_OFFLINE='0')
        with pytest.raises(BlockingIOError):
            hub.accept()
    assert code == 1
    assert '`hf download XiaomiMiMo/MiMo-Embodied-7B`' in findings['model']['meaning']


def test_a_line_for_each_finding() -> None:
    done = run_python(PROGRAM, f'{LARGE} transformers', '/nowhere', '--skills',
                      SKILL_FILES / 'tabletop.yaml', succeeds=False)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} <= {'ok', 'absent', 'BROKEN'}
    assert any(line.startswith('absent  peft; no LoRA adapter') for line in lines)
    assert lines[-2].startswith('BROKEN  model /nowhere; there is no model directory')
    assert lines[-1].startswith('BROKEN  skills ')  # rclpy is one of the large ones
    assert 'ROS 2 has their types, and is absent' in lines[-1]


@pytest.fixture
def model() -> Any:
    engine = load_engine(EngineConfig(str(EMBEDDED_MODEL), device='cpu'))
    yield engine
    engine.close()


def test_the_points_of_a_server_are_checked(
    model: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip('httpx2')
    from support.model_server import serving
    from support.openai_server import Server

    sizes = ['--min-pixels', '19600', '--max-pixels', '38416']
    with Server(serving(model, lambda x, y, *_: (y, x))) as server:
        server.models = {'data': [{'id': 'tiny'}]}
        url = server.url.removesuffix('/v1')
        assert main(['doctor', '--url', url, *sizes]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert f'ok      server {url} answers as tiny' in lines
        assert [line.split()[2].rstrip(';') for line in lines if ' grounding ' in line][:5] == [
            'one', 'two', 'wide', 'tall', 'large']
        assert any(line.startswith('BROKEN  grounding wide; swapped y first (') for line in lines)
        assert 'the model writes y before x' in lines[-1]
        profiles = tmp_path / 'profiles.yaml'
        profiles.write_text('tiny: {models: tiny, y_first: true, point: points}\n')
        assert main(['doctor', '--url', url, url, '--profiles', str(profiles), *sizes]) == 0
        assert capsys.readouterr().out.count('grounding right in one, two') == 2
        server.behaviour = serving(model)
        assert main(['doctor', '--url', server.url, '--model', 'any', *sizes]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(line.startswith('ok      grounding two right (') for line in lines)
        assert lines[-1].startswith('ok      grounding right in one, two, wide, tall, large')
        assert not any('torch' in line for line in lines), 'a robot needs none for a server'
        server.models['data'].append({'id': 'large'})
        assert main(['doctor', '--url', server.url]) == 1
        assert 'lists 2 models (tiny, large); name one with --model' in capsys.readouterr().out


def test_the_points_of_a_model_in_this_process_are_checked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_large(monkeypatch)
    assert main(['doctor', '--model', str(EMBEDDED_MODEL)]) == 0
    assert 'ok      grounding right in one, two' in capsys.readouterr().out
    assert main(['doctor', 'there', '--model', 'here']) == 1
    assert 'two models are named' in capsys.readouterr().err
