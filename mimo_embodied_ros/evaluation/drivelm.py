"""The score of the DriveLM challenge, from answers, right answers and a judge.

It is that of OpenDriveLab/DriveLM, ``challenge/evaluation.py``: questions are marked by tags, 0 for
exact answers, 1 for those that the judge rates, 2 for those that are compared as captions, 3 for
those that name objects by pixels. Questions about an object count only where the first answer of
their frame found it. The challenge's own server splits words with a tokenizer; here spaces do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from . import text_metrics
from .tally import Sums, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .dataset import Record
    from .judges import ChatJudge

ACCURACY, RATED, CAPTION, OBJECTS = 0, 1, 2, 3  # tags
_NEAR = 16.0  # pixels, of both axes together
_WEIGHTS = np.array([0.2, 0.4, 0.2, 0.2])  # of accuracy, judge, captions and objects
_SUMS, _COUNTS, _CAPTIONS = slice(0, 4), slice(4, 8), 8  # columns of the tally
_TINY = 1e-8
_POSITION = re.compile(r'\d+\.\d+')

Places = list[tuple[float, float]]


def tally(answers: Sequence[tuple[Record, str, str]], judge: ChatJudge) -> Tally:
    """Rate answers.

    Args:
        answers: question, right answer and answer, in the order of the file.
        judge: rates answers in words.

    """
    kept = list(_about_found_objects(answers))
    captions = [(text, target) for _, tags, target, text in kept if CAPTION in tags]
    counts = iter(text_metrics.caption_tally(
        [text for text, _ in captions], [target for _, target in captions], score).rows)
    rows = np.zeros((len(kept), _CAPTIONS + text_metrics.CIDER + 1))
    for row, (_, tags, target, text) in zip(rows, kept):
        row[_COUNTS] = [tag in tags for tag in (ACCURACY, RATED, CAPTION, OBJECTS)]
        row[ACCURACY] = ACCURACY in tags and text == target
        if RATED in tags or OBJECTS in tags:
            rating = (judge.rate_drivelm(target, text) or 0.0) / 100
            row[RATED] = rating * (RATED in tags)
            if OBJECTS in tags:
                row[OBJECTS] = (_match(text, target)[1] + rating) / 2
        if CAPTION in tags:
            row[_CAPTIONS:] = next(counts)
    return Tally(rows, score)


def score(sums: Sums, units: int) -> float:
    """Return the weighted mean of the four metrics, of those that have questions."""
    counts = sums[_COUNTS]
    means = sums[_SUMS] / np.maximum(counts, 1)
    if counts[CAPTION]:
        captions = sums[_CAPTIONS:]
        means[CAPTION] = (
            text_metrics.mean_bleu(captions, 0)
            + captions[text_metrics.ROUGE_L] / counts[CAPTION]
            + captions[text_metrics.CIDER] / counts[CAPTION] / 10) / 3
    weights = _WEIGHTS * (counts > 0)
    return float(means @ weights / weights.sum()) if weights.any() else 0.0


def _about_found_objects(
    answers: Sequence[tuple[Record, str, str]],
) -> Sequence[tuple[Record, set[int], str, str]]:
    """Drop questions about objects that the first answer of their frame did not find."""
    kept, found = [], dict[str, Places]()
    for record, target, text in answers:
        frame = record.id.rpartition('_')[0]
        if frame not in found:
            found[frame] = _match(text, target)[0]
        elif any(place not in found[frame] for place in _places(record.question)):
            continue
        kept.append((record, _tags(record.extra.get('tag')), target, text))
    return kept


def _tags(tag: Any) -> set[int]:
    """Return the tags of a question: a list in DriveLM's files, such as 0-1 in the vendor's."""
    tags = re.findall(r'\d+', tag)[:1] if isinstance(tag, str) else tag or [RATED]
    return {int(number) for number in tags}


def _places(text: str) -> Places:
    """Return the pixels that a text names, two numbers with a decimal point each."""
    numbers = [float(number) for number in _POSITION.findall(text)]
    return list(zip(numbers[::2], numbers[1::2]))


def _match(text: str, target: str) -> tuple[Places, float]:
    """Return the true places that a text names, and the F1 score of its places."""
    places, left = _places(text), _places(target)
    count, found = len(left), Places()
    for x, y in places:
        nearest = min(left, key=lambda p: abs(p[0] - x) + abs(p[1] - y), default=None)
        if nearest is not None and abs(nearest[0] - x) + abs(nearest[1] - y) < _NEAR:
            found.append(nearest)
            left.remove(nearest)
    precision = len(found) / (len(places) + _TINY)
    recall = len(found) / (count + _TINY)
    return found, 2 * precision * recall / (precision + recall + _TINY)
