"""Made-up records of the report's benchmarks, in the layouts in which these are published.

``python -m support.suite_files FOLDER`` writes ``FOLDER/<benchmark>/``, raw layouts beside parquet
to ``FOLDER/raw/<benchmark>/``, and ``FOLDER/expected.jsonl``: texts of a model with the scores that
they have by the vendor's rules, computed by hand. The scenes are drawn by ``worlds``, so that the
embedded model answers what it can.
"""

from __future__ import annotations

import base64
import io
import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from mimo_embodied_ros.worlds.road_scene import draw_road
from mimo_embodied_ros.worlds.table_scene import Thing, draw_table, mask

from .videos import write_video

if TYPE_CHECKING:
    from collections.abc import Mapping

TAIL = (' Your answer should be formatted as a list of tuples, i.e. [(x1, y1), (x2, y2), ...], '
        'where each tuple contains the x and y coordinates of a point.')
VABENCH_TAIL = ('You FIRST think about the reasoning process as an internal monologue and then '
                'provide the final answer.')
FRONT = 'There is an image of traffic captured from the perspective of the ego car. '
VIEWS = ('FRONT', 'FRONT_LEFT', 'FRONT_RIGHT', 'BACK', 'BACK_LEFT', 'BACK_RIGHT')
SHARD = 'data/{}-00000-of-00001.parquet'
# 168 x 112: the model sees these sizes as they are
THINGS = (Thing('red', 'cube', 50, 76, 16), Thing('blue', 'ball', 116, 70, 15))
SWAPPED = (Thing('red', 'ball', 116, 70, 15), Thing('blue', 'cube', 50, 76, 16))
COLOURS = ('red', 'blue', 'green', 'yellow')


class Files:
    """Writes below one folder, and keeps what is expected."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.expected: list[dict[str, Any]] = []

    def write(self, name: str, data: bytes | str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    def rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Write parquet, JSON or JSON lines."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == '.parquet':
            parquet.write_table(pa.Table.from_pylist(rows), path, compression='zstd')
        elif path.suffix == '.jsonl':
            path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
        else:
            path.write_text(json.dumps(rows, indent=1))

    def expect(self, benchmark: str, scored: Mapping[str, tuple[str, float | None]],
               total: float | None = None) -> None:
        """Keep texts and scores by id, and the benchmark's figure, in percent.

        The score is None where the rule has one for all texts together.
        """
        self.expected += [{'benchmark': benchmark, 'id': name, 'output': text, 'score': score}
                          for name, (text, score) in scored.items()]
        if total is not None:
            self.expected.append({'benchmark': benchmark, 'total': total})


def encoded(pixels: Any, form: str = 'JPEG') -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, quality=85)
    return out.getvalue()


def hub(data: bytes) -> dict[str, Any]:
    """A picture as the library "datasets" keeps it."""
    return {'bytes': data, 'path': None}


def table(things: tuple[Thing, ...] = THINGS, width: int = 168, height: int = 112) -> Any:
    return draw_table(random.Random(7), width, height, things=things)


def road(seed: int) -> bytes:
    return encoded(draw_road(random.Random(seed), 168, 112).pixels)


def points(*found: tuple[int, int]) -> str:
    listed = [list(point) for point in found]
    return f'<think>\nI look.\n</think>\n\n```json\n[{{"points": {listed}, "label": "it"}}]\n```'


def boxed(word: str) -> str:
    return f'<think>\nI look.\n</think>\n\n\\boxed{{{word}}}'


def shard(number: int, split: str = 'test', folder: str = '') -> str:
    """Id of a row, where the benchmark has none."""
    return f'{folder}{SHARD.format(split)}:row {number}'


def write_points(files: Files) -> None:
    scene = table()
    picture = encoded(scene.pixels)
    masks = [encoded(mask(scene, thing).astype(np.uint8) * 255, 'PNG') for thing in THINGS]
    names = [thing.name for thing in THINGS]
    on = [(50, 80), (116, 70)]
    # half of the points, all of them in round brackets, none because nothing follows the reasoning
    texts = [(points(on[0], (5, 5)), 0.5), (f'<think>\n</think>\n({on[1][0]}, {on[1][1]})', 1.0),
             (f'[{list(on[0])}]', 0.0)]
    asked = [(names[0], masks[0]), (names[1], masks[1]), (names[0], masks[0])]

    for name, split, column in (('where2place', 'test', 'question'),
                                ('part_afford', 'train', 'problem'),
                                ('roboafford_eval', 'test', 'question')):
        files.rows(f'{name}/{SHARD.format(split)}', [
            {'image': hub(picture), 'mask': hub(m), column: thing + TAIL} for thing, m in asked])
        files.expect(name, {shard(i, split): t for i, t in enumerate(texts, 1)}, 50.0)
    files.rows('raw/where2place/point_questions.jsonl', [
        {'question_id': i, 'image': '00.jpg', 'text': thing + TAIL, 'category': 'seen'}
        for i, (thing, _) in enumerate(asked)])
    files.rows('raw/roboafford_eval/annotations_normxy.json', [
        {'category': 'object reference', 'question': thing + TAIL, 'img': '00.jpg',
         'mask': f'{i:02d}.png', 'answer': [[[0.1, 0.2], [0.3, 0.4], [0.1, 0.4]]]}
        for i, (thing, _) in enumerate(asked)])
    for name in ('where2place', 'roboafford_eval'):
        files.write(f'raw/{name}/images/00.jpg', picture)
        for i, (_, data) in enumerate(asked):
            files.write(f'raw/{name}/masks/{i:02d}.png', data)

    for split in ('location', 'placement', 'unseen'):
        files.rows(f'refspatial/{SHARD.format(split)}', [
            {'id': i, 'image': hub(picture), 'mask': hub(m), 'object': thing, 'step': 1,
             'prompt': f'Please point out the {thing}.', 'suffix': TAIL}
            for i, (thing, m) in enumerate(asked)])
        folder = f'raw/refspatial/{split.capitalize()}'
        files.rows(f'{folder}/question.json', [
            {'id': i, 'object': thing, 'prompt': f'Please point out the {thing}.', 'suffix': TAIL,
             'rgb_path': 'image/0.jpg', 'mask_path': f'mask/{i}.png', 'category': 'x', 'step': 1}
            for i, (thing, _) in enumerate(asked)])
        files.write(f'{folder}/image/0.jpg', picture)
        for i, (_, data) in enumerate(asked):
            files.write(f'{folder}/mask/{i}.png', data)
    files.expect('refspatial', {
        **{shard(i, 'location'): t for i, t in enumerate(texts, 1)},
        **{shard(i, 'placement'): (points(on[0] if i != 2 else on[1]), 1.0) for i in (1, 2, 3)}},
        75.0)  # the mean of 50 and 100

    yes = ['Is the red cube left of the blue ball? Answer yes or no.',
           'Is the blue ball left of the red cube? Answer yes or no.',
           'Is there a green cup? Answer yes or no.']
    for part in ('compatibility', 'configuration', 'context'):
        rows = ([{'image': hub(picture), 'mask': hub(m), 'question': thing + TAIL, 'answer': ''}
                 for thing, m in asked] if part == 'context' else
                [{'image': hub(picture), 'question': question, 'answer': answer}
                 for question, answer in zip(yes, ('Yes', 'No', 'no'))])
        files.rows(f'robospatial/robospatial-{part}/{SHARD.format("test")}', rows)
        for row in rows:
            row['img'] = row.pop('image')
        files.rows(f'raw/robospatial/{SHARD.format(part)}', rows)
    where = 'robospatial-{}/'
    answered = [boxed('Yes'), boxed('yes'), 'no']  # right, wrong, right without a box
    files.expect('robospatial', {
        **{shard(i, folder=where.format(part)): (text, score)
           for part in ('compatibility', 'configuration')
           for i, (text, score) in enumerate(zip(answered, (1.0, 0.0, 1.0)), 1)},
        **{shard(i, folder=where.format('context')): t for i, t in enumerate(texts, 1)}},
        100 * (2 / 3 + 2 / 3 + 1 / 2) / 3)

    # 200 x 100: the model sees 196 x 112, where the box is 49..98 and 28..56
    wide = encoded(table((Thing('red', 'cube', 74, 38, 12),), 200, 100).pixels)
    box = [0.25, 0.25, 0.5, 0.5]
    inside = [(points((49, 28), (98, 56)), 1.0), (points((99, 40), (60, 40), (60, 57)), 1 / 3),
              ('<think>\n</think>\nnothing', 0.0)]
    files.rows(f'roborefit/{SHARD.format("test")}', [
        {'image': hub(wide), 'ref_exp': 'red cube', 'normalized_bbox': box} for _ in inside])
    files.expect('roborefit', {shard(i): t for i, t in enumerate(inside, 1)}, 100 * (4 / 3) / 3)
    files.write('raw/roborefit/final_dataset/testA/image/0000001.jpg', wide)
    files.rows('raw/roborefit/final_dataset/testA/roborefit_testA.json', [
        {'num': i, 'text': 'red cube', 'bbox': [50, 25, 100, 50], 'scene': 1, 'class': 'cube',
         'rgb_path': 'final_dataset/testA/image/0000001.jpg',
         'depth_path': 'final_dataset/testA/depth/0000001.png'} for i in range(3)])
    files.rows(f'vabench_point/{SHARD.format("test")}', [
        {'image': hub(wide), 'problem': '<image> The task instruction is: red cube' + VABENCH_TAIL,
         'normalized_bbox': box} for _ in inside])
    files.expect('vabench_point', {shard(i): t for i, t in enumerate(inside, 1)},
                 100 * (4 / 3) / 3)

    files.write('drama/2020/titan/frame.jpg', road(1))
    files.rows(f'drama/{SHARD.format("test")}', [
        {'image': '/data/combined/2020/titan/frame.jpg', 'bbox': [40.0, 30.0, 40.0, 20.0]}
        for _ in range(3)])
    frame = '```json\n[{{"bbox_2d": {}, "caption": "a car"}}]\n```'
    files.expect('drama', {
        shard(1): ('<think>\n</think>\n' + frame.format([40, 30, 80, 50]), 1.0),
        shard(2): (frame.format([40, 30, 62, 50]), 1.0),  # overlaps of 0.55 and 0.45
        shard(3): (frame.format([40, 30, 58, 50]), 0.0)}, 100 * 2 / 3)


def write_choices(files: Files) -> None:
    pictures = [encoded(table(things).pixels) for things in (THINGS, SWAPPED)]
    question = 'What colour is the cube?'
    listed = question + ''.join(f'\n{letter}. {it}' for letter, it in zip('ABCD', COLOURS))
    in_brackets = [f'({letter}) {it}' for letter, it in zip('ABCD', COLOURS)]
    prompt = f'{question} Select from the following choices.\n' + '\n'.join(in_brackets)
    # (picture, answer, the model's text, score)
    asked = [(0, 'A', boxed('A'), 1.0), (1, 'B', boxed('b'), 1.0), (1, 'B', boxed('A'), 0.0)]
    thirds = 100 * 2 / 3

    files.rows('cvbench/test_2d.parquet', [
        {'idx': i, 'type': '2D', 'task': 'Relation', 'image': hub(pictures[n]),
         'question': question, 'choices': COLOURS, 'answer': f'({letter})', 'prompt': prompt}
        for i, (n, letter, _, _) in enumerate(asked[:2])])
    files.rows('cvbench/test_3d.parquet', [
        {'idx': 2, 'type': '3D', 'task': 'Depth', 'image': hub(pictures[1]), 'question': question,
         'choices': COLOURS, 'answer': '(B)', 'prompt': prompt}])
    files.expect('cvbench', {
        'test_2d.parquet:row 1': (boxed('(A)'), 1.0), 'test_2d.parquet:row 2': (boxed('B.'), 1.0),
        'test_3d.parquet:row 1': (boxed('A'), 0.0)}, thirds)
    files.write('raw/cvbench/img/2D/0.jpg', pictures[0])
    files.rows('raw/cvbench/test_2d.jsonl', [
        {'idx': i, 'type': '2D', 'filename': 'img/2D/0.jpg', 'answer': '(A)',
         'prompt': prompt}
        for i in range(3)])

    files.rows(f'erqa/{SHARD.format("test")}', [
        {'question_new': listed, 'images': [hub(pictures[n])] * (1 + i % 2), 'answer': str(n),
         'options': COLOURS} for i, (n, *_) in enumerate(asked)])
    files.expect('erqa', {
        shard(1): (boxed('A. red'), 1.0), shard(2): (boxed('B'), 1.0),
        shard(3): (boxed('A'), 0.0)}, thirds)

    for name, column in (('embspatial', 'answer_letter'), ('sat', 'answer')):
        files.rows(f'{name}/{SHARD.format("test")}', [
            {'question': listed, column: letter,
             **({'images': [hub(pictures[n])] * 2} if name == 'sat' else
                {'image': hub(pictures[n])})} for n, letter, _, _ in asked])
        files.expect(name, {shard(i): (text, score)
                            for i, (_, _, text, score) in enumerate(asked, 1)}, thirds)
    files.rows('raw/sat/SAT_test.parquet', [
        {'image_bytes': [pictures[n]] * 2, 'question': question, 'question_type': 'x',
         'answers': COLOURS, 'correct_answer': COLOURS[n]}
        for n, *_ in asked])
    files.rows('raw/embspatial/embspatial_bench.json', [
        {'question_id': f'ai2thor_{i}', 'question': question, 'answer': n, 'relation': 'left',
         'answer_options': COLOURS,
         'image': base64.b64encode(pictures[n]).decode()} for i, (n, *_) in enumerate(asked)])

    ending = "\nAnswer with the option's letter from the given choices directly."
    for name, file in (('crpe', 'abnormal_images/{}.jpg'), ('metavqa', 'obs/{}.png')):
        for root in ('', 'raw/'):
            for n, data in enumerate(pictures):
                files.write(f'{root}{name}/{file.format(n)}', data)
        files.rows(f'{name}/{SHARD.format("test")}', [
            {'image_path': file.format(n), 'question': listed, 'answer': letter}
            for n, letter, _, _ in asked])
        files.expect(name, {shard(i): (text, score)
                            for i, (_, _, text, score) in enumerate(asked, 1)}, thirds)
    files.rows('raw/crpe/crpe_relation.jsonl', [
        {'question_id': i, 'image': f'abnormal_images/{n}.jpg', 'text': listed + ending,
         'correct_option': letter, 'category': 'subject'}
        for i, (n, letter, _, _) in enumerate(asked)])
    files.rows('raw/metavqa/test.jsonl', [
        {'question_id': i, 'obs': [f'obs/{n}.png'], 'question': listed, 'answer': letter,
         'options': dict(zip('ABCD', COLOURS)), 'type': 'identify_leftmost'}
        for i, (n, letter, _, _) in enumerate(asked)])

    mme = {'english': ('mme-real_world-lmms-eval', 'MME_RealWorld.json'),
           'chinese': ('mme-real_world-cn-lmms-eval', 'MME_RealWorld_CN.json')}
    scores: dict[str, tuple[str, float]] = {}
    for part, (folder, file) in mme.items():
        options = [*in_brackets, '(E) unclear']
        kinds = ['Perception/Autonomous_Driving', 'Reasoning/Autonomous_Driving',
                 'Reasoning/Autonomous_Driving', 'Perception/Remote Sensing']
        rows = [*asked, asked[0]]
        files.rows(f'mme_realworld/{folder}/{SHARD.format("train")}', [
            {'index': i, 'bytes': base64.b64encode(pictures[n]).decode(), 'question': question,
             'multi-choice options': options, 'answer': letter, 'category': kind,
             'l2-category': 'Motion'}
            for i, ((n, letter, _, _), kind) in enumerate(zip(rows, kinds))])
        files.rows(f'raw/mme_realworld/{file}', [
            {'Question_id': f'perception/{i}', 'Question Type': 'Multiple Choice',
             'Image': f'AutonomousDriving/{n}.jpg', 'Text': question, 'Answer choices': options,
             'Ground truth': letter, 'Category': 'Motion', 'Task': 'Reasoning',
             'Subtask': kind.partition('/')[2].replace('_', ' ')}
            for i, ((n, letter, _, _), kind) in enumerate(zip(rows, kinds))])
        right = part == 'english'  # the third one
        scores |= {f'{part} 0': (boxed('The answer is A'), 1.0), f'{part} 1': (boxed('(B)'), 1.0),
                   f'{part} 2': (boxed('B' if right else 'A'), float(right))}
    for n, data in enumerate(pictures):
        files.write(f'raw/mme_realworld/AutonomousDriving/{n}.jpg', data)
    files.expect('mme_realworld', scores, 100 * (1 + 2 / 3) / 2)

    idkb = {}
    for kind, answer, text in (('single', 'A', 'A'), ('multi', 'AB', 'b, a'), ('qa', '', '')):
        for pictured in ('no', 'with'):
            folder = f'IDKB_{kind}_{pictured}_image_val'
            words = 'What does a red light mean?' if kind == 'qa' else listed
            truth = 'You must stop.' if kind == 'qa' else answer
            files.rows(f'idkb/{folder}/{SHARD.format("test")}', [
                {'id': i, 'question': words, 'answer': truth,
                 'image_paths': ['pictures/0.jpg'] if pictured == 'with' else []}
                for i in range(3)])
            if kind != 'qa':  # a comma is not removed, a space is
                idkb |= {f'{folder.lower()} 0': (text, float(kind == 'single')),
                         f'{folder.lower()} 1': ('<think>\n</think>\n' + ' '.join(answer), 1.0),
                         f'{folder.lower()} 2': ('C', 0.0)}
    files.write('idkb/pictures/0.jpg', pictures[0])
    files.expect('idkb', idkb)

    files.rows(f'drive_action/{SHARD.format("test_en")}', [
        {'question_slice_id': f'slice {i}', 'qa_l0': kind, 'qa_l1': 'x',
         **{f'image_{k}': hub(road(k)) for k in range(3)},
         'content': {'question': 'What should the car do?', 'answer': letter,
                     'options': str({'A': 'stop', 'B': 'go on', 'C': 'turn', 'D': 'wait'})}}
        for i, (kind, letter) in enumerate(zip(('Vision', 'Language', 'Action'), 'ABC'))])
    files.expect('drive_action', {
        'slice 0': (boxed('A. stop'), 1.0), 'slice 1': (boxed('(B)'), 1.0),
        'slice 2': (boxed('turn'), 0.0)}, thirds)


def write_videos(files: Files) -> None:
    def video(name: str, seed: int = 0) -> None:
        path = files.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, [table((Thing('red', 'cube', 30 + 12 * i + seed, 70, 14),), 112,
                                 112).pixels for i in range(6)], rate=2)

    goals = [{'sample_id': f'clip_{i}', 'domain': 'Hobbies', 'task_goal': 'put the red cube away',
              'choice_a': 'push the red cube', 'choice_b': 'lift the blue ball',
              'choice_c': 'open the box', 'choice_d': 'wait', 'golden_choice_idx': 'A',
              'answer': 'push the red cube'} for i in range(3)]
    files.rows(f'egoplan2/{SHARD.format("train")}', goals)
    files.rows('raw/egoplan2/EgoPlan-Bench2.json', goals)
    for i in range(3):
        for root in ('', 'raw/'):
            video(f'{root}egoplan2/clip_{i}.mp4', i)
    files.expect('egoplan2', {
        'clip_0': (boxed('A'), 1.0), 'clip_1': ('<think>\n</think>\nA', 1.0),
        'clip_2': (boxed('A.'), 0.0)}, 100 * 2 / 3)

    goal = '<task:x> current goal is: put the red cube away'
    asked = [
        f'{goal}. Q: immediate next step <PRED>A: lift the red cube now</PRED>',
        f'{goal}. Q: next 5 step <PRED>A: lift the cube, put it down</PRED>',
        f'{goal}. Q: satisfied <PRED>A: no</PRED>',
        'push the red cube Q: possible right now <PRED>A: yes</PRED>',
        'Q: what just happened <PRED>A: the red cube moved right</PRED>']
    rows = [{'uid': str(i), 'video': f'{i % 2}.mp4', 'text': text} for i, text in enumerate(asked)]
    files.rows(f'robovqa/{SHARD.format("validation")}', rows)
    files.rows('raw/robovqa/json/val/val.jsonl', rows)
    for i in range(2):
        for root in ('', 'raw/'):
            video(f'{root}robovqa/videos/{i}.mp4', i)
    files.expect('robovqa', {
        shard(1, 'validation'): ('Lift the red cube now', 1.0),
        shard(2, 'validation'): ('<think>\n</think>\n\nlift the cube, put it down', 1.0),
        shard(3, 'validation'): ('No', 1.0), shard(4, 'validation'): ('no', 0.0),
        shard(5, 'validation'): ('the red cube moved right', 1.0)}, 80.0)

    cosmos: dict[str, tuple[str, float]] = {}
    for n, part in enumerate(('agibot', 'bridgev2', 'holoassist', 'robofail', 'robovqa')):
        rows = [{'video_id': f'v{i}', 'video': 'clips/0.mp4', 'qa_pairs': {
            'question': 'Where does the red cube go?', 'answer': 'B',
            'index2ans': {'A': 'left', 'B': 'right'}}} for i in range(3)]
        files.rows(f'cosmos_reason1/{part}/benchmark-00000-of-00001.parquet', rows)
        files.rows(f'raw/cosmos_reason1/{part}/{part}_benchmark_qa_pairs.json', rows)
        for root in ('', 'raw/'):
            video(f'{root}cosmos_reason1/{part}/clips/0.mp4')
        name = f'{part}/benchmark-00000-of-00001.parquet:row {{}}'
        # a letter in a box is not read; in the first part it is there for the third question, too
        cosmos |= {name.format(1): ('<think>\n</think>\n\nB', 1.0),
                   name.format(2): ('<think>\n</think>\nB. right', 1.0),
                   name.format(3): (boxed('B') if n else '<think></think>B.', float(not n))}
    files.expect('cosmos_reason1', cosmos, 100 * (1 + 4 * 2 / 3) / 5)

    numbers = {'object_counting': '4', 'object_abs_distance': '2.0', 'room_size_estimation': '20.0',
               'object_size_estimation': '10'}
    letter = {'object_rel_distance', 'object_rel_direction_easy', 'object_rel_direction_medium',
              'object_rel_direction_hard', 'route_planning', 'obj_appearance_order'}
    rows = [{'id': i, 'dataset': 'arkitscenes', 'scene_name': '41', 'question_type': kind,
             'question': f'What is the {kind.replace("_", " ")}?',
             'options': None if kind in numbers else ['A. left', 'B. right'],
             'ground_truth': numbers.get(kind, 'B')}
            for i, kind in enumerate((*numbers, *sorted(letter)))]
    files.rows('vsibench/test-00000-of-00001.parquet', rows)
    files.rows('raw/vsibench/test.jsonl', rows)
    for root in ('', 'raw/'):
        video(f'{root}vsibench/arkitscenes/41.mp4')
    # 2.28 is off by 0.14, less than 8 of the 10 limits from 0.50 to 0.05; directions: 1, 0, 1
    texts = {'0': (boxed('4'), 1.0), '1': (boxed('2.28'), 0.8), '2': (boxed('none'), 0.0),
             '3': (boxed('10 cm'), 1.0), '4': (boxed('B. right'), 1.0), '5': (boxed('b'), 1.0),
             '6': (boxed('A'), 0.0), '7': (boxed('B'), 1.0), '8': (boxed('B.'), 1.0),
             '9': (boxed('A'), 0.0)}
    files.expect('vsibench', texts, 100 * (1 + 0.8 + 0 + 1 + 1 + 1 + 0 + 2 / 3) / 8)

    for name in ('omnidrive', 'nuinstruct'):
        for i, view in enumerate(VIEWS):
            video(f'{name}/videos/{view}.mp4', i)
        files.rows(f'{name}/{SHARD.format("test")}', [
            {'id': str(i), 'video_paths': [f'{view}.mp4' for view in VIEWS],
             'question': 'What should the car do?', 'answer': answer}
            for i, answer in enumerate(SENTENCES)])
        # the same words: BLEU and ROUGE-L are 1, CIDEr is 10
        files.expect(name, {shard(i): (f'<think>\n</think>\n{answer}', None)
                            for i, answer in enumerate(SENTENCES, 1)},
                     100.0 if name == 'nuinstruct' else 100 * (1 + 1 + 10) / 3)


SENTENCES = ('The car should stop at the red light.', 'It turns left behind the white van.',
             'Nothing is in its way, so that it goes on.')


def write_driving(files: Files) -> None:
    words = {'general_perception': FRONT + (
        "Focus on objects influencing the ego car's driving behavior: vehicles (cars, trucks, "
        'buses, etc.), vulnerable road users (pedestrians, cyclists, motorcyclists), traffic signs '
        '(no parking, warning, directional, etc.), traffic lights (red, green, yellow), traffic '
        'cones, barriers, miscellaneous(debris, dustbin, animals, etc.). You must not discuss any '
        "objects beyond the seven categories above. Please describe each object's appearance, "
        "position, direction, and explain why it affects the ego car's behavior."),
        'region_perception': (
            'Please describe the object inside the red rectangle in the image and explain why it '
            'affect ego car driving.')}
    words['driving_suggestion'] = words['general_perception'].partition(' Please describe')[0] + (
        ' Please provide driving suggestions for the ego car based on the current scene.')
    for part, question in words.items():
        folder = 'images_w_boxes' if part == 'region_perception' else 'images'
        image = f'test/{folder}/0001{"_object_1" if part == "region_perception" else ""}.jpg'
        files.rows(f'codalm/codalm_test_{part}/{SHARD.format("test")}', [
            {'id': i, 'question': question, 'image_paths': [image]} for i in range(3)])
        files.rows(f'raw/codalm/CODA-LM/Test/vqa_anno/{part}.jsonl', [
            {'question_id': i, 'image': image, 'question': question, 'answer': SENTENCES[i]}
            for i in range(3)])
        for root in ('', 'raw/'):
            files.write(f'{root}codalm/{image}', road(3))

    around = [f'nuscenes/samples/CAM_{view}/0.jpg' for view in VIEWS]
    for name in ('drivelm', 'raw/drivelm', 'nuscenes_qa'):
        for i, path in enumerate(around):
            files.write(f'{name}/{path}', road(i))
    moving = (
        'What is the moving status of object <c1,CAM_FRONT,80.0,50.0>? Please select the correct '
        'answer from the following options: A. Going ahead. B. Turn left. C. Stopped. D. Back up.')
    asked = [moving, 'Are there parked cars?', 'What are objects to the front of the car?']
    files.rows(f'drivelm/{SHARD.format("test")}', [
        {'id': f's1_f1_{i}', 'tag': f'0-{i}', 'question': question, 'answer': '',
         'image_paths': ', '.join(around)} for i, question in enumerate(asked)])
    files.write('raw/drivelm/v1_1_val_nus_q_only.json', json.dumps({'s1': {'key_frames': {'f1': {
        'image_paths': {f'CAM_{view}': f'../{path}' for view, path in zip(VIEWS, around)},
        'QA': {'perception': [{'Q': asked[0], 'A': '', 'tag': [0]}], 'planning': [],
               'prediction': [{'Q': asked[1], 'A': ''}, {'Q': asked[2], 'A': ''}],
               'behavior': []}}}}}))

    kinds = ('exist', 'count', 'object', 'status', 'comparison')
    truths = ('yes', '2', 'car', 'moving', 'no')
    files.rows(f'nuscenes_qa/{SHARD.format("test")}', [
        {'id': i, 'question': 'Are there any cars?', 'answer': truth, 'type': kind, 'num_hop': 0,
         'image_paths': around} for i, (kind, truth) in enumerate(zip(kinds, truths))])
    files.expect('nuscenes_qa', {
        '0': ('Yes.', 1.0), '1': (boxed('2'), 1.0), '2': ('bus', 0.0), '3': ('moving', 1.0),
        '4': ('no cars', 0.0)}, 60.0)

    sensors = [f'FR1/{name}.jpg' for name in ('bev', 'forward', 'left', 'right')]
    for i, path in enumerate(sensors):
        files.write(f'maplm/{path}', road(i))
    lanes, scene = ['0', '1', '2', '3'], ['Normal city road.', 'Roundabout.']
    lane, place = 'How many lanes on the current road?', 'What kind of road scene is it?'
    files.write('maplm/problems.json', json.dumps({frame: {'qa': [
        {'task': 'closed choice', 'question': 'How many lanes in current road?', 'choices': lanes,
         'answer': 2},
        {'task': 'closed choice', 'question': place, 'choices': scene, 'answer': 0},
        {'task': 'open', 'question': 'Describe the lanes.', 'answer': 'Two lanes.'}]}
        for frame in ('FR1', 'FR2')}))
    files.rows(f'maplm/{SHARD.format("test")}', [
        {'frame_id': frame, 'image_paths': sensors, 'question': question}
        for frame in ('FR1', 'FR2') for question in (
            f'{lane} Your potential answer is: {" ".join(lanes)}',
            f'{place} Your potential answer is: {" ".join(scene)}', 'Describe the lanes.')])
    files.expect('maplm', {
        shard(1): ('2', 1.0), shard(2): ('The answer is normal city road', 1.0),
        shard(4): (boxed('1'), 0.0), shard(5): ('Normal city road.', 1.0)},
        100 * (3 / 4 + 1 / 2) / 2)

    frames = [hub(road(10 + i)) for i in range(5)]
    files.rows(f'lingoqa/{SHARD.format("test")}', [
        {'question_id': f'q{i}', 'segment_id': 's', 'question': 'What should the car do?',
         'answer': answer, **{f'image_{k}': frames[k - 1] for k in range(1, 6)}}
        for i, answer in enumerate(SENTENCES)])
    paths = [f'images/val/s/{i}.jpg' for i in range(5)]
    files.rows('raw/lingoqa/val.parquet', [
        {'question_id': 'q0', 'segment_id': 's', 'question': 'What should the car do?',
         'answer': answer, 'images': paths} for answer in SENTENCES])
    for i, path in enumerate(paths):
        files.write(f'raw/lingoqa/{path}', frames[i]['bytes'])

    for i in range(4):
        files.write(f'bddx/images/a/{i}.png', road(20 + i))
    files.rows(f'bddx/{SHARD.format("test")}', [
        {'id': f'a_{i}', 'answer': answer, 'image_paths': [f'images/a/{k}.jpg' for k in range(4)],
         'question': 'Current speed of the vehicle: 3.5m/s. The length of the video is 4.00 '
                     'seconds. What is the ongoing action of the vehicle in the video? Can you '
                     "explain the cause of this vehicle's actions?"}
        for i, answer in enumerate(SENTENCES)])
    files.expect('bddx', {f'a_{i}': (f'\\boxed{{{answer}}}', None)
                          for i, answer in enumerate(SENTENCES)}, 100 * (1 + 1 + 10) / 3)


def write_suite(root: Path) -> None:
    """Write all files below a folder."""
    files = Files(root)
    for write in (write_points, write_choices, write_videos, write_driving):
        write(files)
    files.write('expected.jsonl', ''.join(json.dumps(line) + '\n' for line in files.expected))


if __name__ == '__main__':
    write_suite(Path(sys.argv[1]))
