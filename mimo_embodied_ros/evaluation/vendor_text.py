r"""How the vendor's evaluation reads an answer, fault for fault.

These are the rules of ``lmms_eval/tasks/_task_utils/eval_utils.py`` and of the tasks' own
``utils.py`` in XiaomiMiMo/MiMo-Embodied@0bee4b6. Benchmarks are scored by them so that scores can
be compared with the published ones; a robot reads answers by `core.readers`, which refuse what
these guess. No function raises on any text.
"""

from __future__ import annotations

import re
import string

END_THINK = '</think>'

_BOX = re.compile(r'\\boxed\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}')
_LATEX_TEXT = re.compile(r'\\text\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}')
_NUMBER = r'(-?\d+(?:\.\d+)?)'
_PAIRS = tuple(re.compile(rf'\{a}\s*{_NUMBER},\s*{_NUMBER}\s*\{b}') for a, b in ('[]', '()'))
_FOURS = tuple(
    re.compile(rf'\{a}\s*' + r',\s*'.join([_NUMBER] * 4) + rf'\s*\{b}') for a, b in ('[]', '()'))
_CORNERS = tuple(
    re.compile(rf'{corner}:?\s*{_NUMBER}')
    for corner in ('top-left x', 'top-left y', 'bottom-right x', 'bottom-right y'))
_LETTER_WITH_STOP = re.compile(r'^\s*([A-Z])\.')
_LETTER_BEHIND_THINK = re.compile(r'</think>\s*([A-Z])')
_FIRST_BEHIND_THINK = re.compile(r'</think>\s*(.*)', re.DOTALL)
# in the order in which CV-Bench's evaluation tries them; the second takes any letter
_CVBENCH_LETTERS = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (
    r'Answer:?\s*\(?([A-Z])\)?', r'\(?([A-Z])[).]?'))
_MME_PREFIXES = (
    'The best answer is', 'The correct answer is', 'The answer is', 'The answer',
    'The best option is', 'The correct option is', 'Best answer:', 'Best option:')
_MME_CHOICES = ('(A)', '(B)', '(C)', '(D)', '(E)')
_PUNCTUATION = str.maketrans('', '', string.punctuation)


def after_think(text: str, *, strict: bool = False) -> str:
    """Return what stands behind the last ``</think>``; without one all, or nothing if strict."""
    _, tag, answer = text.rpartition(END_THINK)
    return answer.strip() if tag else '' if strict else text


def after_first_think(text: str) -> str:
    """Return what stands behind the first ``</think>``, as EgoPlan2's evaluation does."""
    match = _FIRST_BEHIND_THINK.search(text)
    return (match.group(1) if match else text).strip()


def last_box(text: str) -> str:
    r"""Return the content of the last complete ``\boxed{}``, with one level of braces in it.

    Without one it is the whole text. A box in the reasoning counts, too.
    """
    boxes: list[str] = _BOX.findall(text)
    return boxes[-1] if boxes else text


def answer_in_box(text: str) -> str:
    """Return the last box of what follows the reasoning."""
    return last_box(after_think(text))


def box_then_answer(text: str) -> str:
    """Return what follows the reasoning, of the last box: the two steps in the other order."""
    return after_think(last_box(text))


def latex_text(text: str) -> str:
    r"""Return the content of the last ``\text{}``; without one the whole text."""
    texts: list[str] = _LATEX_TEXT.findall(text)
    return texts[-1] if texts else text


def points(text: str) -> list[tuple[int, int]]:
    """Return every ``[x, y]``, or where there is none every ``(x, y)``, cut to integers.

    Without any it is (0, 0), which is a point like others and mostly misses.
    """
    for pattern in _PAIRS:
        pairs = pattern.findall(text.lower())
        if pairs:
            return [(_integer(x), _integer(y)) for x, y in pairs]
    return [(0, 0)]


def box(text: str) -> tuple[float, float, float, float]:
    """Return the first ``[a, b, c, d]``, else ``(a, b, c, d)``, else labelled corners, else zeros.

    The vendor reads the reasoning, too, where an approximate box may stand.
    """
    text = text.lower()
    for pattern in _FOURS:
        if match := pattern.search(text):
            a, b, c, d = map(float, match.groups())
            return a, b, c, d
    corners = [float(match.group(1)) for pattern in _CORNERS if (match := pattern.search(text))]
    if len(corners) == 4:
        a, b, c, d = corners
        return a, b, c, d
    return 0.0, 0.0, 0.0, 0.0


def letter_with_stop(text: str) -> str:
    """Return the letter of a text such as ``B. the cup``; else the whole text."""
    match = _LETTER_WITH_STOP.match(text)
    return match.group(1) if match else text


def letter_behind_think(text: str) -> str:
    """Return a capital right behind a ``</think>``; else the whole text."""
    match = _LETTER_BEHIND_THINK.search(text)
    return match.group(1) if match else text


def bare(text: str) -> str:
    """Return a text in lower case without ASCII punctuation, as lmms_eval's exact_match."""
    return text.lower().translate(_PUNCTUATION)


def cvbench_letter(text: str) -> str:
    """Return the first letter of any word, or that behind "Answer"; '' without one."""
    for pattern in _CVBENCH_LETTERS:
        if match := pattern.search(text):
            return match.group(1).upper()
    return ''


def mme_letter(text: str) -> str:
    """Return the first capital from A to E, as MME-RealWorld does; '' without one.

    A text without these capitals that is a part of "(A)", even an empty one, is an A.
    """
    text = text.strip()
    for prefix in _MME_PREFIXES:
        text = text.replace(prefix, '')
    if match := re.search('[ABCDE]', text):
        return match.group()
    if len(text.split()) > 10:
        return ''
    return next((choice[1] for choice in _MME_CHOICES if text.lower() in choice.lower()), '')


def is_mmstar_choice(text: str, letter: str) -> bool:
    """Whether a text begins with a letter in one of the ways that DriveAction accepts."""
    text = text.lower().strip().replace('\n', ' ')
    letter = letter.lower().strip().replace('\n', ' ')
    if not text:
        return False
    if text[0] == letter:
        return True
    starts = ('(', 'option ', 'the answer is ')
    return any(text.startswith(s) and text[len(s) : len(s) + 1] == letter for s in starts)


def first_word(text: str) -> str:
    """Return what stands before the first space, without full stops at its end."""
    return text.partition(' ')[0].rstrip('.').strip()


def number(text: str) -> float | None:
    """Return the number that the first word is; None if it is none."""
    try:
        return float(first_word(text))
    except ValueError:
        return None


def robovqa_words(text: str, target: str) -> str:
    """Return an answer of RoboVQA in lower case, without tags and line breaks.

    Where yes or no is right, each word with one of them in it becomes it: "know" is a "no".
    """
    text = re.sub(r'(?s)<think>.*?</think>', '', after_think(text).strip())
    text = re.sub(r'\n+', ' ', re.sub(r'<[^>]+>', '', text)).strip().lower()
    if target.lower() in {'yes', 'no'}:
        text = re.sub(r'\b\w*yes\w*\b', 'yes', text)
        text = re.sub(r'\b\w*no\w*\b', 'no', text)
    return text


def _integer(digits: str) -> int:
    # more digits than a float can hold are outside of every image
    return int(float(digits)) if len(digits) < 300 else 10**9
