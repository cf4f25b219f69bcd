"""The model in this process, run by transformers."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import Qwen2_5_VLForConditionalGeneration

from mimo_embodied_ros.core.errors import (
    BackendError,
    InvalidRequestError,
    MimoError,
    ModelNotReadyError,
    OutOfMemoryError,
)
from mimo_embodied_ros.core.prompts import Prompt, warm_up_prompt

from .batch import Batch, Generation, free_memory
from .checkpoint import (
    ARCHITECTURE,
    Checkpoint,
    check_memory,
    free_host_memory,
    open_adapter,
    open_checkpoint,
)
from .interface import (
    Cancelled,
    EarlyEnd,
    EngineConfig,
    GenerationStats,
    MemoryUse,
    ModelInfo,
    OnProgress,
    OnText,
    Reply,
    ServerHealth,
)
from .processor import Encoder, load_processor, read_limits
from .structured import Grammars

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from mimo_embodied_ros.core.resize import PixelLimits

_POLL_S = 0.02  # how often a request that waits for the model asks whether it is still wanted
# What adapters that were trained with a transformers before 4.52 call the parts of the model.
_OLD_NAMES = {
    r'^visual\.': 'model.visual.',
    r'^model\.(?=layers\.|embed_tokens\.|norm\.)': 'model.language_model.',
}
_SMALL = 10_000_000  # parameters: threads wait for each other longer than they compute
_PROGRESS_S = 2.0  # how often loading says how far it is


class TransformersEngine:
    """A Qwen2.5-VL model held by this process; ``Engine`` says what its methods promise.

    Requests of several threads are answered together, in one batch.

    Raises:
        InvalidRequestError: the smallest image area is above the largest.
        ModelNotReadyError: the model cannot be found, read or run here.
        OutOfMemoryError: the device has too little memory for the weights.

    """

    def __init__(self, config: EngineConfig, on_progress: OnProgress | None = None) -> None:
        """Load the model that ``config`` names, and tell ``on_progress`` how far it is."""
        device = _choose_device(config.device)
        dtype = _choose_dtype(config.dtype, device)
        quantization = _choose_quantization(config.quantization, dtype)
        checkpoint = open_checkpoint(config.model)
        adapter = open_adapter(config.adapter) if config.adapter else None
        self._processor = load_processor(checkpoint.directory)
        self._limits = read_limits(self._processor, config.min_pixels, config.max_pixels)
        self._closing = threading.Lock()
        self._stop_early = config.stop_early
        with _progress(on_progress):
            self._model: Any = _load_model(checkpoint, device, dtype, config, quantization)
        small = device.type == 'cpu' and self._model.num_parameters() < _SMALL
        if config.threads or small:
            torch.set_num_threads(config.threads or 1)
        if adapter is not None:
            self._model = _adapted(self._model, adapter, merge=quantization is None)
        self._stop_tokens = _stop_tokens(self._model, self._processor.tokenizer)
        self._encoder = Encoder(self._processor)
        self._grammars = Grammars(self._processor.tokenizer, self._stop_tokens)
        self._batch: Batch | None = Batch(
            self._model, config.max_batch, config.cache_mb * 10**6, config.draft_tokens,
            self._explain)
        self._info = ModelInfo(
            name=checkpoint.name + (f'+{adapter.name}' if adapter else ''),
            architecture=ARCHITECTURE,
            backend=config.backend,
            device=str(device),
            dtype=str(dtype).removeprefix('torch.')
            + (f', {config.quantization}' if quantization else ''),
            parameters=self._model.num_parameters(),
            min_pixels=self._limits.min_pixels,
            max_pixels=self._limits.max_pixels,
            context_length=self._model.config.get_text_config().max_position_embeddings,
        )

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""
        return self._info

    @property
    def limits(self) -> PixelLimits:
        """The image areas to build prompts with."""
        return self._limits

    def generate(
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int,
        on_text: OnText | None = None,
        cancelled: Cancelled | None = None,
        deadline: float | None = None,
    ) -> Reply:
        """Answer a prompt; see ``Engine.generate``.

        Cancel and deadline are looked at before and after the model reads the prompt with its
        images, which is one step, and after every token; repetition after every token.
        """
        if max_new_tokens < 1:
            raise InvalidRequestError(f'max_new_tokens is {max_new_tokens}; it is 1 or more')
        batch = self._batch
        if batch is None:
            raise ModelNotReadyError(f'{self._info.name} has been closed; load it again')
        start = time.monotonic()
        encoded = self._encoder.encode(prompt)
        length = len(encoded.tokens)
        room = self._info.context_length - length
        if room < 1:
            raise InvalidRequestError(
                f'the prompt has {length} tokens, {encoded.image_tokens} of them for images, and '
                f'the context of {self._info.name} {self._info.context_length}, which leaves no '
                'room for an answer; send fewer or smaller images (max_pixels) or a shorter text'
            )
        batch.prepare(encoded)
        preprocessed = time.monotonic()
        generation = Generation(
            encoded, min(max_new_tokens, room), self._processor.tokenizer.backend_tokenizer,
            self._stop_tokens, EarlyEnd(cancelled, deadline),
            prompt.complete if self._stop_early else None,
            self._grammars.matcher(prompt.grammar) if prompt.grammar else None)
        batch.submit(generation)
        if on_text is not None:
            try:
                for text, tokens in generation.pieces():
                    on_text(text, tokens)
            except BaseException:
                generation.drop()
                generation.wait()
                raise
        text = generation.wait()
        if generation.error is not None:
            raise generation.error
        stats = GenerationStats(
            prompt_tokens=length,
            image_tokens=encoded.image_tokens,
            reused_tokens=generation.reused,
            completion_tokens=len(generation.tokens),
            preprocess_s=preprocessed - start,
            first_token_s=max(0.0, generation.first_token - start),
            total_s=time.monotonic() - start,
        )
        return Reply(text, generation.reason, stats)

    def warm_up(self) -> Reply:
        """Answer a short prompt with a grey image."""
        prompt = warm_up_prompt(224 * 224, self._limits)
        return self.generate(prompt, max_new_tokens=prompt.max_new_tokens)

    def health(self) -> tuple[ServerHealth, ...]:
        """No server takes part."""
        return ()

    def memory(self) -> MemoryUse:
        """The cache, and what of the GPU is taken."""
        batch, device = self._batch, torch.device(self._info.device)
        cache = batch.kept.bytes if batch is not None else 0
        if device.type != 'cuda':
            return MemoryUse(cache)
        return MemoryUse(cache, torch.cuda.memory_reserved(device),
                         torch.cuda.get_device_properties(device).total_memory)

    def close(self) -> None:
        """Free the weights, when the answers in progress are complete."""
        with self._closing:
            if self._batch is not None:
                self._batch.close()
            self._batch = self._model = None
            free_memory()

    def _explain(self, error: Exception) -> Exception:
        """What the caller is told of an error of the model."""
        name = self._info.name
        if isinstance(error, MimoError):
            return error
        if _is_out_of_memory(error):
            return OutOfMemoryError(
                f'{self._info.device} ran out of memory while {name} answered ({_brief(error)}); '
                'send fewer or smaller images (max_pixels) or allow fewer tokens'
            )
        if isinstance(error, getattr(torch, 'AcceleratorError', ())):  # since torch 2.8
            failure: MimoError = ModelNotReadyError(
                f'{self._info.device} failed for good ({_brief(error)}); load {name} again, and '
                'start this program anew where that fails too'
            )
        else:
            failure = BackendError(
                f'{name} failed while it answered ({type(error).__name__}: {error})')
        failure.__cause__ = error
        return failure


def _choose_device(name: str) -> torch.device:
    """The device that a configuration means, which exists."""
    count = torch.cuda.device_count()
    if name == 'auto':
        return torch.device('cuda:0' if count else 'cpu')
    device = torch.device('cuda:0' if name == 'cuda' else name)
    if device.type == 'cuda' and (device.index or 0) >= count:
        built = f'for CUDA {torch.version.cuda}' if torch.version.cuda else 'without CUDA'
        raise ModelNotReadyError(
            f"device '{name}' is not there: PyTorch {torch.__version__}, built {built}, sees "
            f"{count} GPUs; use 'auto' or 'cpu', or install a driver and a PyTorch that fit"
        )
    return device


def _choose_dtype(name: str, device: torch.device) -> torch.dtype:
    if name == 'auto':
        return torch.float32 if device.type == 'cpu' else torch.bfloat16
    return torch.bfloat16 if name == 'bfloat16' else torch.float32


def _choose_quantization(name: str, dtype: torch.dtype) -> transformers.BitsAndBytesConfig | None:
    """How to quantize the language model's linear layers; None for not at all.

    The vision tower stays as it is: its activations grow to some 50,000, and 8 bit computes with
    float16.
    """
    if name == 'none':
        return None
    try:
        import accelerate  # noqa: F401 needed by the other
        import bitsandbytes  # noqa: F401
    except Exception as error:
        raise ModelNotReadyError(
            f"quantization '{name}' needs bitsandbytes and accelerate, and they cannot be imported "
            f"({_brief(error)}); run `pip install bitsandbytes accelerate`, or use 'none'"
        ) from error
    return transformers.BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_8bit=name == '8bit',
        load_in_4bit=name == '4bit',
        llm_int8_skip_modules=['model.visual', 'lm_head'],
        bnb_4bit_quant_type='nf4',
        bnb_4bit_compute_dtype=dtype,
    )


def _adapted(model: Any, adapter: Path, *, merge: bool) -> Any:
    """Put a LoRA adapter on a model: added to its weights, or beside them.

    Added, it takes no time later. Quantized weights are too coarse to add it to.
    """
    try:
        import peft
    except ImportError as error:
        raise ModelNotReadyError(
            f'adapter {adapter} needs peft, and it cannot be imported ({error}); run '
            '`pip install peft`'
        ) from error
    try:
        with warnings.catch_warnings():
            # otherwise it would be ignored where its names are those of another model
            warnings.filterwarnings('error', 'Found missing adapter keys')
            wrapped = peft.PeftModel.from_pretrained(
                model, str(adapter), key_mapping=_OLD_NAMES
            )
            if merge:
                return wrapped.merge_and_unload(safe_merge=True).eval()
    except Exception as error:
        if _is_out_of_memory(error):
            raise OutOfMemoryError(
                f'there is too little memory for adapter {adapter} ({_brief(error)}); end other '
                'programs that use it'
            ) from error
        raise ModelNotReadyError(
            f'adapter {adapter} cannot be put on this model ({type(error).__name__}: '
            f'{str(error)[:300]}); give the model that it was trained on'
        ) from error
    return wrapped.get_base_model().eval()  # its layers hold the adapter


@contextlib.contextmanager
def _progress(on_progress: OnProgress | None) -> Iterator[None]:
    """Tell ``on_progress`` instead of drawing a bar, which would run through logs and answers."""
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    set_hook = getattr(transformers.utils.logging, 'set_tqdm_hook', None)
    if on_progress is None or set_hook is None:  # transformers 4 has no hook
        yield
        return

    def hook(factory: Callable[..., Any], args: Any, options: Any) -> Any:
        return _counted(args[0], on_progress) if args else factory(*args, **options)

    before = set_hook(hook)
    try:
        yield
    finally:
        set_hook(before)


def _counted(items: Collection[Any], on_progress: OnProgress) -> Iterator[Any]:
    told = begin = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() - told >= _PROGRESS_S:
            told = time.monotonic()
            on_progress(number / len(items))
        yield item
    if told > begin:  # what is quick needs no words
        on_progress(1.0)


def _load_model(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    config: EngineConfig,
    quantization: transformers.BitsAndBytesConfig | None,
) -> Any:
    """Read the weights onto the device."""
    # accelerate reads them straight onto a GPU; without it they are in the host's memory first.
    direct = quantization is not None or (
        device.type == 'cuda' and importlib.util.find_spec('accelerate') is not None
    )
    width = {'none': dtype.itemsize, '8bit': 1.0, '4bit': 0.5}[config.quantization]
    if device.type == 'cuda':
        check_memory(checkpoint, width, torch.cuda.mem_get_info(device)[0], f'GPU {device}')
    if device.type == 'cpu' or not direct:
        check_memory(checkpoint, width, free_host_memory(), 'this machine')
    try:
        loaded: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            checkpoint.directory,
            dtype=dtype,
            attn_implementation=config.attention,
            quantization_config=quantization,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            device_map={'': device} if direct else None,
        )
        model: Any = loaded[0]
        if not direct:
            model.to(device)
    except Exception as error:
        if _is_out_of_memory(error):
            raise OutOfMemoryError(
                f'{device} ran out of memory while {checkpoint.name} was loaded '
                f'({_brief(error)}); end other programs that use it, or choose a device with more '
                'memory'
            ) from error
        if config.attention != 'sdpa' and isinstance(error, (ImportError, ValueError)):
            raise ModelNotReadyError(
                f"attention '{config.attention}' does not work here ({_brief(error)}); use 'sdpa'"
            ) from error
        raise ModelNotReadyError(
            f'{checkpoint.directory} cannot be loaded '
            f'({type(error).__name__}: {str(error)[:300]}); '
            'its config.json and weights may be of different versions, download them again'
        ) from error
    missing = sorted(loaded[1]['missing_keys'])
    if missing:
        raise ModelNotReadyError(
            f'{checkpoint.directory} lacks {len(missing)} weights, the first is {missing[0]}, and '
            'transformers would have drawn them at random; download the model again'
        )
    return model


def _stop_tokens(
    model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerBase
) -> frozenset[int]:
    """Tokens that end an answer: the checkpoint's and the tokenizer's.

    The rest of a checkpoint's generation settings is left out: the vendor evaluated the model
    with greedy decoding, whatever it suggests.
    """
    asked = model.generation_config.eos_token_id
    return frozenset({*(asked if isinstance(asked, list) else [asked]), tokenizer.eos_token_id}
                     - {None})


def _is_out_of_memory(error: Exception) -> bool:
    # On a CPU, PyTorch's allocator raises a plain RuntimeError.
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _brief(error: Exception) -> str:
    """What an error says, without the stack trace of C++ that PyTorch adds."""
    return str(error).strip().split('\n', 1)[0] or type(error).__name__
