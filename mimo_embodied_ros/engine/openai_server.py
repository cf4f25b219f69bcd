"""One server with OpenAI's interface, and what was found out about it.

Servers differ in how they hold answers to a form, take videos and continue turns, and do not tell:
each is tried.
"""

from __future__ import annotations

import contextlib
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import (
    BackendUnreachableError,
    InvalidRequestError,
    MimoError,
    ModelNotReadyError,
)
from mimo_embodied_ros.core.prompts import text_prompt

from .early_end import wait_for
from .openai_connection import Connection, ServerError
from .openai_grounding import GroundingGate
from .openai_models import context_length
from .openai_reader import excerpt
from .openai_request import chat_request
from .openai_stream import StreamedReply
from .openai_styles import HOLD_SCHEMAS, REFUSAL, TRIAL, AnswerForm, candidates, is_held
from .openai_thinking import TRIAL_PROMPT, answer_within, continues_turns
from .openai_video import VideoSupport, with_videos

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Sequence

    from mimo_embodied_ros.core.profiles import Profile
    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.core.resize import PixelLimits
    from mimo_embodied_ros.core.video import Video

    from .config import EngineConfig
    from .early_end import EarlyEnd
    from .interface import Grounding, ServerHealth

_TRIAL_TOKENS = 16
_OTHER_STYLE = 'structured_style to the way in which this server takes the form of an answer'
_RECOVERY_S = 10.0  # for so long after a failure the other servers are tried first


class Server:
    """One server.

    Attributes:
        style: how it takes the form of an answer, as in ``EngineConfig.structured_style``; empty
            as long as that has not been tried. It is tried again after the server was lost, since
            another one may answer then.
        context_length: most tokens of prompt and answer together, as it last said; 0: not known.
        video: how it takes videos.
        gate: knows whether its points are right; it is tested again after it was lost, too.

    """

    def __init__(
        self, url: str, config: EngineConfig, limits: PixelLimits, profile: Profile, key: str,
        tls: ssl.SSLContext, test: Callable[[Server], Grounding],
    ) -> None:
        """Take the settings; nothing is sent yet.

        Args:
            url: base URL.
            config: has the name of the model, the time limits, and how grammars and videos are
                sent.
            limits: image areas of the prompts.
            profile: of the model.
            key: API key; empty is none.
            tls: has the authorities that certificates are checked against.
            test: the grounding test; it raises where its result refuses the server.

        Raises:
            InvalidRequestError: an environment variable asks for a proxy that cannot be used.

        """
        self._url, self._config, self._profile = url, config, profile
        self._connection = Connection(url, config, key, tls, self._lose)
        self.style = ''
        self._is_style_known = False
        self.context_length = 0
        self._models: Any = None  # what it says about them
        self._is_listed = False
        self.video = VideoSupport(url, config.video_style, limits, profile)
        self._continues_turns: bool | None = None  # not known
        self.gate = GroundingGate(config.grounding_test, lambda: test(self))

    @property
    def health(self) -> ServerHealth:
        """As it is known from its latest requests."""
        return self._connection.health

    def is_resting(self) -> bool:
        """Whether it failed so recently that the other servers are tried first."""
        health = self.health
        return health.healthy is False and time.monotonic() < health.checked + _RECOVERY_S

    async def refusal(self, end: EarlyEnd) -> MimoError | None:
        """Wait until it may be asked; return why it may not, None where it may.

        Raises:
            EndedEarlyError: the request was cancelled, or its deadline passed.

        """
        task = await wait_for(
            self.gate.refusal(again=not self.is_resting()), lambda: math.inf, end)
        return task.result() if task else None

    def refuse(self, error: MimoError) -> None:
        """Let the other servers be asked first for some time, though it answers."""
        self._connection.note(healthy=False, last_error=str(error))

    async def ask(
        self, request: dict[str, Any], videos: Sequence[Video], form: AnswerForm, budget: int,
        reply: StreamedReply, end: EarlyEnd,
    ) -> str | MimoError:
        """Stream an answer into ``reply``.

        Args:
            request: the fields of the request, without videos and those that hold its answer.
            videos: of the prompt.
            form: that the answer is held to.
            budget: most tokens of the reasoning, fewer than the request's limit; 0: none.
            reply: gets the text.
            end: ends the answer early.

        Returns:
            The finish reason of the answer, or the error because of which the next server is to
            be tried.

        Raises:
            MimoError: the request is wrong, or the server failed in the middle of its answer.
            EndedEarlyError: the request was cancelled, or its deadline passed.

        """
        forms: tuple[dict[str, Any], dict[str, Any]] = {}, {}
        try:
            request, budget = await self._fit(request, budget, end)
            if videos:
                await self.video.find(partial(self._count_tokens, end))
                try:
                    request = self.video.add(request, videos)
                except InvalidRequestError as refusal:
                    return refusal  # another server may take it
            if form.grammar:
                await self._find_style(end)
                try:
                    forms = self._fields(form), self._fields(form.after_reasoning())
                except InvalidRequestError as refusal:
                    return refusal  # another server may hold it
            if not budget:
                return await self._connection.ask({**request, **forms[0]}, reply, end)
            if not await self._find_continuation(end):
                return InvalidRequestError(
                    f'{self._url} does not continue a turn that the model has begun, which a limit '
                    'of its reasoning needs; set thinking_tokens to 0, or ask without thinking')
            return await answer_within(self._connector(end), request, forms, budget, reply)
        except ServerError as failure:
            error = failure.error
            if form.grammar and failure.is_answer and not reply.text and REFUSAL.search(str(error)):
                return InvalidRequestError(
                    f'{self._url} refuses the form of the answer ({excerpt(error)}); set '
                    f'structured to false, or {_OTHER_STYLE}')
            error.raw_text = reply.text
            reply.cut_offs += failure.is_cut_off or bool(reply.text)
            if isinstance(error, InvalidRequestError):
                raise error from failure.__cause__
            self._connection.note(healthy=False, last_error=str(error))
            if isinstance(error, BackendUnreachableError):
                self._lose()
            if reply.text:
                raise error from failure.__cause__
            return error

    async def _fit(
        self, request: dict[str, Any], budget: int, end: EarlyEnd
    ) -> tuple[dict[str, Any], int]:
        """Return a request and its budget whose limits of tokens the context allows.

        vLLM refuses a request whose limit alone is above its context, and shortens one whose limit
        and prompt are above it together.
        """
        try:
            await self._list_models(end)
        except ServerError as failure:
            if isinstance(failure.error, BackendUnreachableError):
                raise
            # it may still answer: some gateways tell no models
        limit = min(request['max_tokens'], self.context_length or request['max_tokens'])
        return {**request, 'max_tokens': limit}, budget * (budget < limit)

    async def _list_models(self, end: EarlyEnd) -> Any:
        """What it says about its models; it is asked again after it was lost."""
        if not self._is_listed:
            self._models = await self._connection.models(end)
            self.context_length = context_length(self._models, self._config.model)
            self._is_listed = True
        return self._models

    def _fields(self, form: AnswerForm) -> dict[str, Any]:
        """Return the fields that hold an answer; raises InvalidRequestError if it cannot be."""
        if self.style == 'none':
            raise InvalidRequestError(
                f'{self._url} holds no answer to a form; set structured to false, or '
                f'{_OTHER_STYLE}')
        try:
            return form.fields(self.style)
        except InvalidRequestError as error:
            raise InvalidRequestError(f'{self._url} {error}') from error

    async def find_style(self, end: EarlyEnd) -> None:
        """Find out how it holds answers to a form, and whether it continues turns.

        Raises:
            ModelNotReadyError: it does not in the way that the settings name.
            EndedEarlyError: the request was cancelled, or its deadline passed.

        """
        with contextlib.suppress(ServerError):  # it is tried again with the first form
            await self._find_style(end)
            await self._find_continuation(end)
        if self.style == 'none' and self._config.structured_style in HOLD_SCHEMAS:
            raise ModelNotReadyError(
                f'{self._url} does not hold its answer to a form that is sent in the way of '
                f'{self._config.structured_style}; set structured_style to auto or none')

    async def _find_style(self, end: EarlyEnd) -> None:
        """Send a form with one answer: some servers ignore fields that they do not know."""
        if self._is_style_known:
            return
        styles: tuple[str, ...] = (self._config.structured_style,)
        if styles == ('auto',):
            styles = candidates(await self._list_models(end))
        found = 'none'
        for style in styles:
            if style != 'none' and await self._holds(style, end):
                found = style
                break
        self.style, self._is_style_known = found, True

    async def _find_continuation(self, end: EarlyEnd) -> bool:
        """Whether it continues a turn that the model has begun; it is tried if not known yet."""
        if self._continues_turns is None:
            request = chat_request(self._config.model, TRIAL_PROMPT, TRIAL_PROMPT.max_new_tokens)
            try:
                self._continues_turns = await continues_turns(self._connector(end), request)
            except ServerError as failure:
                if not failure.is_answer:
                    raise
                self._continues_turns = False
        return self._continues_turns

    def _connector(
        self, end: EarlyEnd
    ) -> Callable[[dict[str, Any], StreamedReply], Coroutine[Any, Any, str]]:
        """Return a function that sends requests of one caller."""
        return lambda request, reply: self._connection.ask(request, reply, end)

    async def _holds(self, style: str, end: EarlyEnd) -> bool:
        """Whether it gives the only answer that a form allows."""
        prompt = text_prompt('Is it held?', _TRIAL_TOKENS, self._profile)
        reply = StreamedReply(prompt, None)
        request = chat_request(self._config.model, prompt, prompt.max_new_tokens)
        try:
            await self._connection.ask(request | TRIAL.fields(style), reply, end)
        except ServerError as failure:
            if not failure.is_answer:
                raise
        return is_held(style, reply.text)

    async def find_video_style(self, end: EarlyEnd) -> None:
        """Find out how it takes videos, if that is not known yet.

        Raises:
            EndedEarlyError: the request was cancelled, or its deadline passed.

        """
        with contextlib.suppress(ServerError):  # it is tried again with the first video
            await self.video.find(partial(self._count_tokens, end))

    async def _count_tokens(self, end: EarlyEnd, prompt: Prompt, style: str) -> int | MimoError:
        """How many tokens it counts in a prompt with a video; or why it refuses it."""
        reply = StreamedReply(prompt, None)
        request = chat_request(self._config.model, prompt, prompt.max_new_tokens)
        try:
            await self._connection.ask(with_videos(request, prompt.videos, style), reply, end)
        except ServerError as failure:
            if not failure.is_answer:
                raise
            return failure.error
        return reply.reply('').stats.prompt_tokens

    def _lose(self) -> None:
        """Know no more what was found out about it: another server may answer now."""
        self._is_style_known, self._continues_turns, self._is_listed = False, None, False
        self.video.forget()
        self.gate.forget()
