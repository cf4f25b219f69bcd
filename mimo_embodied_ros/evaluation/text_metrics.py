"""Metrics of texts, by the libraries that the vendor's evaluation uses.

The libraries are imported when a benchmark needs them; ``requirements/eval.txt`` has them. Texts
are split at spaces only, as the vendor does: no tokenizer, and so no Java.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from mimo_embodied_ros.share import import_extra

from .tally import Sums, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BLEU = 10  # columns of BLEU's counts: guesses and hits of 1 to 4 words, two lengths
ROUGE_L, CIDER = _BLEU, _BLEU + 1  # columns behind them
_LONGEST = 1000  # characters that IDKB's ROUGE takes


def library(name: str) -> Any:
    """Import a library for metrics.

    Raises:
        InvalidRequestError: it is not installed.

    """
    return import_extra(name, f'this metric needs {name.partition(".")[0]}', 'eval')


def sentence_bleu(text: str, target: str) -> float:
    """Return RoboVQA's mean of BLEU-1 to BLEU-4 of one sentence, 0 to 1.

    A target of fewer than four words bounds the length of what is compared. Thirds are 0.33.
    """
    bleu = library('nltk.translate.bleu_score')
    weights = ((1.0, 0.0, 0.0, 0.0), (0.5, 0.5, 0.0, 0.0), (0.33, 0.33, 0.33, 0.0), (0.25,) * 4)
    words = target.split(' ')
    with warnings.catch_warnings():  # of what has no match
        warnings.simplefilter('ignore')
        return sum(
            float(bleu.sentence_bleu([words], text.split(' '), weights[min(n, len(words)) - 1]))
            for n in (1, 2, 3, 4)) / 4


def idkb_rouge(text: str, target: str) -> tuple[float, float]:
    """Return the F1 of ROUGE-1 and ROUGE-L by the vendor's library `rouge`, 0 to 1.

    It counts each word of a text once.
    """
    scores = library('rouge').Rouge(metrics=['rouge-1', 'rouge-l']).get_scores(
        _for_rouge(text), _for_rouge(target))[0]
    return float(scores['rouge-1']['f']), float(scores['rouge-l']['f'])


def rouge(text: str, target: str) -> tuple[float, float]:
    """Return the F1 of ROUGE-1 and ROUGE-L by ``rouge-score``, the one of ROUGE-1.5.5, 0 to 1."""
    scores = library('rouge_score.rouge_scorer').RougeScorer(['rouge1', 'rougeL']).score(
        target, text)
    return float(scores['rouge1'].fmeasure), float(scores['rougeL'].fmeasure)


def caption_tally(
    texts: Sequence[str], targets: Sequence[str], value: Callable[[Sums, int], float],
) -> Tally:
    """Count what BLEU, ROUGE-L and CIDEr of a whole corpus are computed from.

    CIDEr's weights of words are those of all targets, also where texts are drawn anew.

    Args:
        texts: of the model.
        targets: the right one of each.
        value: of the counts, made of `bleu`, and the means of the columns `ROUGE_L` and `CIDER`.

    """
    scorer = library('pycocoevalcap.bleu.bleu_scorer').BleuScorer(n=4)
    hypotheses = {i: [text] for i, text in enumerate(texts)}
    references = {i: [target] for i, target in enumerate(targets)}
    for text, target in zip(texts, targets):
        scorer += (text, [target])
    rows = np.zeros((len(texts), CIDER + 1))
    for row, counts in zip(rows, scorer.ctest):
        row[:_BLEU] = (*counts['guess'], *counts['correct'], counts['testlen'], counts['reflen'][0])
    if texts:
        rouge_l = library('pycocoevalcap.rouge.rouge').Rouge()
        rows[:, ROUGE_L] = rouge_l.compute_score(references, hypotheses)[1]
        cider = library('pycocoevalcap.cider.cider').Cider()
        rows[:, CIDER] = cider.compute_score(references, hypotheses)[1]
    return Tally(rows, value)


def bleu(sums: Sums) -> list[float]:
    """Return BLEU-1 to BLEU-4 of a corpus, 0 to 1, from the sums of `caption_tally`."""
    scorer = library('pycocoevalcap.bleu.bleu_scorer').BleuScorer(n=4)
    scorer.ctest = [{'guess': list(sums[:4]), 'correct': list(sums[4:8]), 'testlen': sums[8],
                     'reflen': [sums[9]]}]
    return [float(score) for score in scorer.compute_score('closest')[0]]


def mean_bleu(sums: Sums, units: int) -> float:
    """Return the mean of BLEU-1 to BLEU-4, as for NuInstruct."""
    return sum(bleu(sums)) / 4


def omnidrive(sums: Sums, units: int) -> float:
    """Return the mean of BLEU-1, ROUGE-L and CIDEr."""
    return float(bleu(sums)[0] + (sums[ROUGE_L] + sums[CIDER]) / units) / 3


def bddx(sums: Sums, units: int) -> float:
    """Return the mean of BLEU-4, ROUGE-L and CIDEr."""
    return float(bleu(sums)[3] + (sums[ROUGE_L] + sums[CIDER]) / units) / 3


def _for_rouge(text: str) -> str:
    """Return a text that the library takes: it refuses those without letters and digits."""
    text = text.strip()[:_LONGEST]
    return text if re.search('[A-Za-z0-9]', text) else 'empty'
