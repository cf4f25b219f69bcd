"""The vendor's rules, against scores computed by hand and against published examples."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.resize import PixelLimits, Resize, smart_resize
from mimo_embodied_ros.core.tasks import TASKS
from mimo_embodied_ros.evaluation import drivelm, text_metrics, vendor_text
from mimo_embodied_ros.evaluation.answered import Answered
from mimo_embodied_ros.evaluation.dataset import Record
from mimo_embodied_ros.evaluation.ground_truth import Choice, Text
from mimo_embodied_ros.evaluation.judges import Judges
from mimo_embodied_ros.evaluation.regions import Boxes, Mask
from mimo_embodied_ros.evaluation.suite import load_suite, read_benchmark
from mimo_embodied_ros.evaluation.suite_run import MAX_PIXELS
from mimo_embodied_ros.evaluation.tally import (
    COMBINE,
    POOLED,
    Tally,
    combined,
    interval,
    wilson,
)
from mimo_embodied_ros.evaluation.vendor_rules import RULES
from mimo_embodied_ros.pictures import read_picture
from support.paths import TEST_DATA

if TYPE_CHECKING:
    from pathlib import Path

SUITE = TEST_DATA / 'suite'
LIMITS = PixelLimits(4 * 28 * 28, MAX_PIXELS)
EXPECTED: dict[str, list[dict[str, Any]]] = defaultdict(list)
for line in (SUITE / 'expected.jsonl').read_text().splitlines():
    EXPECTED[json.loads(line)['benchmark']].append(json.loads(line))
JUDGED = {part.metric for b in load_suite() for part in b.parts if RULES[part.metric].needs}



def record(task: str = 'choice', **fields: Any) -> Record:
    return Record('q', 'file:1', (), TASKS[task], 'Which?', fields.pop('truth'), **fields)


def answered(truth: Any, text: str, size: tuple[int, int] | None = None, **extra: Any) -> Answered:
    question = dataclasses.replace(record(truth=truth), extra=extra)
    seen = size and smart_resize(size[1], size[0], LIMITS)
    resize = Resize(*size, seen[1], seen[0]) if size and seen else None
    return Answered(question, text, resize=resize)


def score(metric: str, *answers: Answered) -> float:
    return RULES[metric].vendor(answers, Judges()).score()


def of_record(question: Record, output: str) -> Answered:
    if not question.images:
        return Answered(question, output)
    height, width, _ = read_picture(question.images[0]).shape
    seen = smart_resize(height, width, LIMITS)
    return Answered(question, output, resize=Resize(width, height, seen[1], seen[0]))


@pytest.mark.parametrize('name', sorted(EXPECTED))
def test_outputs_score_as_computed_by_hand(name: str, tmp_path: Path) -> None:
    benchmark = next(b for b in load_suite() if b.name == name)
    metrics = {part.name: part.metric for part in benchmark.parts}
    records = {r.id: r for r in read_benchmark(benchmark, SUITE, unpacked=tmp_path)}
    lines = [line for line in EXPECTED[name] if 'id' in line]
    answers = [of_record(records[line['id']], line['output']) for line in lines]
    assert len(answers) >= 3
    for line, answer in zip(lines, answers):
        metric = metrics[answer.record.category]
        if line['score'] is not None and metric not in JUDGED:
            assert score(metric, answer) == pytest.approx(line['score'], abs=1e-6), line
    for line in EXPECTED[name]:
        if 'total' in line and line['total'] is not None and not set(metrics.values()) & JUDGED:
            if benchmark.combine in POOLED:
                groups = {'all': answers}
            else:
                groups = {p: [a for a in answers if a.record.category == p] for p in metrics}
            first = benchmark.parts[0].metric
            tallies = {part: RULES[metrics.get(part, first)].vendor(own, Judges())
                       for part, own in groups.items() if own}
            assert 100 * combined(tallies, benchmark.combine) == pytest.approx(
                line['total'], abs=0.01)


def test_points_count_on_the_resized_mask_in_integers_and_only_behind_the_reasoning(
    tmp_path: Path,
) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 30:] = 1
    Image.fromarray(mask).save(tmp_path / 'mask.png')
    truth, size = Mask(tmp_path / 'mask.png'), (60, 40)

    def points(text: str) -> float:
        return score('points_in_mask', answered(truth, text, size))

    height, width = smart_resize(40, 60, LIMITS)
    assert (width, height) == (84, 56)
    assert points(f'</think>[[{width - 1}, {height - 1}]]') == 1  # of the resized image
    assert points(f'</think>[[{width - 1}.9, 5.9]]') == 1  # cut, not rounded
    assert points(f'</think>[[{width}, 5]]') == 0  # outside
    assert points(f'[[{width - 1}, 5]]') == 0  # without </think>
    assert points('</think>It is not there.') == 0  # a miss at (0, 0)
    assert points(f'</think>[[{width - 1}, 5], [1, 5]] (80, 5)') == 0.5  # brackets come first
    assert points(f'<think>[[1, 1]]</think>a</think>({width - 1}, 5)') == 1  # the last </think>
    assert points('</think>' + f'[[{"9" * 400}, 5]]') == 0


def test_a_point_that_is_not_there_hits_a_mask_at_the_corner(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 60), 255, np.uint8)).save(tmp_path / 'mask.png')
    truth = Mask(tmp_path / 'mask.png')
    assert score('points_in_mask', answered(truth, '</think>not there', (60, 40))) == 1


def test_boxes_are_scaled_and_cut_to_integers() -> None:
    truth, size = Boxes(((10.0, 10.0, 30.0, 30.0),)), (100, 100)  # seen as 112x112

    def points(text: str, **extra: Any) -> float:
        return score('points_in_box', answered(truth, text, size, **extra))

    assert points('</think>[[11, 33]]') == 1  # 11.2 becomes 11, 33.6 becomes 33
    assert points('</think>[[11, 34]]') == 0
    assert points('</think>[[34, 34]]', normalized_box=[0.3, 0.3, 0.4, 0.4]) == 1
    box = '[{"bbox_2d": [11, 11, 34, 34]}]'
    assert score('box_iou_50', answered(truth, box, size)) == 1
    assert score('box_iou_50', answered(truth, f'<think>[0, 0, 5, 5]</think>{box}', size)) == 0
    assert score('box_iou_50', answered(truth, '[0.1, 0.1, 0.3, 0.3]', size)) == 1  # shares
    words = 'Top-left x: 11, top-left y: 11, bottom-right x: 34, bottom-right y: 34'
    assert score('box_iou_50', answered(truth, words, size)) == 1
    assert score('box_iou_50', answered(truth, 'no box', size)) == 0


@pytest.mark.parametrize(('metric', 'text', 'right'), [
    ('boxed_exact', r'<think>\boxed{A}</think>\boxed{B}', True),
    ('boxed_exact', r'<think>\boxed{B}</think>so it is A', True),  # a box in the reasoning counts
    ('boxed_exact', r'\boxed{\text{B}}', False),
    ('boxed_exact', 'b', True),
    ('boxed_exact', '<think>\n</think>\n\nB', False),
    ('egoplan_letter', '<think>\n</think>\n\nB', True),
    ('egoplan_letter', r'<think>\n</think>\boxed{B}', True),
    ('cvbench_letter', r'\boxed{(B)}', True),
    ('cvbench_letter', 'The answer is (B)', False),  # takes the T of The
    ('cvbench_letter', 'blue', True),
    ('erqa_letter', r'\boxed{B. the cup}', True),
    ('erqa_letter', r'\boxed{(b)}', True),
    ('erqa_letter', r'\boxed{B the cup}', False),
    ('cosmos_letter', '<think>x</think>\nB. the cup', True),
    ('cosmos_letter', r'<think>x</think>\boxed{B}', False),
    ('cosmos_letter', 'B', True),
    ('vsi_letter', r'<think>x</think>\boxed{B. left}', True),
    ('mme_letter', r'\boxed{The best answer is B}', True),
    ('mme_letter', r'\boxed{Dark, so B}', False),  # the D of Dark
    ('driveaction_letter', r'\boxed{B. stop}', True),
    ('driveaction_letter', r'\boxed{option b}', True),
    ('driveaction_letter', r'\boxed{stop, B}', False),
    ('letters_sorted', r'\boxed{b}', True),
    ('letters_sorted', '<think>\n</think>\n\nB', True),
    ('letters_sorted', r'\boxed{B.}', False),
])
def test_letters_as_each_benchmark_reads_them(metric: str, text: str, right: bool) -> None:
    assert score(metric, answered(Choice('B'), text)) == right


def test_an_empty_answer_is_an_a_for_mme_realworld() -> None:
    assert score('mme_letter', answered(Choice('A'), '')) == 1
    assert vendor_text.mme_letter('a word ' * 6) == ''


def test_the_letters_of_several_choices_in_any_order() -> None:
    assert score('letters_sorted', answered(Choice('AC'), 'c a')) == 1


def test_yes_and_numbers() -> None:
    assert vendor_text.last_box(r'\boxed{a} \boxed{b {c} d} \boxed{e {f {g}}}') == 'b {c} d'
    assert vendor_text.number(r'2.5 metres') == 2.5
    assert vendor_text.number('about 2') is None
    assert vendor_text.robovqa_words('<think>a</think>I KNOW\n\nit<p>', 'no') == 'i no it'


@settings(max_examples=40)
@given(st.text() | st.text('[](),0123456789.-\\boxed{}</think> ABtoplef:xy', max_size=60))
def test_no_text_breaks_a_rule(text: str) -> None:
    truth = Boxes(((1.0, 1.0, 9.0, 9.0),))
    for metric, rule in RULES.items():
        if rule.needs or metric in ('points_in_mask', 'mra'):
            continue
        right = truth if 'box_' in metric or '_box' in metric else Text(('a cup is there',))
        assert 0 <= score(metric, answered(right, text, (100, 100))) <= 10
    vendor_text.points(text)
    vendor_text.number(text)


# -- libraries


def test_sentence_bleu_as_in_the_handbook_of_nltk() -> None:
    # the example of nltk.translate.bleu_score: 0.5045 for hypothesis1 and three references
    words = ('It is a guide to action which ensures that the military always obeys the '
             'commands of the party')
    hypothesis = words.split()
    references = [
        'It is a guide to action that ensures that the military will forever heed Party commands',
        ('It is the guiding principle which guarantees the military forces always being under '
         'the command of the Party'),
        'It is the practical guide for the army always to heed the directions of the party']
    bleu = text_metrics.library('nltk.translate.bleu_score').sentence_bleu
    assert bleu([r.split() for r in references], hypothesis) == pytest.approx(0.5045, abs=1e-4)
    assert text_metrics.sentence_bleu('pick up the red cup', 'pick up the red cup') == 1
    assert text_metrics.sentence_bleu('yes', 'yes') == 1
    # BLEU-1 to -3 are the brevity penalty exp(1 - 4/3), BLEU-4 is 0
    assert text_metrics.sentence_bleu('a b c', 'a b c d') == pytest.approx(
        3 / 4 * np.exp(1 - 4 / 3), abs=1e-6)


def test_rouge_as_in_the_readme_of_rouge_score() -> None:
    # its README: rouge1 and rougeL of these sentences, precision 6/8 and 5/8, recall 6/9 and 5/9
    one, two = text_metrics.rouge(
        'The quick brown dog jumps on the log.', 'The quick brown fox jumps over the lazy dog')
    assert one == pytest.approx(2 * 0.75 * (6 / 9) / (0.75 + 6 / 9))
    assert two == pytest.approx(2 * 0.625 * (5 / 9) / (0.625 + 5 / 9))


def test_rouge_as_in_the_readme_of_rouge() -> None:
    # its README gives the scores of this pair
    hypothesis = (
        "the #### transcript is a written version of each day 's cnn student news program use "
        'this transcript to he    lp students with reading comprehension and vocabulary use the '
        'weekly newsquiz to test your knowledge of storie s you     saw on cnn student news')
    reference = (
        'this page includes the show transcript use the transcript to help students with reading '
        'comprehension and     vocabulary at the bottom of the page , comment for a chance to be '
        'mentioned on cnn student news . you must be a teac    her or a student age # # or older '
        'to request a mention on the cnn student news roll call . the weekly newsquiz tests     '
        "students ' knowledge of even ts in the news")
    one, longest = text_metrics.idkb_rouge(hypothesis, reference)
    assert longest == pytest.approx(0.44705881864636676)
    # 21 of 36 and of 49 different words; the README's rouge-1 is of a version that counted all
    assert one == pytest.approx(2 * (21 / 36) * (21 / 49) / (21 / 36 + 21 / 49), abs=1e-6)
    assert text_metrics.idkb_rouge('', '???') == pytest.approx((1.0, 1.0), abs=1e-6)


def test_captions_are_what_pycocoevalcap_says_of_the_whole_corpus() -> None:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider

    texts = ['a red car stops at the light', 'the road is free', 'a bus turns left here now']
    targets = ['a red car stops at the red light', 'the road ahead is free', 'a bus turns right']
    hypotheses = {i: [t] for i, t in enumerate(texts)}
    references = {i: [t] for i, t in enumerate(targets)}
    tally = text_metrics.caption_tally(texts, targets, text_metrics.mean_bleu)
    whole = Bleu(4).compute_score(references, hypotheses, verbose=0)[0]
    assert text_metrics.bleu(tally.rows.sum(axis=0)) == pytest.approx(whole)
    assert tally.score() == pytest.approx(sum(whole) / 4)
    cider = Cider().compute_score(references, hypotheses)[0]
    assert tally.rows[:, text_metrics.CIDER].mean() == pytest.approx(cider)
    # Papineni et al. 2002, example 2: 2 of 7 words are right when each counts once
    once = text_metrics.caption_tally(['the the the the the the the'],
                                      ['the cat is on the mat'], text_metrics.mean_bleu)
    assert text_metrics.bleu(once.rows.sum(axis=0))[0] == pytest.approx(2 / 7)


def test_a_library_that_is_absent_is_named_with_its_remedy() -> None:
    with pytest.raises(InvalidRequestError, match=r'needs not_there, .*pip install -r .*eval.txt'):
        text_metrics.library('not_there.module')


# -- from parts to one score


def test_parts_become_one_score_as_the_vendor_puts_them_together() -> None:
    assert COMBINE['mean_of_parts']({'a': 1.0, 'b': 0.0}) == 0.5
    # three kinds of direction are one type: (0.3 + 0.9 + (0 + 0.6 + 0.6) / 3) / 3
    vsi = {'object_counting': 0.3, 'route_planning': 0.9, 'object_rel_direction_easy': 0.0,
           'object_rel_direction_medium': 0.6, 'object_rel_direction_hard': 0.6}
    assert COMBINE['vsibench'](vsi) == pytest.approx(1.6 / 3)


def test_maplm_is_the_mean_of_questions_and_of_whole_frames() -> None:
    def answer(frame: str, text: str) -> Answered:
        return answered(Text(('Two lanes.',)), text, frame=frame,
                        choices=['One lane.', 'Two lanes.'])

    # 3 of 4 questions, 1 of 2 frames
    answers = [answer('a', 'two lanes'), answer('a', r'\boxed{Two lanes.}'),
               answer('b', 'one lane'), answer('b', 'There are two lanes.')]
    assert score('maplm', *answers) == pytest.approx((0.5 + 0.75) / 2)


def test_intervals_are_the_same_each_time_and_never_empty() -> None:
    tally = {'a': Tally.of_scores([1.0] * 30 + [0.0] * 70)}
    low, high, method = interval(tally, 'all')
    assert (low, high, method) == interval(tally, 'all')
    assert method == 'bootstrap'
    assert 0.2 <= low < 0.25
    assert 0.35 < high <= 0.4
    assert interval({'a': Tally.of_scores([1.0] * 5)}, 'all')[2] == 'wilson'
    # sentences of different lengths without a match: no draw scores anything
    captions = text_metrics.caption_tally(
        ['no', 'not one'], ['a car waits', 'stop here now'], text_metrics.mean_bleu)
    low, high, method = interval({'a': captions}, 'all')
    assert (low, high) == pytest.approx(wilson(0, 2))
    assert method == 'wilson'
    # Wilson's interval of 0 and 10 of 10, as in Brown, Cai and DasGupta 2001
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_drivelm_counts_questions_about_objects_that_were_found() -> None:
    class Half:
        def rate_drivelm(self, reference: str, prediction: str) -> float:
            assert reference
            assert prediction
            return 50.0

    def row(number: int, question: str, target: str, text: str, tag: list[int]) -> Any:
        asked = dataclasses.replace(record(truth=Text((target,))), id=f's_f_{number}',
                                    question=question, extra={'tag': tag})
        return asked, target, text

    place = '<c1,CAM_BACK,100.0,200.0>'
    answers = [
        row(0, 'What matters?', place, '<c1,CAM_BACK,105.0,205.0>', [3]),
        row(1, f'Is {place} moving?', 'A', 'A', [0]),
        row(2, 'Is <c2,CAM_BACK,7.0,7.0> moving?', 'A', 'B', [0]),  # was not found: left out
        row(3, 'What now?', 'Stop.', 'Wait.', [1])]
    tally = drivelm.tally(answers, Half())  # type: ignore[arg-type]
    # accuracy 1, judge 0.5, objects (1 + 0.5) / 2; no captions
    assert tally.units == 3
    assert tally.score() == pytest.approx((0.2 * 1 + 0.4 * 0.5 + 0.2 * 0.75) / 0.8, abs=1e-6)
