"""Errors about model directories that cannot be loaded; nothing is loaded for them."""

from __future__ import annotations

import json
import os
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('safetensors')
from safetensors.numpy import save_file

from mimo_embodied_ros.core.errors import ModelNotReadyError, OutOfMemoryError
from mimo_embodied_ros.engine import checkpoint as module
from mimo_embodied_ros.engine.checkpoint import check_memory, free_host_memory, open_checkpoint
from support.programs import run_python

SHARDS = ('model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a published checkpoint that are read before loading."""
    path = tmp_path / 'MiMo'
    path.mkdir()
    write(path / 'config.json', architectures=['Qwen2_5_VLForConditionalGeneration'])
    write(path / 'preprocessor_config.json', patch_size=14)
    write(path / 'tokenizer_config.json', tokenizer_class='Qwen2Tokenizer')
    write(path / 'tokenizer.json')
    write(path / 'chat_template.json', chat_template='{{ messages }}')
    save_file({'a': np.zeros((10, 3), np.float32)}, path / SHARDS[0])
    save_file({'b': np.zeros(6, np.float16), 'n': np.zeros(5, np.int64)}, path / SHARDS[1])
    write(
        path / 'model.safetensors.index.json',
        weight_map={'a': SHARDS[0], 'b': SHARDS[1], 'n': SHARDS[1]},
    )
    return path


def write(path: Path, **content: object) -> None:
    path.write_text(json.dumps(content))


def refusal(folder: Path) -> str:
    with pytest.raises(ModelNotReadyError) as error:
        open_checkpoint(str(folder))
    message = str(error.value)
    assert str(folder) in message
    return message


def test_sound(folder: Path) -> None:
    checkpoint = open_checkpoint(str(folder))
    assert (checkpoint.name, checkpoint.directory) == ('MiMo', folder)
    assert checkpoint.floats == 36
    assert checkpoint.weight_bytes(2) == 72 + 40
    assert checkpoint.weight_bytes(4) == 144 + 40


def test_one_file_is_enough(folder: Path) -> None:
    for name in (*SHARDS, 'model.safetensors.index.json'):
        (folder / name).unlink()
    save_file({'a': np.zeros(7, np.float32)}, folder / 'model.safetensors')
    assert open_checkpoint(str(folder)).floats == 7


def test_another_architecture(folder: Path) -> None:
    write(folder / 'config.json', architectures=['LlavaForCausalLM'], model_type='llava')
    message = refusal(folder)
    assert 'LlavaForCausalLM' in message
    assert 'llava' in message
    assert 'Qwen2_5_VLForConditionalGeneration' in message


def test_config_that_names_nothing(folder: Path) -> None:
    write(folder / 'config.json')
    assert 'none named' in refusal(folder)


@pytest.mark.parametrize('content', ['', '{"architectures": ', '[1]', '\udcff'])
def test_config_that_is_no_json(folder: Path, content: str) -> None:
    (folder / 'config.json').write_bytes(content.encode('utf-8', 'surrogateescape'))
    assert 'config.json' in refusal(folder)


def test_preprocessor_config_is_missing(folder: Path) -> None:
    """As it was for months in the published repository."""
    (folder / 'preprocessor_config.json').unlink()
    message = refusal(folder)
    assert 'until April 2026' in message
    assert (
        '`hf download XiaomiMiMo/MiMo-Embodied-7B preprocessor_config.json '
        f'--local-dir {folder}`' in message
    )


@pytest.mark.parametrize(
    ('file', 'words'),
    [
        ('config.json', 'has no config.json'),
        ('tokenizer_config.json', 'has no tokenizer_config.json'),
        ('tokenizer.json', 'neither tokenizer.json nor vocab.json'),
        ('chat_template.json', 'no chat template'),
        (SHARDS[1], f'lacks 1 of its 2 weight files, {SHARDS[1]}'),
        ('model.safetensors.index.json', 'neither model.safetensors nor'),
    ],
)
def test_a_missing_file_is_named_and_how_to_get_it(folder: Path, file: str, words: str) -> None:
    (folder / file).unlink()
    message = refusal(folder)
    assert words in message
    assert '`hf download XiaomiMiMo/MiMo-Embodied-7B' in message


def test_vocabulary_and_merges_do_for_the_tokenizer(folder: Path) -> None:
    (folder / 'tokenizer.json').unlink()
    write(folder / 'vocab.json')
    (folder / 'merges.txt').write_text('')
    open_checkpoint(str(folder))


@pytest.mark.parametrize('place', ['tokenizer_config.json', 'chat_template.jinja'])
def test_chat_template_in_its_other_places(folder: Path, place: str) -> None:
    (folder / 'chat_template.json').unlink()
    write(folder / place, chat_template='x')
    open_checkpoint(str(folder))


@pytest.mark.parametrize('kept', [0, 5, 60, -1])
def test_truncated_weights(folder: Path, kept: int) -> None:
    path = folder / SHARDS[0]
    path.write_bytes(path.read_bytes()[:kept])
    message = refusal(folder)
    assert SHARDS[0] in message
    assert 'not downloaded to its end' in message
    assert f'({path.stat().st_size} bytes)' in message
    assert '`hf download' in message


def test_git_lfs_pointer_instead_of_weights(folder: Path) -> None:
    (folder / SHARDS[0]).write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\n')
    assert 'damaged' in refusal(folder)


def test_index_that_names_nothing(folder: Path) -> None:
    write(folder / 'model.safetensors.index.json', weight_map={})
    assert 'names no weights' in refusal(folder)


def test_pickled_weights_are_not_loaded(folder: Path) -> None:
    for path in folder.glob('model*'):
        path.unlink()
    (folder / 'pytorch_model.bin').write_bytes(b'\x80')
    message = refusal(folder)
    assert 'pytorch_model.bin' in message
    assert 'run code' in message
    assert 'save_pretrained' in message


def test_no_such_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelNotReadyError, match=r'no model directory .*hf download') as error:
        open_checkpoint(str(tmp_path / 'absent'))
    assert str(tmp_path / 'absent') in str(error.value)


def test_a_file_instead_of_a_directory(folder: Path) -> None:
    with pytest.raises(ModelNotReadyError, match='give the directory'):
        open_checkpoint(str(folder / 'config.json'))


HUB = """
import sys
from mimo_embodied_ros.core.errors import ModelNotReadyError
from mimo_embodied_ros.engine.checkpoint import open_checkpoint
try:
    print(open_checkpoint('XiaomiMiMo/MiMo-Embodied-7B'))
except ModelNotReadyError as error:
    print('refused:', error)
print('torch' in sys.modules or 'transformers' in sys.modules)
"""


def ask_hub(cache: Path) -> list[str]:
    """Open a model by its hub name in a process that must not use the network."""
    environment = {**os.environ, 'HF_HOME': str(cache), 'HF_HUB_OFFLINE': '1'}
    environment.pop('HF_HUB_CACHE', None)
    return run_python(HUB, environment=environment).stdout.splitlines()


def test_hub_name_without_network(tmp_path: Path) -> None:
    answer, imported = ask_hub(tmp_path)
    assert answer.startswith('refused:')
    assert '`hf download XiaomiMiMo/MiMo-Embodied-7B --local-dir' in answer
    assert imported == 'False', 'torch is not needed to find a model'


def test_hub_name_of_a_user_without_a_home() -> None:
    """As in a container that runs with a user id that it does not know."""
    if version('huggingface_hub') < '1':
        pytest.skip('huggingface_hub 0 takes a folder named ~ for the home that it does not find')
    unknown = 'import pwd\ndef nobody(_): raise KeyError\npwd.getpwuid = nobody\n'
    environment = {name: value for name, value in os.environ.items() if name not in {
        'HOME', 'HF_HOME', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'XDG_CACHE_HOME'}}
    answer, _ = run_python(unknown + HUB, environment=environment).stdout.splitlines()
    assert 'set HF_HOME, or give the directory' in answer


def test_hub_name_in_the_cache(folder: Path, tmp_path: Path) -> None:
    repository = tmp_path / 'hub' / 'models--XiaomiMiMo--MiMo-Embodied-7B'
    (repository / 'refs').mkdir(parents=True)
    (repository / 'refs' / 'main').write_text('0' * 40)
    (repository / 'snapshots').mkdir()
    snapshot = folder.rename(repository / 'snapshots' / ('0' * 40))
    assert 'XiaomiMiMo/MiMo-Embodied-7B' in ask_hub(tmp_path)[0]
    (snapshot / 'preprocessor_config.json').unlink()
    answer = ask_hub(tmp_path)[0]
    assert '`hf download XiaomiMiMo/MiMo-Embodied-7B preprocessor_config.json`' in answer


@pytest.mark.parametrize(('package', 'backend'), [('torch', 'transformers'), ('httpx2', 'openai')])
def test_a_package_that_is_not_installed_is_named_with_the_file_of_requirements(
    package: str, backend: str
) -> None:
    program = """
import sys
sys.modules[sys.argv[1]] = None
from mimo_embodied_ros.core.errors import ModelNotReadyError
from mimo_embodied_ros.engine import EngineConfig, load_engine
try:
    load_engine(EngineConfig('models/mimo_tiny', backend=sys.argv[2]))
except ModelNotReadyError as error:
    print(error)
"""
    advice = re.search(r'`pip install -r (.*)`', run_python(program, package, backend).stdout)
    assert advice
    assert package in Path(advice[1]).read_text('utf-8')


def test_memory(folder: Path) -> None:
    checkpoint = open_checkpoint(str(folder))
    check_memory(checkpoint, 4, checkpoint.weight_bytes(4), 'this machine')
    with pytest.raises(OutOfMemoryError, match=r'MiMo need .* GB and GPU cuda:0 has .* GB free'):
        check_memory(checkpoint, 4, checkpoint.weight_bytes(4) - 1, 'GPU cuda:0')


def test_free_memory_is_this_machines() -> None:
    total = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    assert 0 < free_host_memory() <= total


def test_free_memory_respects_a_containers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are those of the kernel; only their place differs."""
    monkeypatch.setattr(module, '_CGROUP', tmp_path)
    (tmp_path / 'memory.current').write_text('900000\n')
    (tmp_path / 'memory.stat').write_text('anon 100\ninactive_file 300000\nslab 7\n')
    (tmp_path / 'memory.max').write_text('1000000\n')
    assert free_host_memory() == 400_000
    (tmp_path / 'memory.max').write_text('max\n')
    assert free_host_memory() > 400_000
