"""From answers to scores: by the vendor's rule, and by this package's reading, for each metric.

`RULES` has the metrics that ``suite.yaml`` names. The vendor's rule takes the raw text, by
`vendor_text`; ours takes what the readers of a robot made of it, where an answer that cannot be
read is worth nothing. Both are shares, where 1 is best; CIDEr may be higher.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import drivelm, metrics, text_metrics, vendor_text
from .answered import Answered
from .ground_truth import Number, Text
from .tally import Sums, Tally
from .vendor_points import box_iou_50, our_points_in_box, points_in_box, points_in_mask

if TYPE_CHECKING:
    from .judges import Judges


ScoreAll = Callable[[Sequence[Answered], 'Judges'], Tally]
ScoreOne = Callable[[Answered], float]


@dataclass(frozen=True)
class Rule:
    """How a metric is computed.

    Attributes:
        vendor: by the vendor's rule.
        ours: by our reading.
        needs: a judge that must be there: '', or the name of a field of `Judges`.

    """

    vendor: ScoreAll
    ours: ScoreAll
    needs: str = ''


# -- letters, words and numbers


def _is_target(read: Callable[[str], str], same: Callable[[str], str] = str.lower) -> ScoreOne:
    """Make the rule of answers that must equal the target."""
    return lambda answered: float(same(read(answered.text)) == same(answered.target))


def _yes_no(answered: Answered) -> float:
    word = vendor_text.last_box(answered.text).lower()
    return float(word in {'yes', 'no'} and word == answered.target.lower())


def _cvbench(answered: Answered) -> float:
    letter = vendor_text.cvbench_letter(vendor_text.last_box(answered.text))
    return float(bool(letter) and letter == vendor_text.cvbench_letter(answered.target))


def _mme(answered: Answered) -> float:
    letter = vendor_text.mme_letter(vendor_text.last_box(answered.text))
    return float(answered.target.lower() in letter.lower())


def _drive_action(answered: Answered) -> float:
    text = vendor_text.letter_with_stop(vendor_text.last_box(answered.text))
    return float(vendor_text.is_mmstar_choice(text, answered.target))


def _sorted_letters(text: str) -> str:
    return ''.join(sorted(text.replace(' ', '').lower()))


def _relative(answered: Answered) -> float:
    number = vendor_text.number(vendor_text.answer_in_box(answered.text))
    truth = answered.record.truth
    if number is None or not isinstance(truth, Number):
        return 0.0
    return metrics.relative_accuracy(number, truth.number)


def _truth_score(answered: Answered) -> float:
    return answered.score or 0.0


# -- texts

ReadText = Callable[[Answered], str]


def _ours_words(answered: Answered) -> str:
    return answered.words


def _in_box(answered: Answered) -> str:
    return vendor_text.answer_in_box(answered.text)


def _box_first(answered: Answered) -> str:
    return vendor_text.box_then_answer(answered.text)


def _lingo_text(answered: Answered) -> str:
    return vendor_text.latex_text(_in_box(answered))


def _robovqa(answered: Answered) -> float:
    words = vendor_text.robovqa_words(answered.text, answered.target)
    return text_metrics.sentence_bleu(words, answered.target.lower())


def _our_robovqa(answered: Answered) -> float:
    return text_metrics.sentence_bleu(answered.words.lower(), answered.target.lower())


def _captions(
    read: ReadText, value: Callable[[Sums, int], float], *, skip_empty: bool = False,
) -> ScoreAll:
    def tally(answers: Sequence[Answered], _judges: Judges) -> Tally:
        texts, targets = [], []
        for answered in answers:
            text = read(answered)
            if text.strip() or not skip_empty:
                texts.append(text.strip() if skip_empty else text)
                targets.append(answered.target)
        if not texts:
            return Tally.of_scores([0.0] * len(answers))
        return text_metrics.caption_tally(texts, targets, value)
    return tally


def _idkb_text(
    read: ReadText, rouge: Callable[[str, str], tuple[float, float]],
) -> ScoreAll:
    def tally(answers: Sequence[Answered], judges: Judges) -> Tally:
        assert judges.embeddings is not None
        pairs = [(read(answered).strip(), answered.target.strip()) for answered in answers]
        near = judges.embeddings.similarities(pairs)
        return Tally.of_scores([
            (sum(rouge(text, target)) + similarity) / 3
            for (text, target), similarity in zip(pairs, near)])
    return tally


def _lingo(read: ReadText) -> ScoreAll:
    def tally(answers: Sequence[Answered], judges: Judges) -> Tally:
        assert judges.lingo is not None
        scores = [judges.lingo.score(a.record.question, _accepted(a), read(a)) for a in answers]
        return Tally.of_scores([float(score > 0.5) for score in scores])
    return tally


def _accepted(answered: Answered) -> Sequence[str]:
    truth = answered.record.truth
    return truth.accepted if isinstance(truth, Text) else (answered.target,)


def _codalm(read: ReadText) -> ScoreAll:
    def tally(answers: Sequence[Answered], judges: Judges) -> Tally:
        assert judges.chat is not None
        ratings = (judges.chat.rate_codalm(a.record.category, a.target, read(a)) for a in answers)
        return Tally.of_scores([rating / 10 for rating in ratings if rating is not None])
    return tally


def _drivelm(read: ReadText) -> ScoreAll:
    def tally(answers: Sequence[Answered], judges: Judges) -> Tally:
        assert judges.chat is not None
        return drivelm.tally([(a.record, a.target, read(a)) for a in answers], judges.chat)
    return tally


# -- MAPLM


def maplm(sums: Sums, frames: int) -> float:
    """Return the mean of the share of frames with all answers right, and of right answers."""
    return float(sums[0] / frames + (sums[1] / sums[2] if sums[2] else 0.0)) / 2


def _maplm(read: ReadText) -> ScoreAll:
    def tally(answers: Sequence[Answered], _judges: Judges) -> Tally:
        frames: dict[str, list[bool]] = defaultdict(list)
        for answered in answers:
            extra = answered.record.extra
            right = frames[str(extra.get('frame', answered.record.id))]
            choices = extra.get('choices') or ()
            if choices:  # else it is an open question, which no published score counts
                right.append(_choice_in(read(answered), choices) == answered.target)
        rows = [(float(all(right)), sum(right), len(right)) for right in frames.values()]
        return Tally(np.asarray(rows, float), maplm)
    return tally


def _choice_in(text: str, choices: Sequence[str]) -> str | None:
    """Return the first of the choices that a text contains."""
    text = text if text.endswith('.') else text + '.'
    return next((choice for choice in choices if choice.lower() in text.lower()), None)


def _each(score: ScoreOne) -> ScoreAll:
    """Make the mean over all questions."""
    return lambda answers, _judges: Tally.of_scores([score(answered) for answered in answers])


def _by_truth(score: ScoreOne) -> Rule:
    """Make a rule whose other side is the metric of the record's truth."""
    return Rule(_each(score), _each(_truth_score))


def _erqa_letter(text: str) -> str:
    return vendor_text.letter_with_stop(vendor_text.last_box(text))


def _vsi_letter(text: str) -> str:
    return vendor_text.first_word(vendor_text.answer_in_box(text))


def _egoplan_letter(text: str) -> str:
    return vendor_text.after_first_think(vendor_text.last_box(text))


def _word(answered: Answered) -> float:
    return float(_box_first(answered).lower().replace('.', '') == answered.target.lower())


RULES: dict[str, Rule] = {
    'points_in_mask': _by_truth(points_in_mask),
    'points_in_box': Rule(_each(points_in_box), _each(our_points_in_box)),
    'box_iou_50': _by_truth(box_iou_50),
    'boxed_exact': _by_truth(_is_target(vendor_text.last_box)),
    'yes_no': _by_truth(_yes_no),
    'egoplan_letter': _by_truth(_is_target(_egoplan_letter)),
    'cvbench_letter': _by_truth(_cvbench),
    'erqa_letter': _by_truth(_is_target(_erqa_letter, vendor_text.bare)),
    'cosmos_letter': _by_truth(_is_target(vendor_text.letter_behind_think, vendor_text.bare)),
    'vsi_letter': _by_truth(_is_target(_vsi_letter)),
    'mme_letter': _by_truth(_mme),
    'driveaction_letter': _by_truth(_drive_action),
    'letters_sorted': _by_truth(
        _is_target(vendor_text.box_then_answer, _sorted_letters)),
    'word': _by_truth(_word),
    'mra': _by_truth(_relative),
    'robovqa_bleu': Rule(_each(_robovqa), _each(_our_robovqa)),
    'idkb_text': Rule(_idkb_text(_box_first, text_metrics.idkb_rouge),
                      _idkb_text(_ours_words, text_metrics.rouge), 'embeddings'),
    'omnidrive_caption': Rule(_captions(_in_box, text_metrics.omnidrive),
                              _captions(_ours_words, text_metrics.omnidrive)),
    'nuinstruct_bleu': Rule(_captions(_in_box, text_metrics.mean_bleu),
                            _captions(_ours_words, text_metrics.mean_bleu)),
    'bddx_caption': Rule(_captions(_box_first, text_metrics.bddx, skip_empty=True),
                         _captions(_ours_words, text_metrics.bddx)),
    'maplm': Rule(_maplm(_in_box), _maplm(_ours_words)),
    'lingo_judge': Rule(_lingo(_lingo_text), _lingo(_ours_words), 'lingo'),
    'codalm_judge': Rule(_codalm(_in_box), _codalm(_ours_words), 'chat'),
    'drivelm_judge': Rule(_drivelm(_in_box), _drivelm(_ours_words), 'chat'),
}
"""By the name of a metric in ``suite.yaml``."""
