"""The interface of engines, with their configuration, replies and statistics."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from mimo_embodied_ros.core.errors import InvalidRequestError, ModelNotReadyError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.core.resize import PixelLimits

    from .early_end import Cancelled, Deadline

OnText = Callable[[str, int], None]
"""Receives new text (never half a character) and the number of tokens generated so far."""

OnProgress = Callable[[float], None]
"""Receives the share of the weights that are loaded, 0 to 1, every few seconds."""

_ALLOWED = {
    'backend': ('transformers', 'openai'),
    'dtype': ('auto', 'bfloat16', 'float32'),
    'attention': ('sdpa', 'eager', 'flash_attention_2'),
    'quantization': ('none', '8bit', '4bit'),
    'structured_style': ('auto', 'vllm', 'guided', 'llama', 'openai', 'none'),
}
_MINIMUM = {'min_pixels': 0, 'max_pixels': 0, 'threads': 0, 'max_batch': 1, 'cache_mb': 0,
            'draft_tokens': 0, 'kv_cache_mb': 0, 'most_images': 1, 'longest_answer': 1}


@dataclass(frozen=True)
class GenerationStats:
    """Token counts and durations of an answer; seconds count from the call.

    Attributes:
        prompt_tokens: all tokens of the prompt, those of the images included.
        image_tokens: tokens that stand for image patches.
        reused_tokens: tokens of the prompt whose keys and values were kept from an earlier prompt.
        completion_tokens: tokens generated, the end-of-text token included.
        preprocess_s: until the prompt was tokenized and the images were normalised.
        first_token_s: until the first token; 0 if there was none.
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
    """The text that the model wrote, why it ended, and its statistics.

    Attributes:
        text: without control tokens; the pieces given to ``on_text`` add up to it.
        finish_reason: 'stop' (the model ended), 'length' (token or context limit), 'repetition'
            (it wrote the same thing over and over), 'cancelled' or 'deadline'.
        stats: counts and durations; where the question was asked twice, their sums.
        unread: what the model wrote before, when the same question was asked for the first time
            and the answer could not be read.

    """

    text: str
    finish_reason: str
    stats: GenerationStats
    unread: tuple[str, ...] = ()

    @property
    def attempts(self) -> int:
        """How often the question was asked."""
        return 1 + len(self.unread)


@dataclass(frozen=True)
class ModelInfo:
    """The model that is loaded.

    ``architecture``, ``dtype``, ``parameters`` and ``context_length`` of a model on a server are
    empty or 0, because servers do not report them.

    Attributes:
        name: name on the hub, the name of the directory, or the server's name for it.
        architecture: model class.
        backend: engine that runs it.
        device: where the weights are, for example 'cuda:0'; of a remote model the servers' URLs.
        dtype: of the weights, for example 'bfloat16'.
        parameters: number of weights.
        min_pixels: smallest image area that the model gets, pixels.
        max_pixels: largest image area that the model gets, pixels.
        context_length: limit of tokens of prompt and answer together.
        deterministic: the answer to a prompt does not depend on other prompts, whatever the dtype.

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
    deterministic: bool = False

    def __str__(self) -> str:
        """Describe the model on one line."""
        size = f': {self.parameters / 1e6:.1f} M parameters, {self.dtype}' * bool(self.parameters)
        return f'{self.name}{size} on {self.device}'


@dataclass(frozen=True)
class ServerHealth:
    """The health of a remote server, known from its latest requests; it is not polled.

    Attributes:
        url: of the server.
        healthy: whether it answered its latest request; None before the first.
        last_error: its last failure, kept when it recovers; empty if it never failed.
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
    """Memory of a model in this process, in bytes.

    Attributes:
        cache: of image features, and of keys and values of prompt prefixes, that are kept for
            further questions.
        device: GPU memory that this process has reserved; 0 without a GPU.
        device_total: memory of the GPU; 0 without a GPU.
        cache_needed: what the images of one request took of the cache, the most so far, where that
            was more than ``cache_mb``; 0: all did fit.
        keys_values: of the answers that are being written.
        keys_values_budget: what they may take at most.
        preempted: how often an answer was put back for lack of memory, and went on later.

    """

    cache: int = 0
    device: int = 0
    device_total: int = 0
    cache_needed: int = 0
    keys_values: int = 0
    keys_values_budget: int = 0
    preempted: int = 0


@dataclass(frozen=True)
class EngineConfig:
    """How to load a model, or where it is served.

    Attributes:
        model: directory of a checkpoint, or its name on the Hugging Face hub; with 'openai' the
            name by which the servers know it.
        backend: 'transformers', in this process, or 'openai', on servers with OpenAI's interface.
            The settings from ``device`` to ``deterministic`` are for the former, those from
            ``servers`` on for the latter.
        device: 'auto' (the first GPU if there is one), 'cpu', 'cuda' or 'cuda:<n>'.
        dtype: 'auto' (bfloat16 on a GPU, float32 on a CPU, where bfloat16 decodes slower),
            'bfloat16' or 'float32'.
        attention: 'sdpa', 'eager' or 'flash_attention_2'.
        adapter: directory of a LoRA adapter, or its name on the hub; empty is none.
        quantization: 'none', '8bit' or '4bit': of the language model's weights, by bitsandbytes.
        threads: CPU threads for the whole process; 0 is one thread for a small model on a CPU,
            which more threads would slow down, and else PyTorch's choice.
        max_batch: answers that are decoded at once; more wait.
        cache_mb: megabytes for image features and prompt prefixes, which the next question about
            the same images reuses. What requests in flight use is kept beyond it.
        kv_cache_mb: megabytes for keys and values; answers wait until theirs fit. 0: measured.
        most_images: images of the largest request for which there must be memory.
        longest_answer: tokens of its answer; a request may ask for more if that fits.
        stop_early: end an answer that is held to a grammar when nothing can follow, without
            waiting for the model to end it.
        draft_tokens: tokens that are drafted from earlier answers and checked in one step. 0 is
            none. In float32 the answers stay the same; in bfloat16 drafts, like other answers in
            the batch, change how sums are rounded, and so a few answers in a hundred.
        deterministic: answer one prompt at a time, without drafts, so that the same prompt gets
            the same answer in bfloat16, too, whatever was asked before or is asked beside it.
        min_pixels: smallest image area, pixels; 0 is the checkpoint's. Servers do not report
            theirs: 0 is then 3136, and the value must be the one that the server uses.
        max_pixels: largest image area, pixels; 0 is the checkpoint's, with servers 3211264,
            MiMo-Embodied's 4096 tokens. It may be smaller than the server's.
        servers: base URLs, the preferred one first; ``/v1`` is added to one without a path.
        api_key_env: name of the environment variable that holds the servers' key; empty is none.
        connect_timeout: seconds until a server must have taken the connection.
        first_token_timeout: seconds from then until its first token; its queue counts.
        token_timeout: seconds between two tokens.
        structured_style: how servers take the form of an answer: 'vllm' (structured_outputs),
            'guided' (guided_grammar of vLLM before 0.12), 'llama' (llama-server with llguidance),
            'openai' (response_format with a JSON schema), 'none', or 'auto': each server is tried,
            by what it says of itself, and takes none where it holds no answer.

    Raises:
        InvalidRequestError: a setting is out of its range. float16 is always refused: activations
            of MiMo-Embodied's vision tower are larger than float16's largest number, and the model
            then answers with exclamation marks only (XiaomiMiMo/MiMo-VL issue 8).

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
    kv_cache_mb: int = 0
    most_images: int = 1
    longest_answer: int = 4096
    stop_early: bool = True
    draft_tokens: int = 8
    deterministic: bool = False
    servers: tuple[str, ...] = ('http://127.0.0.1:8000/v1',)
    api_key_env: str = ''
    connect_timeout: float = 2.0
    first_token_timeout: float = 20.0
    token_timeout: float = 10.0
    structured_style: str = 'auto'

    def __post_init__(self) -> None:
        """Check all settings that do not depend on the machine."""
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
        for name, minimum in _MINIMUM.items():
            if getattr(self, name) < minimum:
                raise InvalidRequestError(
                    f'{name} is {getattr(self, name)}; it is {minimum} or more')
        if self.deterministic and self.backend == 'openai':
            raise InvalidRequestError(
                'deterministic is true, but servers decide by themselves what they compute '
                "together; leave it false, or use backend 'transformers'")
        self._check_servers()

    @property
    def at_once(self) -> int:
        """How many answers are decoded at once."""
        return 1 if self.deterministic else self.max_batch

    def _check_servers(self) -> None:
        if self.backend == 'openai' and not self.servers:
            raise InvalidRequestError('servers is empty; give the URL of at least one')
        for url in self.servers:
            if '@' in url or '?' in url:  # the message does not repeat it
                raise InvalidRequestError(
                    'servers holds a URL with a user, password or query; keep secrets in an '
                    'environment variable and name it in api_key_env'
                )
            try:
                parts = urlsplit(url)
                is_url = parts.scheme in ('http', 'https') and bool(parts.hostname)
                is_url = is_url and parts.port != 0 and not parts.fragment and url == url.strip()
            except ValueError:  # of the port, or the brackets of an IPv6 address
                is_url = False
            if not is_url:
                raise InvalidRequestError(
                    f"servers holds '{url}', which is no URL of a server; write it like "
                    'http://127.0.0.1:8000/v1'
                )
        if self.api_key_env and not re.fullmatch(r'[A-Za-z_]\w*', self.api_key_env, re.ASCII):
            # the message does not repeat the value, which may be the key
            raise InvalidRequestError(
                'api_key_env is not the name of an environment variable; put the key into one and '
                'give its name'
            )
        for name in ('connect_timeout', 'first_token_timeout', 'token_timeout'):
            if not getattr(self, name) > 0:
                raise InvalidRequestError(f'{name} is {getattr(self, name)} s; it is above 0')


class DeviceLostError(ModelNotReadyError):
    """The device works no more in this process: only another one can load a model onto it."""


class Engine(Protocol):
    """A model that is ready to answer.

    Calls from several threads are safe, and are decoded together where there is room.
    """

    @property
    def info(self) -> ModelInfo:
        """The model that is loaded."""
        ...

    @property
    def limits(self) -> PixelLimits:
        """The image areas to build prompts with."""
        ...

    @property
    def holds_grammars(self) -> bool:
        """Whether it holds answers to the grammars of their prompts."""
        ...

    @property
    def lost(self) -> bool:
        """Whether it can never answer again; never true of servers, which may recover."""
        ...

    @property
    def holds_schemas(self) -> bool:
        """Whether it holds those answers that have a JSON schema, by the schema or a grammar."""
        ...

    def generate(
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int,
        on_text: OnText | None = None,
        cancelled: Cancelled | None = None,
        deadline: Deadline = None,
    ) -> Reply:
        """Answer a prompt; decoding is greedy.

        In float32 the same prompt gives the same answer. In bfloat16 it does where the engine is
        ``deterministic``; else two tokens that are about equally likely may change places,
        because rounding depends on what is computed together.

        Args:
            prompt: from ``build_prompt`` with this engine's ``limits``.
            max_new_tokens: at least 1. If the context length leaves room for less, the answer is
                shorter; a server may refuse the request instead.
            on_text: called in the calling thread; its exceptions end the answer and are raised
                from here.
            cancelled: called once a token and while the answer waits, from the thread that decodes
                all answers, so that it must not block.
            deadline: when the answer ends.

        Raises:
            ModelNotReadyError: the engine is closed; a server requires another key or does not
                have the model.
            InvalidRequestError: the prompt leaves no room in the context, holds a control token,
                or never fits into memory; ``max_new_tokens`` is below 1; a server refuses it.
            QueueFullError: a server has too many requests.
            OutOfMemoryError: the device has too little memory to begin it; what has begun waits.
            BackendUnreachableError: no server answers, or the connection broke during the answer.
            BackendError: the model failed. ``raw_text`` of this and the error above is the text
                that a server had sent. The engine stays usable after all these errors unless it is
                closed.

        """
        ...

    def keep_images(self) -> AbstractContextManager[None]:
        """Keep what the model computes of images, for the further questions of a request.

        It holds for the questions that this thread asks until the context ends, however little
        ``cache_mb`` is. ``generate`` does the same for one question.
        """
        ...

    def warm_up(self) -> Reply:
        """Answer a short prompt with an image, so that the first request is not the slow one.

        Raises:
            MimoError: as ``generate`` does.
            ModelNotReadyError: a server resizes the images once more.

        """
        ...

    def health(self) -> tuple[ServerHealth, ...]:
        """One entry a server, in the order of the configuration; none for a local model."""
        ...

    def memory(self) -> MemoryUse:
        """Memory of the model in this process; may be called from any thread."""
        ...

    def close(self) -> None:
        """Complete the answers in progress and free the weights. A second call does nothing.

        Every later ``generate`` raises ModelNotReadyError.

        Raises:
            DeviceLostError: the device has failed, and only another process can use it.

        """
        ...
