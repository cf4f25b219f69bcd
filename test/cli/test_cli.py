"""The console program, as a user starts it."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mimo_embodied_ros.cli.main import main, parser
from mimo_embodied_ros.cli.serve import ros_arguments
from mimo_embodied_ros.cli.simulate import parameters_of
from mimo_embodied_ros.worlds import table_scene
from support.paths import SKILL_FILES
from support.programs import run_python
from support.videos import write_video

if TYPE_CHECKING:
    from pathlib import Path

SCENE = table_scene.draw_table(random.Random(7), 848, 480, things=(
    table_scene.Thing('red', 'cube', 200, 320, 48),
    table_scene.Thing('blue', 'bowl', 620, 200, 58)))
COMMANDS = ('ask', 'point', 'plan', 'eval', 'serve', 'serve-openai', 'view', 'simulate',
            'play', 'demo', 'demo-pick', 'doctor')


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / 'table.png'
    Image.fromarray(SCENE.pixels).save(path)
    return str(path)


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parser().parse_args([command, '--help'])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert f'usage: mimo-embodied {command}' in text
    assert len(text.splitlines()) >= 10


def test_simulate_gives_its_arguments_to_the_node() -> None:
    options = parser().parse_args(['simulate', 'eye.xml', '--seed', '3', '--things',
                                   'red cube, blue bowl', '-p', 'rate:=0.0'])
    assert parameters_of(options) == [
        'world:=eye.xml', 'seed:=3', 'things:=[red cube, blue bowl]']
    assert ros_arguments(options, parameters_of(options))[-2:] == ['-p', 'rate:=0.0']


def test_point_prints_pixels_and_draws_them(
    picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'new' / 'where.png'
    assert main(['point', picture, 'the red cube', '--out', str(out)]) == 0
    x, y, *label = capsys.readouterr().out.split()
    assert table_scene.mask(SCENE, SCENE.things[0])[int(float(y)), int(float(x))]
    assert ' '.join(label) == 'the red cube'
    drawn = np.asarray(Image.open(out))
    assert drawn.shape[1] == 848
    assert drawn.shape[0] > 480  # the question stands below
    changed = (drawn[:480] != SCENE.pixels).any(-1)
    assert changed[int(float(y)), int(float(x))]
    assert changed.mean() < 0.1


def test_an_absent_object(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['point', picture, 'the green ball']) == 0
    assert capsys.readouterr().out == 'not there\n'


def test_plan_as_json(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['plan', picture, 'put the red cube in the blue bowl', '--json']) == 0
    answer: Any = json.loads(capsys.readouterr().out)
    assert answer['image'] == {'width': 848, 'height': 480}
    assert [s['action'] for s in answer['answer']['steps']] == ['pick up', 'put']
    assert answer['raw_text'].startswith('<think>')


def test_ask_typed_and_free(picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    question = 'Is the red cube left of the blue bowl?'
    assert main(['ask', picture, question, '--spatial']) == 0
    assert capsys.readouterr().out == 'yes\n'
    assert main(['ask', picture, 'Is the red cube in the left or in the right half?']) == 0
    assert capsys.readouterr().out == 'left\n'


def test_a_video_is_asked_as_a_video_and_drawn_on_its_last_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = SCENE.pixels[::2, ::2]
    file = write_video(tmp_path / 'clip', [small // 2] * 30 + [small], rate=10)
    out = tmp_path / 'last.png'
    arguments = ['ask', str(file), 'Is there a red cube?', '--spatial', '--json']
    assert main([*arguments, '--rate', '1', '--no-retry', '--out', str(out)]) == 0
    answer: Any = json.loads(capsys.readouterr().out)
    assert answer['times'] == [0, 1, 2, 3]
    assert answer['image'] == {'width': 424, 'height': 240}
    assert answer['answer']['text']
    drawn = np.asarray(Image.open(out))[:240].astype(int)
    assert np.abs(drawn - small).mean() < 8
    assert main(['point', str(file), 'the red cube']) == 1
    assert 'is a video; give a picture, or use `mimo-embodied ask`' in capsys.readouterr().err
    assert main([*arguments, '--rate', '0']) == 1
    assert '--rate is 0; give a positive number' in capsys.readouterr().err


def test_a_system_prompt_and_a_longest_reasoning(
    picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    thoughts = []
    for more in (['--thinking'], ['--thinking-tokens', '6'], ['--system', 'Be kind.']):
        question = 'Is the red cube left of the blue bowl?'
        assert main(['ask', picture, question, '--spatial', '--json', *more]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer['answer']['yes'] is True
        thoughts.append(answer['reasoning'])
    whole, short, none = thoughts
    assert whole.startswith(short)
    assert len(whole) > len(short) > len(none) == 0


def test_an_answer_that_cannot_be_read_is_asked_for_again(
    picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('llguidance')
    arguments = ['point', picture, 'Is the red cube left of the blue bowl?', '--json']
    assert main(arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer['attempts'] == 2
    assert answer['raw_text'].endswith(']')
    assert main([*arguments, '--no-retry']) == 1
    assert 'cannot be read as points' in capsys.readouterr().err
    assert answer['unread'][0].endswith('yes')


def test_a_server_is_tried_before_it_is_asked(
    picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that changes images answers with wrong pixels; what it can hold is held."""
    pytest.importorskip('httpx2')
    from support.openai_server import Server
    from support.stubborn_server import StubbornServer

    with Server(lambda handler: handler.answer()) as server:  # as many tokens for every image
        remote = ['--url', server.url, '--model', 'mimo', '--max-pixels', '100000']
        assert main(['point', picture, 'the red cube', *remote]) == 1
    assert 'between 3136 and 100000 pixels it counts 0 tokens' in capsys.readouterr().err
    with StubbornServer('1. pick up the red cube') as server:
        words = ['plan', picture, 'pick up the red cube', '--skills',
                 str(SKILL_FILES / 'manipulator.yaml')]
        main([*words, '--url', server.url, '--model', 'mimo'])
        assert server.asked[0].body['structured_outputs']['grammar'].startswith('start: ')


@pytest.mark.parametrize(('arguments', 'says'), [
    (['ask', 'nowhere.png', 'What?'], 'there is no file nowhere.png'),
    (['ask', __file__, 'What?'], 'cannot be read as a picture'),
    (['ask', 'PICTURE', ' '], 'is empty'),
    (['ask', 'PICTURE', 'What?', '--system', 'a <|im_end|>'], 'the system prompt holds'),
    (['ask', 'PICTURE', 'What?', '--thinking-tokens', '-1'], 'thinking_tokens is -1'),
    (['ask', 'PICTURE', 'What?', '--model', '/nowhere/model'], '/nowhere/model'),
    (['point', 'PICTURE', 'cube', '--out', '/proc/where.png'], '/proc/where.png'),
    (['play', '/nowhere/bag'], '/nowhere/bag'),
    (['play', 'BAG', '--remap', 'a'], '--remap a'),
])
def test_errors_name_cause_and_remedy(
    arguments: list[str], says: str, picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [picture if a == 'PICTURE' else a for a in arguments]
    assert main(arguments) == 1
    assert says in capsys.readouterr().err


def test_a_picture_is_answered_without_ros(picture: str) -> None:
    code = (
        'import sys; from mimo_embodied_ros.cli.main import main; '
        f'main(["point", {picture!r}, "red cube"]); '
        'sys.exit(any(m.split(".")[0] == "rclpy" for m in sys.modules))'
    )
    run_python(code)


def test_a_profile_is_named_or_in_a_file(
    picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['point', picture, 'the red cube', '--profile', 'qwen9']) == 1
    assert "INVALID_REQUEST: profile 'qwen9' is not known; use one of mimo-embodied, " in (
        capsys.readouterr().err)
    # the embedded model counts pixels: read as thousandths of the image they are elsewhere
    file = tmp_path / 'profiles.yaml'
    file.write_text('wrong: {models: mimo_tiny, range: 1000, answering: {suffix: " /no_think"}}')
    assert main(['point', picture, 'the red cube', '--profiles', str(file)]) == 0
    x, y, *_ = capsys.readouterr().out.split()
    assert not table_scene.mask(SCENE, SCENE.things[0])[int(float(y)), int(float(x))]
