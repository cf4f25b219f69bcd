"""The interface of engines, with their replies and statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from mimo_embodied_ros.core.errors import ModelNotReadyError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mimo_embodied_ros.core.profiles import Profile
    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.core.resize import PixelLimits

    from .early_end import Cancelled, Deadline

OnText = Callable[[str, int], None]
"""Receives new text (never half a character) and the number of tokens generated so far."""

OnProgress = Callable[[float], None]
"""Receives the share of the weights that are loaded, 0 to 1, every few seconds."""


@dataclass(frozen=True)
class GenerationStats:
    """Token counts and durations of an answer; seconds count from the call.

    Attributes:
        prompt_tokens: all tokens of the prompt, those of the images included.
        image_tokens: tokens that stand for patches of images and videos.
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

    ``architecture``, ``dtype`` and ``parameters`` of a model on a server are empty or 0, because
    servers do not report them.

    Attributes:
        name: name on the hub, the name of the directory, or the server's name for it.
        architecture: model class.
        backend: engine that runs it.
        device: where the weights are, for example 'cuda:0'; of a remote model the servers' URLs.
        dtype: of the weights, for example 'bfloat16'.
        parameters: number of weights.
        min_pixels: smallest image area that the model gets, pixels.
        max_pixels: largest image area that the model gets, pixels.
        context_length: limit of tokens of prompt and answer together; 0 where a server does not
            report it.
        deterministic: the answer to a prompt does not depend on other prompts, whatever the dtype.
        profile: of the model's prompts and coordinates.
        takes_video: prompts may have videos.
        video_problem: why they may not, as far as it is known.

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
    profile: str = ''
    takes_video: bool = False
    video_problem: str = ''

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


class GroundingState(IntEnum):
    """Whether points are where things are: the values of ``grounding`` in msg/ModelInfo.msg."""

    NOT_TESTED = 0
    RIGHT = 1
    WRONG = 2


@dataclass(frozen=True)
class Grounding:
    """The result of the grounding test.

    Attributes:
        state: of all servers together; one that is wrong makes it wrong.
        report: what was measured, in one sentence, of several servers in one each; empty: nothing.

    """

    state: GroundingState = GroundingState.NOT_TESTED
    report: str = ''


class GroundingError(ModelNotReadyError):
    """The model does not find marks where they are.

    Attributes:
        grounding: what was measured.
        model: that was tested.

    """

    grounding = Grounding(GroundingState.WRONG)
    model: ModelInfo | None = None

    @classmethod
    def of(cls, grounding: Grounding, model: ModelInfo, url: str = '') -> GroundingError:
        """Make the error of a model, or of the server that it is on."""
        where = f' of {url}' * bool(url)
        error = cls(f'the grounding test{where} failed: {grounding.report}, or set grounding_test '
                    'to warn to go on nevertheless')
        error.grounding, error.model = grounding, model
        return error


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
    def profile(self) -> Profile:
        """The profile of the model, to build prompts with."""
        ...

    @property
    def grounding(self) -> Grounding:
        """The result of the grounding test, which may change while servers come and go."""
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
            prompt: from ``build_prompt`` with this engine's ``limits`` and ``profile``.
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

        After it comes the grounding test, as the configuration says.

        Raises:
            MimoError: as ``generate`` does.
            GroundingError: the model does not find marks where they are.
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
