"""What the rest of the package knows of a model: a prompt goes in, text comes out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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
    'backend': ('transformers',),
    'dtype': ('auto', 'bfloat16', 'float32'),
    'attention': ('sdpa', 'eager', 'flash_attention_2'),
    'quantization': ('none', '8bit', '4bit'),
}


@dataclass(frozen=True)
class GenerationStats:
    """What an answer took; seconds count from the moment the model was free for the request.

    Attributes:
        prompt_tokens: all tokens of the prompt, those of the images included.
        image_tokens: tokens that stand for image patches.
        completion_tokens: tokens generated, the end-of-text token included.
        preprocess_s: until the prompt was tokenized and the images were normalised.
        first_token_s: until the first token; 0 when there was none.
        total_s: until the answer was complete.

    """

    prompt_tokens: int = 0
    image_tokens: int = 0
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

    Attributes:
        name: name on the hub, or the name of the directory.
        architecture: model class.
        backend: engine that runs it.
        device: where the weights are, for example 'cuda:0'.
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


@dataclass(frozen=True)
class EngineConfig:
    """How to load a model.

    Attributes:
        model: directory of a checkpoint, or its name on the Hugging Face hub.
        backend: 'transformers', in this process.
        device: 'auto' (the first GPU if there is one), 'cpu', 'cuda' or 'cuda:<n>'.
        dtype: 'auto' (bfloat16 on a GPU, float32 on a CPU, where bfloat16 decodes slower),
            'bfloat16' or 'float32'.
        attention: 'sdpa', 'eager' or 'flash_attention_2'.
        adapter: directory of a LoRA adapter, or its name on the hub; empty is none.
        quantization: 'none', '8bit' or '4bit': of the language model's weights, by bitsandbytes.
        min_pixels: smallest image area, pixels; 0 is what the checkpoint says.
        max_pixels: largest image area, pixels; 0 is what the checkpoint says.
        threads: CPU threads for the whole process; 0 leaves PyTorch's choice.

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
        for name in ('min_pixels', 'max_pixels', 'threads'):
            if getattr(self, name) < 0:
                raise InvalidRequestError(f'{name} is {getattr(self, name)}; it is 0 or more')


class Engine(Protocol):
    """A model that is ready to answer. Calls from several threads are answered one by one."""

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
            max_new_tokens: at least 1; less where the context length leaves less.
            on_text: called in the calling thread; what it raises ends the answer and is raised
                from here.
            cancelled: called in the calling thread, while it waits for the model too.
            deadline: ``time.monotonic()`` seconds after which to stop.

        Raises:
            ModelNotReadyError: the engine is closed.
            InvalidRequestError: the prompt leaves no room in the context, holds a control token,
                or ``max_new_tokens`` is below 1.
            OutOfMemoryError: the device has too little memory for this request.
            BackendError: the model failed. The engine stays usable after this and the above.

        """
        ...

    def warm_up(self) -> Reply:
        """Answer a short prompt with an image, so that the first request is not the slow one."""
        ...

    def close(self) -> None:
        """Free the weights, when the answer in progress is complete. A second call does nothing.

        Every later ``generate`` raises ModelNotReadyError.
        """
        ...
