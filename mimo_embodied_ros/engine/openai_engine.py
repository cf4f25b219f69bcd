"""The model on one or several servers with OpenAI's interface: vLLM, SGLang, transformers serve."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import math
import os
import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mimo_embodied_ros.core.errors import (
    InvalidRequestError,
    MimoError,
    ModelNotReadyError,
    QueueFullError,
)
from mimo_embodied_ros.core.masking import hide
from mimo_embodied_ros.core.prompts import CONTROL_TOKEN, warm_up_prompt
from mimo_embodied_ros.core.resize import FACTOR, PixelLimits

from .config import EngineConfig
from .early_end import EarlyEnd, EndedEarlyError, wait_for
from .grounding_pictures import VIDEO
from .grounding_test import grounding_of
from .interface import (
    GenerationStats,
    Grounding,
    GroundingError,
    GroundingState,
    MemoryUse,
    ModelInfo,
    OnText,
    Reply,
    ServerHealth,
)
from .openai_again import ask_until_answered
from .openai_connection import Connection, ServerError
from .openai_models import model_names
from .openai_request import chat_request
from .openai_server import Server
from .openai_stream import StreamedReply
from .openai_styles import HOLD_GRAMMARS, HOLD_SCHEMAS, AnswerForm

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Sequence
    from contextlib import AbstractContextManager

    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.core.video import Video

    from .early_end import Cancelled, Deadline

# MiMo-Embodied was evaluated with 4 to 4096 image tokens (XiaomiMiMo/MiMo-Embodied, README).
DEFAULT_LIMITS = PixelLimits(4 * FACTOR**2, 4096 * FACTOR**2)

_BUSY_PAUSES_S = (0.5, 1.5)  # before the servers are tried again if one was busy


class OpenAIEngine:
    """A model on servers; ``Engine`` documents the methods.

    A request goes to the first server. If that fails before it has sent any text, the request goes
    on to the next server, unless it was refused itself. If it fails later, the answer is asked for
    again, see `openai_again`. A server that failed is tried last for
    10 s, and after that in its own place again. If all fail, the error is the one with the lowest
    code, so that a busy server counts more than one that is gone.

    =====================================================  =======================
    no connection, connection lost, silent for too long    BackendUnreachableError
    status 5xx, no or a broken stream of chat chunks       BackendError
    status 401 or 403 (key), 404 (model), a redirect       ModelNotReadyError
    status 429, also after two pauses                      QueueFullError
    any other status 4xx, no way to hold an answer or      InvalidRequestError
    to bound its reasoning
    =====================================================  =======================

    Attributes:
        limits: the image areas to build prompts with.
        profile: of the model, found by the servers' name for it where the settings name none.
        lost: False, since servers may be well again at the next request.

    Raises:
        InvalidRequestError: the smallest image area is above the largest, or an environment
            variable asks for a proxy that cannot be used.
        ModelNotReadyError: the environment variable for the key holds none.

    """

    lost = False

    def __init__(self, config: EngineConfig) -> None:
        """Read the settings; ``warm_up`` sends the first requests."""
        self._config = config
        key = _read_key(config.api_key_env)
        self.profile = config.profile_of(config.model)
        self.limits = PixelLimits(
            config.min_pixels or DEFAULT_LIMITS.min_pixels,
            config.max_pixels or DEFAULT_LIMITS.max_pixels,
            self.profile.factor,
        )
        urls = dict.fromkeys(base_url(url) for url in config.servers)
        tls = ssl.create_default_context()  # reads the system's authorities only once
        self._servers = [
            Server(url, config, self.limits, self.profile, key, tls, self._test) for url in urls]
        self._closed = False
        self._is_test = False
        self._info = ModelInfo(
            name=config.model,
            architecture='',
            backend=config.backend,
            device=', '.join(urls),
            dtype='',
            parameters=0,
            min_pixels=self.limits.min_pixels,
            max_pixels=self.limits.max_pixels,
            context_length=0,
            profile=self.profile.name,
        )

    @property
    def info(self) -> ModelInfo:
        """The model as the servers name it; ``warm_up`` finds out what they take.

        The context is the shortest of those that servers tell; 0 if none does. A server that has
        not answered yet counts as one that takes videos, since it is tried with the first one.
        """
        takes_video = any(server.video.style != 'none' for server in self._servers)
        problems = '; '.join(f'{server.health.url}: {server.video.problem}'
                             for server in self._servers if server.video.problem)
        contexts = [server.context_length for server in self._servers if server.context_length]
        return replace(
            self._info, context_length=min(contexts, default=0), takes_video=takes_video,
            video_problem='' if takes_video else problems)

    @property
    def holds_grammars(self) -> bool:
        """Whether all servers that were tried do; ``warm_up`` tries them."""
        return self._all_hold(HOLD_GRAMMARS)

    @property
    def holds_schemas(self) -> bool:
        """Whether all servers that were tried do, some of them perhaps by grammars."""
        return self._all_hold(HOLD_SCHEMAS)

    def _all_hold(self, styles: Collection[str]) -> bool:
        known = [server.style for server in self._servers if server.style]
        return bool(known) and all(style in styles for style in known)

    def health(self) -> tuple[ServerHealth, ...]:
        """Return the health of each server, known from its latest requests."""
        return tuple(server.health for server in self._servers)

    def keep_images(self) -> AbstractContextManager[None]:
        """Keep nothing: servers have caches of their own."""
        return contextlib.nullcontext()

    def memory(self) -> MemoryUse:
        """Return zeros, because the model is in other processes."""
        return MemoryUse()

    def generate(
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int,
        on_text: OnText | None = None,
        cancelled: Cancelled | None = None,
        deadline: Deadline = None,
    ) -> Reply:
        """Answer a prompt; see ``Engine.generate``.

        Cancel and deadline are checked every 20 ms, and close the connection. The number of tokens
        given to ``on_text`` is the server's count if it sends one, else the number of chunks so
        far. It must not be called from a coroutine. With ``thinking_tokens`` a server may be asked
        twice, see `openai_thinking`.
        """
        return self._generate(
            prompt, max_new_tokens, on_text, EarlyEnd(cancelled, deadline), self._servers,
            tested=not self._is_test)

    @property
    def grounding(self) -> Grounding:
        """The results of the servers that were tested; one that is wrong makes it wrong."""
        results = [(s.health.url, s.gate.result) for s in self._servers if s.gate.result.state]
        if len(self._servers) == 1 and results:
            return results[0][1]
        return Grounding(
            max((result.state for _, result in results), default=GroundingState.NOT_TESTED),
            '; '.join(f'{url}: {result.report}' for url, result in results))

    def _test(self, server: Server) -> Grounding:
        """Do the grounding test with one server, which no request may be sent to meanwhile."""
        alone = copy.copy(self)
        alone._servers, alone._is_test = [server], True
        try:
            if VIDEO in self._config.grounding_pictures:
                with contextlib.suppress(EndedEarlyError):  # the test then ends at once, too
                    asyncio.run(server.find_video_style(EarlyEnd(lambda: self._closed, None)))
            return grounding_of(alone, self._config, lambda: self._closed, server.health.url)
        except GroundingError as error:
            server.refuse(error)
            raise

    def warm_up(self) -> Reply:
        """Ask every server about the smallest and the largest image; at least one must answer.

        Those that answer are also tried with the form of an answer, with videos, and with the
        grounding test.

        The larger image must add as many prompt tokens as it has more image tokens. Otherwise the
        server resizes images once more, and all coordinates would be wrong without an error. That
        does not matter to a model whose coordinates are relative.
        """
        areas = self.limits.min_pixels, self.limits.max_pixels
        prompts = [warm_up_prompt(area, self.limits, profile=self.profile) for area in areas]
        last, errors = None, []
        for server in self._servers:
            try:
                small, large = (
                    self._generate(prompt, prompt.max_new_tokens, None, EarlyEnd(None, None),
                                   [server], tested=False)
                    for prompt in prompts
                )
                asyncio.run(server.find_style(EarlyEnd(None, None)))
                if not small.stats.prompt_tokens:
                    server.video.find_without_counts()
                asyncio.run(server.find_video_style(EarlyEnd(None, None)))
                server.video.check()
            except MimoError as error:
                errors.append(error)
                continue
            if not self.profile.range:
                self._compare(server.health.url, small.stats, large.stats)
            try:
                server.gate.check()
            except GroundingError:
                raise
            except MimoError as error:
                errors.append(error)
                continue
            last = large
        if last is None:
            raise _first(errors)
        return last

    def _compare(self, url: str, small: GenerationStats, large: GenerationStats) -> None:
        expected = large.image_tokens - small.image_tokens
        counted = large.prompt_tokens - small.prompt_tokens
        if small.prompt_tokens and counted != expected:
            raise ModelNotReadyError(
                f'{url} changes the size of images: between {self.limits.min_pixels} and '
                f'{self.limits.max_pixels} pixels it counts {counted} tokens instead of '
                f'{expected}, so that all coordinates would be wrong; set min_pixels and '
                "max_pixels to the server's values, or start the server with these"
            )

    def close(self) -> None:
        """Refuse later requests; the servers keep their weights."""
        self._closed = True

    def _generate(
        self,
        prompt: Prompt,
        max_new_tokens: int,
        on_text: OnText | None,
        end: EarlyEnd,
        servers: Sequence[Server],
        *,
        tested: bool,
    ) -> Reply:
        """Answer a prompt.

        Where ``tested``, by servers only that pass the grounding test, and again if it is cut off.
        """
        if max_new_tokens < 1:
            raise InvalidRequestError(f'max_new_tokens is {max_new_tokens}; it is 1 or more')
        for name, text in (('text', prompt.text), ('system prompt', prompt.system)):
            if control := CONTROL_TOKEN.search(text):
                raise InvalidRequestError(
                    f"the {name} holds the model's control token {control.group()}, which would "
                    'end or change the turn; remove it'
                )
        if self._closed:
            raise ModelNotReadyError(f'{self._info.name} has been closed; configure it again')
        if end.reached():
            return Reply('', end.reason, GenerationStats())
        reply = StreamedReply(prompt, on_text)
        request = chat_request(self._config.model, prompt, max_new_tokens)
        form = AnswerForm(prompt.grammar, prompt.schema)
        # a limit that all tokens together keep needs no second request
        budget = prompt.thinking_tokens * (prompt.thinking_tokens < max_new_tokens)
        reply.preprocessed = time.monotonic()

        def ask() -> Coroutine[Any, Any, str]:
            return _ask_in_turn(
                servers, request, prompt.videos, form, budget, reply, end, tested=tested)

        again = tested and self._config.ask_again
        try:
            reason = asyncio.run(ask_until_answered(ask, reply, end) if again else ask())
        except EndedEarlyError:
            reason = end.reason
        return reply.reply(reason)


async def _ask_in_turn(
    servers: Sequence[Server],
    request: dict[str, Any],
    videos: Sequence[Video],
    form: AnswerForm,
    budget: int,
    reply: StreamedReply,
    end: EarlyEnd,
    *,
    tested: bool,
) -> str:
    """Ask one server after the other until one answers; return its finish reason.

    Servers that are due to a test are tested meanwhile, and asked after those that are not.
    """
    for pause in (*_BUSY_PAUSES_S, None):
        errors: list[MimoError] = []
        if tested:
            for server in servers:
                if server.gate.is_due and not server.is_resting():
                    server.gate.start()
        # sorted() is stable: servers keep their order otherwise
        for server in sorted(servers, key=lambda s: (
                s.is_resting(), tested and not s.gate.is_open)):
            outcome: str | MimoError | None = await server.refusal(end) if tested else None
            outcome = outcome or await server.ask(request, videos, form, budget, reply, end)
            if isinstance(outcome, str):
                return outcome
            errors.append(outcome)
        if pause is None or not any(isinstance(error, QueueFullError) for error in errors):
            break
        await wait_for(asyncio.sleep(pause), lambda: math.inf, end)
    raise _first(errors)


def base_url(url: str) -> str:
    """Return the URL of a server's interface: ``/v1`` is added where there is no path."""
    base = url.rstrip('/').removesuffix('/chat/completions')
    return base + '/v1' * (urlsplit(base).path == '')


def served_models(url: str, api_key_env: str = '') -> tuple[str, ...]:
    """Return the names of the models that a server lists; none where it has no such list.

    Args:
        url: of the server.
        api_key_env: name of the environment variable with its key.

    Raises:
        InvalidRequestError: the URL or the name is none.
        MimoError: it cannot be asked, see ``OpenAIEngine``.

    """
    config = EngineConfig('any', backend='openai', servers=(url,), api_key_env=api_key_env)
    connection = Connection(base_url(url), config, _read_key(api_key_env),
                            ssl.create_default_context(), lambda: None)
    try:
        models = asyncio.run(connection.models(EarlyEnd(None, None)))
    except ServerError as failure:
        raise failure.error from failure
    return model_names(models)


def _read_key(variable: str) -> str:
    key = os.environ.get(variable, '').strip() if variable else ''
    hide(key)
    if variable and not key:
        raise ModelNotReadyError(
            f'the environment variable {variable}, which api_key_env names, is not set; put the '
            "servers' key into it where this program is started"
        )
    if not (key.isascii() and key.isprintable()):
        raise ModelNotReadyError(
            f'the environment variable {variable}, which api_key_env names, holds characters that '
            'no key has; put only the key into it')
    return key


def _first(errors: list[MimoError]) -> MimoError:
    """Return the error with the lowest code; of several errors it has all messages."""
    first = min(errors, key=lambda error: error.code)
    return first if len(errors) == 1 else type(first)('; '.join(map(str, errors)))
