"""Ask again for an answer that is cut off because its server was lost.

Answers are greedy, so that another server, or the same one when it is back, writes the same words.
What was passed on of them is not passed on twice. Where the words differ, as rounding in bfloat16
may have it, no answer can be made of the two, and the first error stands.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError

from .early_end import EndedEarlyError, wait_for
from .openai_stream import OtherWordsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .early_end import EarlyEnd
    from .openai_stream import StreamedReply

_PAUSES_S = (0.1, 0.5, 1.5)  # the last one until the deadline; without one, each is made once
_MOST_CUT_OFFS = 3  # by then it may be the request itself at which servers die


async def ask_until_answered(
    ask: Callable[[], Awaitable[str]], reply: StreamedReply, end: EarlyEnd
) -> str:
    """Ask for an answer, and again while it is cut off and the deadline allows.

    Args:
        ask: asks the servers once, and streams the answer into ``reply``; returns its finish
            reason.
        reply: gets the text, and counts how often it is cut off.
        end: ends the wait early.

    Returns:
        The finish reason.

    Raises:
        MimoError: no server could be asked; after an answer was cut off, that first error, or one
            that refuses the request.
        EndedEarlyError: the request was cancelled, or its deadline passed while it was answered.

    """
    first: MimoError | None = None
    asked, pause = 0, 0.0
    while True:
        try:
            if first is not None:
                await wait_for(asyncio.sleep(pause), lambda: math.inf, end)
            reason = await ask()
            reply.complete()
        except OtherWordsError as error:
            assert first is not None
            raise first from error
        except EndedEarlyError as error:
            if first is None or end.reason != 'deadline' or reply.text:
                raise
            raise first from error  # nobody has begun to write it anew
        except InvalidRequestError:
            raise
        except MimoError as error:
            first = first or error
        else:
            return reason
        pause = _PAUSES_S[min(asked, len(_PAUSES_S) - 1)]
        asked += 1
        left = end.seconds_left()
        is_late = left <= pause or (left == math.inf and asked > len(_PAUSES_S))
        if is_late or not 0 < reply.cut_offs < _MOST_CUT_OFFS:
            raise first
        reply.begin_again()
