"""What the rest of the package knows of a model: a prompt goes in, text comes out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from mimo_embodied_ros.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.core.resize import PixelLimits

OnText = Callable[[str, int], None]
"""Receives a piece of new text (never half a character) and the tokens generated so far."""

Cancelled = Callable[[], bool]
"""Asked once a token; True stops the answer."""

OnProgress = Callable[[float], None]
"""Receives the share of the weights that are loaded, 0 to 1, every few seconds."""


_ALLOWED = {
    'backend': ('transformers', 'openai'),
    'dtype': ('auto', 'bfloat16', 'float32'),
    'attention': ('sdpa', 'eager', 'flash_attention_2'),
    'quantization': ('none', '8bit', '4bit'),
}
_LEAST = {'min_pixels': 0, 'max_pixels': 0, 'threads': 0, 'max_batch': 1, 'cache_mb': 0,
          'draft_tokens': 0}


@dataclass(frozen=True)
class GenerationStats:
    """What an answer took; seconds count from the call.

    Attributes:
        prompt_tokens: all tokens of the prompt, those of the images included.
        image_tokens: tokens that stand for image patches.
        reused_tokens: tokens of the prompt that were read for an earlier one.
        completion_tokens: tokens generated, the end-of-text token included.
        preprocess_s: until the prompt was tokenized and the images were normalised.
        first_token_s: until the first token; 0 when there was none.
        total_s: until the answer was complete.

    """

    prompt_tokens: int = 0
    image_tokens: int = 0
    reused_tokens: int = 0
    completion_tokens: int = 0
    preprocess_s: float = 0.0
    first_token_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True)
class Reply:
    """What the model wrote.

    Attributes:
        text: without control tokens; the pieces given to ``on_text`` are together exactly this.
        finish_reason: 'stop' (the model ended), 'length' (token or context limit), 'repetition'
            (it wrote the same thing over and over), 'cancelled' or 'deadline'.
        stats: counts and durations.

    """

    text: str
    finish_reason: str
    stats: GenerationStats


@dataclass(frozen=True)
class ModelInfo:
    """The model that is loaded.

    A remote server does not tell ``architecture``, ``dtype``, ``parameters`` and
    ``context_length``; they are then empty or 0.

    Attributes:
        name: name on the hub, the name of the directory, or the server's name for it.
        architecture: model class.
        backend: engine that runs it.
        device: where the weights are, for example 'cuda:0'; URLs of the servers.
        dtype: of the weights, for example 'bfloat16'.
        parameters: number of weights.
        min_pixels: smallest image area that the model is given, pixels.
        max_pixels: largest image area that the model is given, pixels.
        context_length: tokens that prompt and answer may have together.

    """

    name: str
    architecture: str
    backend: str
    device: str
    dtype: str
    parameters: int
    min_pixels: int
    max_pixels: int
    context_length: int

    def __str__(self) -> str:
        """Say it on one line."""
        size = f': {self.parameters / 1e6:.1f} M parameters, {self.dtype}' * bool(self.parameters)
        return f'{self.name}{size} on {self.device}'


@dataclass(frozen=True)
class ServerHealth:
    """What the latest requests showed of a remote server; nothing is sent to find it out.

    Attributes:
        url: of the server.
        healthy: whether it answered its latest request; None before the first.
        last_error: why it last did not answer, kept when it recovers; empty where it never failed.
        latency_s: from request to first token, seconds, of its latest answer; 0 before the first.
        checked: ``time.monotonic()`` seconds of its latest answer or failure; 0 before the first.

    """

    url: str
    healthy: bool | None = None
    last_error: str = ''
    latency_s: float = 0.0
    checked: float = 0.0


@dataclass(frozen=True)
class MemoryUse:
    """What a model in this process holds, in bytes.

    Attributes:
        cache: what was computed of images and is kept for further questions.
        device: what this process has taken of its GPU's memory; 0 without one.
        device_total: what the GPU has; 0 without one.

    """

    cache: int = 0
    device: int = 0
    device_total: int = 0


@dataclass(frozen=True)
class EngineConfig:
    """How to load a model, or where it is served.

    Attributes:
        model: directory of a checkpoint, or its name on the Hugging Face hub; with 'openai' the
            name by which the servers know it.
        backend: 'transformers', in this process, or 'openai', on servers with that interface. The
            first group of settings below is the former's, the last the latter's.
        device: 'auto' (the first GPU if there is one), 'cpu', 'cuda' or 'cuda:<n>'.
        dtype: 'auto' (bfloat16 on a GPU, float32 on a CPU, where bfloat16 decodes slower),
            'bfloat16' or 'float32'.
        attention: 'sdpa', 'eager' or 'flash_attention_2'.
        adapter: directory of a LoRA adapter, or its name on the hub; empty is none.
        quantization: 'none', '8bit' or '4bit': of the language model's weights, by bitsandbytes.
        threads: CPU threads for the whole process; 0 is one for a small model on a CPU, which more
            would slow down, and else PyTorch's choice.
        max_batch: answers that are written at once; more wait.
        cache_mb: megabytes for what was computed of images, to answer the next question on them.
        stop_early: end an answer when it is whole, without waiting for the model to end it.
        draft_tokens: tokens that are guessed from earlier answers and checked in one step; what is
            answered stays the same. 0 is none.
        min_pixels: smallest image area, pixels; 0 is what the checkpoint says. A server does not
            tell what it says: 0 is then 3136, and whatever it is must be what the server has.
        max_pixels: largest image area, pixels; 0 is what the checkpoint says, with servers
            3211264, MiMo-Embodied's 4096 tokens. It may be less than the server has.
        servers: base URLs, the preferred one first; ``/v1`` is added to one without a path.
        api_key_env: name of the environment variable that holds the servers' key; empty is none.
        connect_timeout: seconds until a server must have taken the connection.
        first_token_timeout: seconds from then until its first token; its queue counts.
        token_timeout: seconds between two tokens.

    Raises:
        InvalidRequestError: a setting is out of its range. float16 always is: the activations of
            MiMo-Embodied's vision tower grow beyond float16's largest number, and it then
            answers with nothing but exclamation marks (XiaomiMiMo/MiMo-VL issue 8).

    """

    model: str
    backend: str = 'transformers'
    device: str = 'auto'
    dtype: str = 'auto'
    attention: str = 'sdpa'
    adapter: str = ''
    quantization: str = 'none'
    min_pixels: int = 0
    max_pixels: int = 0
    threads: int = 0
    max_batch: int = 8
    cache_mb: int = 512
    stop_early: bool = True
    draft_tokens: int = 8
    servers: tuple[str, ...] = ('http://127.0.0.1:8000/v1',)
    api_key_env: str = ''
    connect_timeout: float = 2.0
    first_token_timeout: float = 20.0
    token_timeout: float = 10.0

    def __post_init__(self) -> None:
        """Check every setting that can be checked without looking at the machine."""
        if self.dtype in ('float16', 'fp16', 'half'):
            raise InvalidRequestError(
                f"dtype '{self.dtype}' is refused: activations of MiMo-Embodied overflow in "
                "float16 and every answer becomes '!!!!'; use 'auto', 'bfloat16' or 'float32'"
            )
        for name, allowed in _ALLOWED.items():
            if getattr(self, name) not in allowed:
                raise InvalidRequestError(
                    f"{name} '{getattr(self, name)}' is not known; use one of {', '.join(allowed)}"
                )
        if not re.fullmatch(r'auto|cpu|cuda(:\d+)?', self.device):
            raise InvalidRequestError(
                f"device '{self.device}' is not known; use 'auto', 'cpu', 'cuda' or 'cuda:<n>'"
            )
        if not self.model.strip():
            raise InvalidRequestError(
                'no model is named; give a directory or a name on the Hugging Face hub'
            )
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise InvalidRequestError(f'{name} is {getattr(self, name)}; it is {least} or more')
        self._check_servers()

    def _check_servers(self) -> None:
        if not self.servers:
            raise InvalidRequestError('servers is empty; give the URL of at least one')
        for url in self.servers:
            parts = urlsplit(url)
            if parts.scheme not in ('http', 'https') or not parts.hostname:
                raise InvalidRequestError(
                    f"servers holds '{url}', which is no URL of a server; write it like "
                    'http://127.0.0.1:8000/v1'
                )
            if '@' in parts.netloc or parts.query:
                raise InvalidRequestError(
                    f'servers holds a user, password or query for {parts.hostname}; keep secrets '
                    'in an environment variable and name it in api_key_env'
                )
        if self.api_key_env and not re.fullmatch(r'[A-Za-z_]\w*', self.api_key_env, re.ASCII):
            # Not repeated here: it may be the key.
            raise InvalidRequestError(
                'api_key_env is not the name of an environment variable; put the key into one and '
                'give its name'
            )
        for name in ('connect_timeout', 'first_token_timeout', 'token_timeout'):
            if not getattr(self, name) > 0:
                raise InvalidRequestError(f'{name} is {getattr(self, name)} s; it is above 0')


@dataclass
class EarlyEnd:
    """Whether an answer is to end before the model ends it, and why.

    Attributes:
        cancelled: as the caller gave it to ``generate``.
        deadline: the same.
        reason: 'cancelled' or 'deadline' once ``reached`` has returned True.

    """

    cancelled: Cancelled | None
    deadline: float | None
    reason: str = ''

    def reached(self) -> bool:
        """Ask whether the answer is to end now."""
        if self.cancelled is not None and self.cancelled():
            self.reason = 'cancelled'
        elif self.deadline is not None and time.monotonic() >= self.deadline:
            self.reason = 'deadline'
        return self.reason != ''


class Engine(Protocol):
    """A model that is ready to answer.

    Calls from several threads are safe, and answered together where there is room.
    """

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""
        ...

    @property
    def limits(self) -> PixelLimits:
        """The image areas to build prompts with."""
        ...

    def generate(
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int,
        on_text: OnText | None = None,
        cancelled: Cancelled | None = None,
        deadline: float | None = None,
    ) -> Reply:
        """Answer a prompt; greedy, so the same prompt gives the same answer.

        Args:
            prompt: from ``build_prompt`` with this engine's ``limits``.
            max_new_tokens: at least 1; less where the context length leaves less, which a server
                may refuse instead.
            on_text: called in the calling thread; what it raises ends the answer and is raised
                from here.
            cancelled: called now and then, also while the answer waits for the model; from the
                thread that writes all answers, so it must not block.
            deadline: ``time.monotonic()`` seconds after which to stop.

        Raises:
            ModelNotReadyError: the engine is closed; a server wants another key or does not have
                the model.
            InvalidRequestError: the prompt leaves no room in the context, holds a control token,
                or ``max_new_tokens`` is below 1; a server refuses the request.
            QueueFullError: a server has too many requests, from others.
            OutOfMemoryError: the device has too little memory for this request.
            BackendUnreachableError: no server answers, or it was lost in the middle of an answer.
            BackendError: the model failed. ``raw_text`` of this and the one above is what a server
                had sent. The engine stays usable after all of these, if it is not closed.

        """
        ...

    def warm_up(self) -> Reply:
        """Answer a short prompt with an image, so that the first request is not the slow one.

        Raises:
            MimoError: as ``generate`` does.
            ModelNotReadyError: a server sees images at another size than they have.

        """
        ...

    def health(self) -> tuple[ServerHealth, ...]:
        """One entry a server, in the order of the configuration; none for a model in here."""
        ...

    def memory(self) -> MemoryUse:
        """What the model holds in this process; from any thread."""
        ...

    def close(self) -> None:
        """Free the weights, when the answer in progress is complete. A second call does nothing.

        Every later ``generate`` raises ModelNotReadyError.
        """
        ...
