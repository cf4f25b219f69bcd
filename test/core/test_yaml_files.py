"""YAML and JSON that cost more than they are worth: refused with the line, by each reader."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from mimo_embodied_ros.bags.metadata import read_metadata
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import parse_json
from mimo_embodied_ros.core.profiles import load_profiles
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.core.tasks import load_tasks
from mimo_embodied_ros.core.yaml_files import MAX_BYTES, read_yaml
from mimo_embodied_ros.execution.policy import load_policy
from mimo_embodied_ros.geometry.extrinsics import load_extrinsics
from mimo_embodied_ros.ros.arguments import checked_arguments
from support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

READERS: dict[str, Callable[[Path], Any]] = {
    'profiles': load_profiles,
    'skills': load_skills,
    'tasks': load_tasks,
    'policy': lambda path: load_policy(path, ['pick']),
    'extrinsics': load_extrinsics,
    'metadata': lambda path: read_metadata(path.parent),
    'parameters': lambda path: checked_arguments(['--ros-args', '--params-file', str(path)]),
}
# thirteen times more values a line; nobody could wait for the end, or hold it in memory
LAUGHS = 'x0: &x0 [ha]\n' + ''.join(
    f'x{i}: &x{i} [{", ".join([f"*x{i - 1}"] * 13)}]\n' for i in range(1, 31))
MERGES = 'x0: &x0 {k: 1}\n' + ''.join(
    f'x{i}: &x{i} {{<<: [{", ".join([f"*x{i - 1}"] * 13)}]}}\n' for i in range(1, 31))
NESTED = 'x:\n ' + '- ' * 50_000 + 'y\n'


@pytest.mark.parametrize(('text', 'says'), [
    (LAUGHS, r'line 6: .*aliases in here stand for more than 100,000 values'),
    (MERGES, r'line 6: .*aliases in here stand for more than 100,000 values'),
    (NESTED, r'line 2: .*nested deeper than 64 levels'),
    ('a: 1\nb: &b {c: [*b]}\n', r'line 2: .*an alias in here stands for the value that it is in'),
    ('a: 1\nb: ' + '1' + ':1' * 100_000, r'line 2: .*this number has more than 400 characters'),
    ('a: ' + 'x' * MAX_BYTES, 'more than 16,000,000 bytes'),
], ids=['aliases', 'merges', 'nested', 'circle', 'number', 'large'])
def test_what_costs_too_much_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / 'skills.yaml'
    path.write_text(text)
    with pytest.raises(InvalidRequestError, match=says) as caught:
        load_skills(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize('read', READERS.values(), ids=READERS)
def test_each_reader_has_these_bounds(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    path = tmp_path / 'metadata.yaml'
    path.write_text(LAUGHS)
    with pytest.raises(InvalidRequestError, match='more than 100,000 values') as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize('text', [
    'a: !!int ""', 'a: !!bool perhaps', 'a: !!timestamp soon', 'a: 2026-02-30', 'a: \x00',
    '? [b]\n: c', 'a: !!python/object/apply:os.getcwd []', b'\xff\xfe\xfd', '- *nowhere',
])
def test_what_has_no_value_is_refused_by_each_reader(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / 'metadata.yaml'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for read in READERS.values():
        with pytest.raises(InvalidRequestError):
            read(path)


def test_aliases_and_merges_that_people_use_are_read(tmp_path: Path) -> None:
    path = tmp_path / 'skills.yaml'
    path.write_text("""
nod: &usual
  description: Nod.
  says: nod
  success: done
  runs: &calls
    - &call {service: /nod, type: std_srvs/srv/Trigger, timeout: 5}
    - {<<: *call, timeout: 9}
bow: {<<: *usual, says: bow}
wave: {<<: [{says: wave}, *usual], runs: *calls}
""")
    skills = load_skills(path)
    assert [skill.says for skill in skills.values()] == [('nod',), ('bow',), ('wave',)]
    assert [[call.timeout for call in skill.runs] for skill in skills.values()] == [[5.0, 9.0]] * 3
    path.write_text(path.read_text() + 'sit: {<<: *usual, says: sit, says: sit down}\n')
    with pytest.raises(InvalidRequestError, match='line 11: a second says'):
        load_skills(path)
    path.write_text('a: {<<: 3}\n')
    with pytest.raises(InvalidRequestError, match=r'line 1: .*merging'):
        load_skills(path)
    # a long bag lists many files and topics
    path.write_text('files:\n' + ''.join(
        f'- {{path: file_{i}.mcap, counts: [{i}, {i}]}}\n' for i in range(2000)))
    assert len(read_yaml(path)['files']) == 2000


def test_yaml_is_read_in_one_place() -> None:
    readers = {file.name for file in (ROOT / 'mimo_embodied_ros').rglob('*.py')
               if re.search(r'yaml\.\w*(load|Loader\b)', file.read_text('utf-8'))}
    assert readers == {'yaml_files.py', 'action_verbs.py'}  # these verbs are the package's own


def test_json_that_is_nested_too_deeply_is_no_json() -> None:
    with pytest.raises(ValueError, match='nested too deeply'):
        parse_json('[' * 100_000)
    assert parse_json('{"a": [1]}') == {'a': [1]}
