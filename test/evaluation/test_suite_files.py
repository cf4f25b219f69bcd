"""The table of the report's benchmarks, and the readers of their files."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from support.paths import ROOT

pytest.importorskip('pyarrow')

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import NO_THINK, build_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.tasks import TASKS, Media
from mimo_embodied_ros.evaluation.ground_truth import Hidden
from mimo_embodied_ros.evaluation.suite import Benchmark, load_suite, read_benchmark

if TYPE_CHECKING:
    from pathlib import Path

    from mimo_embodied_ros.evaluation.dataset import Record

SUITE = ROOT / 'test' / 'data' / 'suite'
# in the order of the report's tables
PUBLISHED = {
    'RoboRefIt': 82.30, 'Where2Place': 63.60, 'VABench-Point': 46.93, 'Part-Afford': 65.50,
    'RoboAfford-Eval': 69.81, 'EgoPlan2': 43.00, 'RoboVQA': 61.99, 'Cosmos-Reason1': 56.80,
    'CV-Bench': 88.82, 'ERQA': 46.75, 'EmbSpatial': 76.24, 'SAT': 78.67, 'RoboSpatial': 61.76,
    'RefSpatial': 48.00, 'CRPE': 77.15, 'MetaVQA': 67.33, 'VSI-Bench': 48.49, 'CODA-LM': 58.55,
    'DRAMA': 76.14, 'MME-RealWorld': 60.25, 'IDKB': 43.42, 'OmniDrive': 45.21, 'NuInstruct': 83.58,
    'DriveLM': 57.85, 'MAPLM': 74.52, 'nuScenes-QA': 56.71, 'LingoQA': 69.90, 'BDD-X': 52.18,
    'DriveAction': 80.99}
MEDIA = {
    'image': {Media.IMAGE, Media.IMAGES}, 'images': {Media.IMAGES, Media.VIEWS},
    'clip': {Media.CLIP, Media.ANY}, 'video': {Media.VIDEO}, 'videos': {Media.VIDEOS},
    'any': {Media.ANY}}
AROUND = '1: <{0}> 2: <{0}> 3: <{0}> 4: <{0}> 5: <{0}> 6: <{0}>. These six {1} are the front view, '
AROUND += ('front left view, front right view, back view, back left view and back right view of '
           'the ego vehicle. ')
BOXED = '\nPut your final answer in \\boxed{}.'
LISTED = 'What colour is the cube?\nA. red\nB. blue\nC. green\nD. yellow'
BRACKETS = '\n(A) red\n(B) blue\n(C) green\n(D) yellow'
POINTS = ('Based on the description: "red cube", locate points matching the description. Output a '
          'JSON in the format [{"points": [...], "label": "{the_whole_description}"}, ...].')
EGOPLAN = (
    '\nSelect the best answer to the following multiple-choice question based on the video. '
    'Respond with only the letter (A, B, C, or D) of the correct option.\n\nConsidering the '
    'progress shown in the video and my current observation in the last frame, what action '
    'should I take next in order to put the red cube away?\n\nA. push the red cube\nB. lift '
    'the blue ball\nC. open the box\nD. wait\n')
COSMOS = ('Where does the red cube go?\nA. left\nB. right\n'
          "Answer with the option's letter from the given choices directly.")
CVBENCH = 'What colour is the cube? Select from the following choices.' + BRACKETS
VSI_NUMBER = ('What is the object counting?\nPlease answer the question using a single word or '
              'phrase.')
DRIVELM_CHOICE = (
    'What is the moving status of object <c1,CAM_FRONT,80.0,50.0>? Please select the correct answer'
    ' from the following options: A. Going ahead. B. Turn left. C. Stopped. D. Back up.')
MAPLM = (
    '1: <image> 2: <image> 3: <image> 4: <image>. These four images are the point cloud bev, camera'
    ' front view, camera back left view, camera right view of the ego vehicle. How many lanes on '
    'the current road? Your potential answer is: 0 1 2 3')
BDDX = (
    'Current speed of the vehicle: 3.5m/s. The length of the video is 4.00 seconds. What is the '
    "ongoing action of the vehicle in the video? Can you explain the cause of this vehicle's "
    'actions?')


def benchmark(name: str) -> Benchmark:
    return next(row for row in load_suite() if row.name == name)


def read(name: str, tmp_path: Path, data: Path = SUITE, limit: int = 0) -> list[Record]:
    return read_benchmark(benchmark(name), data, unpacked=tmp_path / 'unpacked', limit=limit)


def prompt_of(record: Record) -> str:
    """What the model reads of a record, with frames that are as many as the task wants."""
    count = max(len(record.images), len(record.task.views), 2 if record.videos else 0)
    frames = tuple(Frame(np.zeros((56, 56, 3), np.uint8), i) for i in range(count))
    if record.task.media is Media.VIDEOS:
        frames = tuple(Frame(np.zeros((56, 56, 3), np.uint8)) for _ in record.task.views)
    query = Query(record.task, record.question, frames, thinking=record.thinking,
                  options=record.options)
    return build_prompt(query, PixelLimits(3136, 50176)).text


def test_the_table_has_the_rows_of_the_report() -> None:
    suite = load_suite()
    assert {row.title: row.published for row in suite} == PUBLISHED
    assert [row.title for row in suite] == list(PUBLISHED)
    assert [row.field for row in suite] == ['embodied'] * 17 + ['driving'] * 12
    for row in suite:
        assert row.combine in ('all', 'mean_of_parts', 'vsibench', 'maplm'), row.name
        assert row.files, row.name
        for part in row.parts:
            media = TASKS[part.task].media
            assert media in MEDIA[row.medium] | {Media.ANY}, (row.name, part)


def test_the_page_names_the_folders_and_the_data_sets() -> None:
    page = (ROOT / 'docs' / 'suite_files.md').read_text()
    rows = [line.split('|') for line in page.splitlines() if line.startswith('| `')]
    assert [row[1].strip(' `') for row in rows] == [row.name for row in load_suite()]
    for row, cells in zip(load_suite(), rows):
        data_set = re.search(r'\((\S+/[A-Za-z0-9-]+)', row.source)
        assert data_set is None or data_set[1].split('/')[0] in cells[2], row.name
        assert bool(cells[3].strip()) == (len(row.files) > 1), row.name


@pytest.mark.parametrize('root', ['.', 'raw'])
def test_every_benchmark_is_read_as_it_is_published(root: str, tmp_path: Path) -> None:
    found, forms = {}, 0
    for row in load_suite():
        records = read(row.name, tmp_path, SUITE / root)
        forms += bool(records)
        if not records:
            assert root == 'raw', row.name
            assert set(row.files) == {'parquet'} or not (SUITE / root / row.name).exists(), row.name
            continue
        found[row.name] = len(records)
        parts = {part.name: part for part in row.parts}
        assert {record.category for record in records} <= set(parts), row.name
        assert len({record.id for record in records}) == len(records)
        for record in records:
            assert record.thinking is row.thinking
            assert all(path.is_file() for path in (*record.images, *record.videos))
            assert prompt_of(record)  # the task takes the record as it is
        if row.combine == 'mean_of_parts' or root == '.':
            absent = set(parts) - {record.category for record in records}
            assert not absent or row.name == 'cvbench', (row.name, absent)
    assert forms == (29 if root == '.' else 18)
    assert min(found.values()) >= 3


def test_prompts_are_the_vendors(tmp_path: Path) -> None:
    goal = 'current goal is: put the red cube away'
    expected = {
        'where2place': [POINTS], 'roborefit': [POINTS], 'vabench_point': [POINTS],
        'part_afford': [POINTS], 'refspatial': [POINTS],
        'egoplan2': [EGOPLAN + BOXED],
        'robovqa': [
            f'{goal}. what is the immediate next step', f'{goal}. what are the next 5 step',
            f'{goal}. is it satisfied Please answer yes or no. ',
            'push the red cube. is it possible right now Please answer yes or no. ',
            'what just happened'],
        'cosmos_reason1': [COSMOS], 'cvbench': [CVBENCH + BOXED],
        'erqa': [LISTED + BOXED], 'sat': [LISTED + BOXED], 'crpe': [LISTED + BOXED],
        'robospatial': ['Is the red cube left of the blue ball? Answer yes or no.' + BOXED],
        'vsibench': [VSI_NUMBER + BOXED.replace('\n', ' ')],
        'omnidrive': [AROUND.format('video', 'videos') + 'What should the car do?'],
        'nuinstruct': [AROUND.format('image', 'videos') + 'What should the car do?'],
        'drivelm': [AROUND.format('image', 'images') + asked for asked in (
            DRIVELM_CHOICE, 'Are there parked cars?')],
        'maplm': [MAPLM],
        'lingoqa': ['What should the car do?' + BOXED],
        'bddx': [BDDX],
        'drive_action': ['What should the car do?\nA. stop\nB. go on\nC. turn\nD. wait' + BOXED]}
    for name, prompts in expected.items():
        records = read(name, tmp_path)[: len(prompts)]
        end = '' if benchmark(name).thinking else NO_THINK
        assert [prompt_of(record) for record in records] == [text + end for text in prompts], name
    idkb = {record.category: prompt_of(record) for record in read('idkb', tmp_path)}
    assert idkb['multi_no_image'] == idkb['single_with_image'] == LISTED + NO_THINK
    # longer words than the task's own; they are sent as the benchmark has them
    codalm = {record.category: record for record in read('codalm', tmp_path)}
    assert codalm['driving_suggestion'].task.name == 'ask'
    assert codalm['region_perception'].task.name == 'marked_object'
    fifth = f'{BRACKETS}\n(E) unclear'
    scenes = {record.category: prompt_of(record) for record in read('mme_realworld', tmp_path)}
    assert scenes == {
        'english': f'{LISTED[:24]} The choices are listed below:{fifth}{BOXED}',
        'chinese': f'{LISTED[:24]} 选项如下所示:{fifth}\n将你的最终答案放在\\boxed{{}}中。'}


def test_truths_are_those_of_the_files(tmp_path: Path) -> None:
    (first, *_) = read('roborefit', tmp_path)
    assert first.truth.boxes == ((50.0, 25.0, 100.0, 50.0),)  # pixels of the image, 200 x 100
    assert first.extra['normalized_box'] == [0.25, 0.25, 0.5, 0.5]
    assert read('roborefit', tmp_path, SUITE / 'raw')[0].truth == first.truth
    assert read('drama', tmp_path)[0].truth.boxes == ((40.0, 30.0, 80.0, 50.0),)
    assert read('erqa', tmp_path)[1].truth.letters == 'B'  # 1 of the options
    assert len(read('erqa', tmp_path)[1].images) == 2
    assert all(isinstance(record.truth, Hidden) for record in read('drivelm', tmp_path))
    assert read('drivelm', tmp_path, SUITE / 'raw')[2].id == 's1_f1_2'
    frames = [record.extra['frame'] for record in read('maplm', tmp_path)]
    assert frames == ['FR1', 'FR1', 'FR2', 'FR2']  # without the open questions
    assert {record.category for record in read('refspatial', tmp_path)} == {'Location', 'Placement'}
    assert len(read('mme_realworld', tmp_path)) == 6  # without those about other things
    assert {record.frames for record in read('robovqa', tmp_path)} == {8}
    no_image = [record for record in read('idkb', tmp_path) if record.category.endswith('no_image')]
    assert len(no_image) == 9
    assert not any(record.images for record in no_image)


def test_expected_scores_are_of_records_that_are_there(tmp_path: Path) -> None:
    ids: dict[str, set[str]] = {}
    for line in (SUITE / 'expected.jsonl').read_text().splitlines():
        entry = json.loads(line)
        if 'id' in entry:
            name = entry['benchmark']
            ids.setdefault(name, {record.id for record in read(name, tmp_path)})
            assert entry['id'] in ids[name], entry
    assert len(ids) == 26


def test_a_limit_is_of_each_part(tmp_path: Path) -> None:
    records = read('cosmos_reason1', tmp_path, limit=1)
    assert [record.category for record in records] == [
        'agibot', 'bridgev2', 'holoassist', 'robofail', 'robovqa']
    assert len(read('where2place', tmp_path, limit=2)) == 2


def test_pictures_inside_of_files_are_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    records = read_benchmark(benchmark('where2place'), SUITE)
    (picture,) = {record.images[0] for record in records}
    assert picture.parent == tmp_path / 'mimo_embodied_ros' / 'pictures'
    assert len(list(picture.parent.iterdir())) == 3  # a picture and two masks
    (tmp_path / 'file').write_text('')
    with pytest.raises(InvalidRequestError, match='cannot be unpacked'):
        read_benchmark(benchmark('where2place'), SUITE, unpacked=tmp_path / 'file' / 'x')


def test_wrong_files_are_named_with_the_entry(tmp_path: Path) -> None:
    def wrong(name: str, file: str, text: str | bytes, message: str) -> None:
        path = tmp_path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(InvalidRequestError, match=message) as caught:
            read(name, tmp_path, tmp_path)
        assert '\n' not in str(caught.value)
        shutil.rmtree(tmp_path / name)

    assert read('sat', tmp_path, tmp_path) == []  # no folder
    (tmp_path / 'sat').mkdir()
    assert read('sat', tmp_path, tmp_path) == []  # an empty one
    wrong('sat', 'README.md', '', r'sat has none of the files of SAT; put \*\*/test-')
    wrong('sat', 'test-0.parquet', b'PAR1', 'test-0.parquet cannot be read as parquet')
    wrong('cvbench', 'test_2d.jsonl', '{"prompt": "x", "filename": "a.png"}\n',
          "test_2d.jsonl:1: this is not as CV-Bench is published: KeyError 'type'")
    wrong('cvbench', 'test_2d.jsonl', 'x', 'test_2d.jsonl:1: this is no JSON')
    wrong('cvbench', 'test_2d.jsonl', '{"prompt": "x", "filename": "a.png", "type": "2D", '
          '"answer": "(A)"}', r'test_2d.jsonl:1: there is no picture .*a\.png')
    wrong('embspatial', 'embspatial_bench.json', json.dumps([{
        'image': 'x' * 400 + '!', 'question_id': 1, 'question': 'x', 'answer': 0,
        'answer_options': ['a']}]), 'entry 1: this is not as EmbSpatial.*no picture in base64')
    wrong('embspatial', 'embspatial_bench.json', '[1]', 'entry 1: this is no object')
    wrong('vsibench', 'test.jsonl', json.dumps({
        'id': 1, 'question': 'x', 'question_type': 'route_planning', 'dataset': 'd',
        'scene_name': 's', 'ground_truth': 'A', 'options': ['left']}),
        "jsonl:1: this is not as VSI-Bench.*'left' does not begin with its letter A")
    shutil.copytree(SUITE / 'maplm', tmp_path / 'maplm')
    (tmp_path / 'maplm' / 'problems.json').unlink()
    with pytest.raises(InvalidRequestError, match=r'no problems\.json with the truths; put it'):
        read('maplm', tmp_path, tmp_path)
