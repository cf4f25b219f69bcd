"""The words of a step, for facts and for questions to the model."""

from __future__ import annotations

from typing import Any

from mimo_embodied_ros.core.skills import GROUNDED


def argument_words(step: Any) -> dict[str, str]:
    """The words of a step's arguments by their names."""
    return {argument.name: argument.value for argument in step.arguments}


def reworded(text: str, step: Any) -> str:
    """The text with articles before a step's objects, or without them where it has some."""
    for name in (a.value for a in step.arguments if a.type in GROUNDED):
        with_article = f'the {name}'
        text = (text.replace(with_article, name) if with_article in text
                else text.replace(name, with_article))
    return text
