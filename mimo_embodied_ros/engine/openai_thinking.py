"""Bound the reasoning of a model on a server, by a second request that continues its turn.

The first request ends when the budget is spent. A reasoning that is open then is closed here, as
the model would, and the second request has it as the beginning of the model's turn. vLLM and SGLang
continue such a turn with ``continue_final_message``, and llama-server without being told. Others
refuse the field or silently begin a new turn, so that each server is tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.prompts import Prompt
from mimo_embodied_ros.core.readers import is_thinking

from .openai_stream import StreamedReply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Request = dict[str, Any]
    Connect = Callable[[Request, StreamedReply], Awaitable[str]]

TRIAL_PROMPT = Prompt('Is it continued?', (), (), 1)
_TURN = '<think>\nyes\n</think>\n\n'  # has what the turns of real requests have


async def answer_within(
    connect: Connect, request: Request, forms: tuple[Request, Request], budget: int,
    reply: StreamedReply,
) -> str:
    """Ask with at most ``budget`` tokens of reasoning; return the finish reason.

    Args:
        connect: sends a request and streams its answer into a reply; returns the finish reason.
        request: the fields of the request; its limit of tokens is above the budget.
        forms: the fields that hold an answer with its reasoning, and without.
        budget: tokens; the opening tag of the reasoning counts.
        reply: gets the text of both requests.

    """
    whole, answer = forms
    reply.holds_answer = bool(whole)
    reason = await connect({**request, **whole, 'max_tokens': budget}, reply)
    circles = reason == 'repetition' and is_thinking(reply.text)
    if reason != 'length' and not circles:
        return reason
    written = min(budget, reply.tokens) if circles else budget
    reply.begin_second()
    return await connect(
        {**_continued(request, reply.text, request['max_tokens'] - written), **answer}, reply)


async def continues_turns(connect: Connect, request: Request) -> bool:
    """Whether a server continues a turn that the model has begun.

    It shows in the counts of prompt tokens, whatever the model writes: the beginning adds its own
    tokens to a prompt, as often as it is there. Where a new turn begins behind it, there are the
    tokens between two turns, too.

    Args:
        connect: as in `answer_within`.
        request: of `TRIAL_PROMPT`.

    """
    counts = []
    for turn in ('', _TURN, _TURN + _TURN):
        reply = StreamedReply(TRIAL_PROMPT, None)
        await connect(_continued(request, turn, 1) if turn else request, reply)
        counts.append(reply.reply('').stats.prompt_tokens)
        if not counts[0] or _TURN.strip() in reply.text:
            return False  # it counts nothing, or repeats the beginning in its answer
    alone, once, twice = counts
    return 0 < once - alone <= twice - once


def _continued(request: Request, turn: str, max_tokens: int) -> Request:
    """Return a request that continues a turn of the model."""
    return {
        **request, 'max_tokens': max_tokens,
        'messages': [*request['messages'], {'role': 'assistant', 'content': turn}],
        'continue_final_message': True, 'add_generation_prompt': False,
    }
