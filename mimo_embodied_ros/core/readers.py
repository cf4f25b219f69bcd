r"""The parts of what MiMo-Embodied writes: its reasoning, its answer, and the boxes of an answer.

They follow the vendor's own rules (``lmms_eval/tasks/_task_utils/eval_utils.py``, "vendor" below)
where these lead to one answer. All take time linear in the text's length.
"""

from __future__ import annotations

import re
from typing import NamedTuple

THINK, END_THINK = '<think>', '</think>'
_TAG = re.compile(f'{THINK}|{END_THINK}')
_BLOCK = re.compile(rf'\s*{THINK}(?s:.*?){END_THINK}')
_END_TOKENS = ('<|im_end|>', '<|endoftext|>')

BOX = '\\boxed{'
_BRACE = re.compile(r'[{}]')
_TEXT_COMMAND = re.compile(r'\\(?:text|textbf|mathrm|mathbf)\{([^{}]*)\}')


def split_reasoning(text: str) -> tuple[str, str]:
    """Split (reasoning, answer): the blocks of reasoning at the start of a text, and the rest.

    A first ``</think>`` without ``<think>`` closes a block that the prompt has opened. Where one is
    not closed, the answer is empty: the model has not decided yet. The answer of a model that
    goes on to reason behind its answer holds the tags. The vendor takes what stands behind the last
    ``</think>``, also behind one that is quoted in a label.
    """
    if is_thinking(text):
        reasoning, answer = text, ''
    else:
        end = reasoning_end(text)
        reasoning, answer = text[:end], text[end:].strip()
        while answer.endswith(_END_TOKENS):
            answer = answer[: answer.rindex('<|')].rstrip()
    return _TAG.sub('', reasoning).strip(), answer


def is_thinking(text: str) -> bool:
    """Tell whether a text ends inside of its reasoning."""
    return THINK in text.rpartition(END_THINK)[2]


def end_reasoning(text: str) -> str:
    """Return what closes the reasoning in which a text ends, in the form that the model gives it.

    It is the closing tag on a line of its own, or the rest of one that has begun.
    """
    begun = next((n for n in range(len(END_THINK) - 1, 0, -1) if text.endswith(END_THINK[:n])), 0)
    line_end = '' if begun or text.endswith('\n') else '\n'
    return f'{line_end}{END_THINK[begun:]}\n\n'


def holds_reasoning(answer: str) -> bool:
    """Tell whether an answer of `split_reasoning` holds tags of reasoning."""
    return _TAG.search(answer) is not None


def reasoning_end(text: str) -> int:
    """Return where the blocks of reasoning at the start of a text end; 0 where it has none."""
    first = _TAG.search(text)
    if first is None or (first.group() == THINK and text[: first.start()].strip()):
        return 0
    end = text.index(END_THINK) + len(END_THINK)
    while block := _BLOCK.match(text, end):
        end = block.end()
    return end


class Boxed(NamedTuple):
    r"""A ``\boxed{}``: its content and its span; the end of one that is not closed is -1."""

    content: str
    start: int
    end: int


def read_boxes(text: str) -> list[Boxed]:
    r"""Read every ``\boxed{}``, with braces nested to any depth.

    The last one may be not closed: the paper's Fig. 35 ends inside of a box.
    """
    boxes = []
    position = 0
    while (start := text.find(BOX, position)) >= 0:
        depth, end = 1, -1
        for brace in _BRACE.finditer(text, start + len(BOX)):
            depth += 1 if brace.group() == '{' else -1
            if depth == 0:
                end = brace.end()
                break
        content = text[start + len(BOX) : end - 1 if end > 0 else len(text)]
        boxes.append(Boxed(strip_latex(content), start, end))
        if end < 0:
            break
        position = end
    return boxes


def strip_latex(text: str) -> str:
    r"""Strip LaTeX's ``\text{}`` and dollar signs, and a closing quotation mark without opening."""
    text = _TEXT_COMMAND.sub(r' \1', text).strip().strip('$').strip()  # 3\text{4} is no 34
    # Fig. 46: {stop, justification: ... red."}; behind a digit it may be inches
    if text.endswith('"') and text.count('"') == 1 and not text[-2:-1].isdigit():
        text = text[:-1].rstrip()
    return text
