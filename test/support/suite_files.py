"""Made-up records of the report's benchmarks, in the layouts in which these are published.

``python -m support.suite_files FOLDER`` writes ``FOLDER/<benchmark>/``, raw layouts beside parquet
to ``FOLDER/raw/<benchmark>/``, and ``FOLDER/expected.jsonl``: texts of a model with the scores that
they have by the vendor's rules, computed by hand. The scenes are drawn by ``worlds``, so that the
embedded model answers what it can.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import numpy as np

from mimo_embodied_ros.worlds.table_scene import Thing, mask

from .suite_media import write_driving, write_videos
from .suite_writer import SHARD, THINGS, Files, boxed, encoded, hub, points, road, shard, table

TAIL = (' Your answer should be formatted as a list of tuples, i.e. [(x1, y1), (x2, y2), ...], '
        'where each tuple contains the x and y coordinates of a point.')
VABENCH_TAIL = ('You FIRST think about the reasoning process as an internal monologue and then '
                'provide the final answer.')
SWAPPED = (Thing('red', 'ball', 116, 70, 15), Thing('blue', 'cube', 50, 76, 16))
COLOURS = ('red', 'blue', 'green', 'yellow')


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


def write_suite(root: Path) -> None:
    """Write all files below a folder."""
    files = Files(root)
    for write in (write_points, write_choices, write_videos, write_driving):
        write(files)
    files.write('expected.jsonl', ''.join(json.dumps(line) + '\n' for line in files.expected))


if __name__ == '__main__':
    write_suite(Path(sys.argv[1]))
