"""How servers take the form that an answer is held to: a grammar, or a JSON schema."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import parse_json
from mimo_embodied_ros.core.grammar import without_reasoning

HOLD_GRAMMARS = ('vllm', 'guided', 'llama')
HOLD_SCHEMAS = (*HOLD_GRAMMARS, 'openai')
# What servers say when they refuse a form.
REFUSAL = re.compile(r'(?i)structured|guided|guidance|grammar|\blark\b|response_format|schema')

# The styles of the servers that call themselves so, as the owner of their model.
_OF_OWNER = {'vllm': ('vllm', 'guided'), 'llamacpp': ('llama',), 'mimo_embodied_ros': ('vllm',)}


@dataclass(frozen=True)
class AnswerForm:
    """What an answer is held to.

    Attributes:
        grammar: in llguidance's Lark; empty: the answer is not held.
        schema: JSON schema of the answer; None where it has none.

    """

    grammar: str = ''
    schema: dict[str, Any] | None = None

    def after_reasoning(self) -> AnswerForm:
        """Return the form of the answer behind a reasoning that is written already."""
        return replace(self, grammar=without_reasoning(self.grammar))

    def fields(self, style: str) -> dict[str, Any]:
        """Return the fields of a request that hold its answer.

        Args:
            style: one of ``HOLD_SCHEMAS``.

        Raises:
            InvalidRequestError: the style takes schemas only, and the answer has none.

        """
        if style == 'vllm':
            return {'structured_outputs': {'grammar': self.grammar}}
        if style == 'guided':
            return {'guided_grammar': self.grammar}
        if style == 'llama':
            return {'grammar': f'%llguidance {{}}\n{self.grammar}'}
        if self.schema is None:
            raise InvalidRequestError(
                'holds answers to JSON schemas only, and this answer has none, since it is a plan '
                'or comes after reasoning; ask without thinking, or set structured to false')
        return {'response_format': {'type': 'json_schema', 'json_schema': {
            'name': 'answer', 'strict': True, 'schema': self.schema}}}


# Allows one answer only, and has what the forms of answers have (core/grammar.py, core/schemas.py).
TRIAL = AnswerForm(
    'start: "held"\nreasoning[lazy]: /(?s:<think>.*<\\/think>)/\n',
    {'type': 'object', 'properties': {'answer': {'type': 'string', 'enum': ['held']}},
     'required': ['answer'], 'additionalProperties': False})


def is_held(style: str, text: str) -> bool:
    """Whether a text is the one that ``TRIAL`` allows."""
    if style in HOLD_GRAMMARS:
        return text.strip() == 'held'
    try:
        return bool(parse_json(text) == {'answer': 'held'})
    except ValueError:
        return False


def candidates(models: Any) -> tuple[str, ...]:
    """Return the styles to try with a server, by its list of models.

    Args:
        models: what ``/v1/models`` answers; None where it answers nothing that can be read.

    """
    try:
        owners = [model['owned_by'] for model in models['data']]
    except (KeyError, TypeError):
        owners = []
    known = next((_OF_OWNER[o] for o in owners if isinstance(o, str) and o in _OF_OWNER), ())
    return (*known, 'openai')
