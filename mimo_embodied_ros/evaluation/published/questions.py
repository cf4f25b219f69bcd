"""Parts of published questions that more than one benchmark has."""

from __future__ import annotations

import re
from typing import Any

from mimo_embodied_ros.core.tasks import TASKS

# This asks for another format than the model's; the vendor removes it, too.
_FORMAT = ' Your answer should be formatted as a list of tuples'


def description(question: str) -> str:
    """Return what is to be located, without the format that the question asks for."""
    return question.partition(_FORMAT)[0].strip()


def split_options(text: str, task: str, mark: str) -> tuple[str, list[str]] | None:
    """Split a question into its words and its options, where a task puts them together again.

    Args:
        text: question and options.
        task: whose form of options the text has.
        mark: expression for what stands before each option.

    Returns:
        None where the text has no options, or the task would ask with other words.

    """
    question, *options = re.split(mark, text)
    form = TASKS[task].options
    written = ''.join(
        form.replace('{letter}', chr(65 + i)).replace('{option}', option)
        for i, option in enumerate(options))
    if not options or len(options) > 26 or question + written != text:
        return None
    if any(option != ' '.join(option.split()) or not option for option in options):
        return None
    return question, options


def letters(options: list[str], mark: str) -> list[str]:
    """Return options without the letters before them.

    Raises:
        ValueError: an option has not its letter.

    """
    plain = []
    for i, option in enumerate(options):
        found = re.fullmatch(mark.replace('X', chr(65 + i)) + r'\s*(.+)', option.strip(), re.DOTALL)
        if not found:
            msg = f'the option {option!r:.40} does not begin with its letter {chr(65 + i)}'
            raise ValueError(msg)
        plain.append(found[1])
    return plain


def choice_or_text(answer: str) -> dict[str, Any]:
    """Return the truth of an answer that is a letter in most questions, and else words."""
    if re.fullmatch(r'[A-Za-z]', answer.strip()):
        return {'choice': answer.strip().upper()}
    return {'text': answer}
