"""The model in this process, run by transformers."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from mimo_embodied_ros.core.errors import (
    BackendError,
    InvalidRequestError,
    MimoError,
    ModelNotReadyError,
    OutOfMemoryError,
)
from mimo_embodied_ros.core.prompts import Prompt, warm_up_prompt

from .batch import Batch
from .checkpoint import ARCHITECTURE, first_line, open_adapter, open_checkpoint
from .device import check_device, is_device_failure
from .early_end import EarlyEnd
from .generation import Generation
from .grounding_test import grounding_of
from .interface import (
    GenerationStats,
    Grounding,
    MemoryUse,
    ModelInfo,
    OnProgress,
    OnText,
    Reply,
    ServerHealth,
)
from .kv_memory import free_memory, is_out_of_memory, row_length
from .model_loading import (
    add_adapter,
    choose_device,
    choose_dtype,
    choose_quantization,
    load_model,
    read_stop_tokens,
)
from .prefix_cache import Hold
from .processor import PromptEncoder, load_processor, read_limits
from .structured import GrammarCompiler, supports_grammars
from .threads import Threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .config import EngineConfig
    from .early_end import Cancelled, Deadline
    from .processor import EncodedPrompt

_logger = logging.getLogger(__name__)
_SMALL = 10_000_000  # parameters; below, one CPU thread writes tokens faster than several


class TransformersEngine:
    """A Qwen2.5-VL model in this process; ``Engine`` documents the methods.

    Requests of several threads are answered together, in one batch.

    Attributes:
        info: the model that is loaded.
        limits: the image areas to build prompts with.
        profile: of the model, found by its name where the settings name none.
        grounding: the result of the grounding test, which is part of ``warm_up``.

    Raises:
        InvalidRequestError: the smallest image area is above the largest.
        ModelNotReadyError: the model cannot be found, read or run here.
        OutOfMemoryError: the device has too little memory for the weights, or for the largest
            request.

    """

    def __init__(
        self,
        config: EngineConfig,
        on_progress: OnProgress | None = None,
        cancelled: Cancelled | None = None,
    ) -> None:
        """Load the model of ``config``; see ``load_engine``."""
        self._config, self.grounding = config, Grounding()
        device = choose_device(config.device)
        dtype = choose_dtype(config.dtype, device)
        quantization = choose_quantization(config.quantization, dtype)
        checkpoint = open_checkpoint(config.model)
        adapter = open_adapter(config.adapter) if config.adapter else None
        self._processor = load_processor(checkpoint.directory)
        self.limits = read_limits(self._processor, config.min_pixels, config.max_pixels)
        self.profile = config.profile_of(checkpoint.name)
        self._closing = threading.Lock()
        self._failed = False
        self._request = threading.local()  # what the request of this thread holds
        self._stop_early = config.stop_early
        self._model: Any = load_model(
            checkpoint, device, dtype, config, quantization, on_progress, cancelled)
        small = device.type == 'cpu' and self._model.num_parameters() < _SMALL
        if adapter is not None:
            self._model = add_adapter(self._model, adapter, merge=quantization is None)
        self._stop_tokens = read_stop_tokens(self._model, self._processor.tokenizer)
        self._encoder = PromptEncoder(self._processor, self._model.config)
        self._grammars = GrammarCompiler(self._processor.tokenizer, self._stop_tokens)
        batch = Batch(
            self._model, config, Threads(config.threads, small=small), self._explain)
        self.info = ModelInfo(
            name=checkpoint.name + (f'+{adapter.name}' if adapter else ''),
            architecture=ARCHITECTURE,
            backend=config.backend,
            device=str(device),
            dtype=str(dtype).removeprefix('torch.')
            + (f', {config.quantization}' if quantization else ''),
            parameters=self._model.num_parameters(),
            min_pixels=self.limits.min_pixels,
            max_pixels=self.limits.max_pixels,
            context_length=self._model.config.get_text_config().max_position_embeddings,
            deterministic=config.deterministic,
            profile=self.profile.name,
            takes_video=self._encoder.takes_video,
        )
        self._fit_memory(batch, config, probe=small or device.type == 'cuda')
        batch.start()
        self._batch: Batch | None = batch

    def _fit_memory(self, batch: Batch, config: EngineConfig, *, probe: bool) -> None:
        """Answer the largest request once, and divide what memory is left then.

        Args:
            batch: not started.
            config: says what the largest request is.
            probe: whether it is answered; large models take minutes for that on a CPU.

        Raises:
            OutOfMemoryError: it does not fit.

        """
        encoded = self._largest_prompt(config.most_images)
        prompt = len(encoded.tokens)
        longest = min(prompt + config.longest_answer, self.info.context_length)
        memory = batch.memory
        needed = row_length(longest) * memory.token_bytes  # at least
        request = (
            f'the largest request, {len(encoded.images)} images of {self.limits.max_pixels} '
            f'pixels and an answer of {longest - prompt} tokens, needs {needed / 1e6:.1f} MB for '
            f'keys and values of {longest} tokens')
        if probe and not self._probe(batch, encoded, request):
            self._use_dynamic_shapes(batch)
            self._probe(batch, encoded, request)
        if config.kv_cache_mb:
            memory.limit(config.kv_cache_mb * 10**6)
        else:
            # the prefix of a request in flight is kept, however large
            memory.measure(max(config.cache_mb * 10**6, prompt * memory.token_bytes))
        if needed > memory.budget:
            raise OutOfMemoryError(
                f'{request}, and {self.info.device} has {memory.budget / 1e6:.1f} MB for them; '
                'lower max_pixels, max_new_tokens or the number of cameras, or raise kv_cache_mb '
                'if it is set')
        if memory.cost(longest) > memory.budget:
            self._use_dynamic_shapes(batch)
        _logger.info(
            'keys and values: %.0f MB, enough for %d answers like the largest request at once',
            memory.budget / 1e6, memory.budget // memory.cost(longest))

    def _probe(self, batch: Batch, encoded: EncodedPrompt, request: str) -> bool:
        """Answer the largest request; False: it has no room in static shapes.

        Raises:
            OutOfMemoryError: it does not fit; ``request`` describes it.

        """
        try:
            batch.probe(self._generation(encoded, 2, EarlyEnd(None, None)))
        except Exception as error:
            if is_device_failure(error):
                check_device(self.info.device)
            if not is_out_of_memory(error):
                raise self._explain(error) from error
            if not batch.memory.stays:
                raise OutOfMemoryError(
                    f'{request} and more beside them, and {self.info.device} has too little '
                    f'memory ({first_line(error)}); lower max_pixels or the number of cameras, or '
                    'end other programs that use it'
                ) from error
        else:
            return True
        return False

    def _use_dynamic_shapes(self, batch: Batch) -> None:
        _logger.warning(
            '%s has too little memory for decoding steps of static shapes; those of dynamic '
            'shapes are slower on a GPU', self.info.device)
        batch.use_dynamic_shapes()
        free_memory()

    def _largest_prompt(self, images: int) -> EncodedPrompt:
        """Encode a prompt with so many of the largest images, or fewer if the context is short."""
        prompts = [warm_up_prompt(self.limits.max_pixels, self.limits, shade)
                   for shade in range(images)]
        while True:
            encoded = self._encoder.encode(replace(
                prompts[0], images=tuple(p.images[0] for p in prompts),
                resizes=tuple(p.resizes[0] for p in prompts)))
            if len(prompts) == 1 or len(encoded.tokens) < self.info.context_length:
                return encoded
            prompts.pop()

    def _generation(
        self, encoded: EncodedPrompt, max_tokens: int, end: EarlyEnd, grammar: str = '',
        thinking_tokens: int = 0,
    ) -> Generation:
        return Generation(
            encoded, max_tokens, self._processor.tokenizer.backend_tokenizer, self._stop_tokens,
            end, self._grammars.matcher(grammar) if grammar else None,
            stop_early=self._stop_early, thinking_tokens=thinking_tokens)

    @property
    def holds_grammars(self) -> bool:
        """Whether llguidance is installed here."""
        return supports_grammars()

    @property
    def lost(self) -> bool:
        """Whether the device has failed, or the engine is closed."""
        return self._failed or self._batch is None

    @property
    def holds_schemas(self) -> bool:
        """Whether it holds grammars, which all answers with a schema have, too."""
        return self.holds_grammars

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

        Cancel and deadline are checked before the model reads the prompt, after every chunk of it
        or of its images (``EngineConfig.prefill_chunk``), and after every token; repetition is
        checked after every token.
        """
        if max_new_tokens < 1:
            raise InvalidRequestError(f'max_new_tokens is {max_new_tokens}; it is 1 or more')
        batch = self._batch
        if batch is None:
            raise ModelNotReadyError(f'{self.info.name} has been closed; load it again')
        start = time.monotonic()
        encoded = self._encoder.encode(prompt)
        with self.keep_images():
            self._request.hold.add(encoded.keys)
            return self._generate(
                batch, prompt, encoded, start, max_new_tokens, on_text,
                EarlyEnd(cancelled, deadline))

    @contextlib.contextmanager
    def keep_images(self) -> Iterator[None]:
        """Keep what is computed of the images of this thread's questions; see ``Engine``."""
        batch = self._batch
        if batch is None or hasattr(self._request, 'hold'):
            yield
            return
        self._request.hold = Hold(batch.vision.cache)
        try:
            yield
        finally:
            self._request.hold.release()
            del self._request.hold

    def _generate(
        self, batch: Batch, prompt: Prompt, encoded: EncodedPrompt, start: float,
        max_new_tokens: int, on_text: OnText | None, end: EarlyEnd,
    ) -> Reply:
        length = len(encoded.tokens)
        room = self.info.context_length - length
        if room < 1:
            raise InvalidRequestError(
                f'the prompt has {length} tokens, {encoded.image_tokens} of them for images, and '
                f'the context of {self.info.name} {self.info.context_length}, which leaves no '
                'room for an answer; send fewer or smaller images (max_pixels) or a shorter text'
            )
        longest = min(max_new_tokens, room)
        needed, budget = batch.memory.cost(length + longest), batch.memory.budget
        if needed > budget:
            raise InvalidRequestError(
                f'the prompt has {length} tokens, {encoded.image_tokens} of them for images, and '
                f'its answer up to {longest}: their keys and values need {needed / 1e6:.1f} MB '
                f'and {self.info.device} has {budget / 1e6:.1f} MB for them; send fewer or smaller '
                'images (max_pixels) or allow fewer tokens (max_new_tokens)'
            )
        batch.vision.make_patches(encoded)
        preprocessed = time.monotonic()
        generation = self._generation(
            encoded, longest, end, prompt.grammar, prompt.thinking_tokens)
        batch.submit(generation)
        text = generation.result(on_text)
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
        """Answer a short prompt with a grey image, and do the grounding test."""
        prompt = warm_up_prompt(224 * 224, self.limits, profile=self.profile)
        reply = self.generate(prompt, max_new_tokens=prompt.max_new_tokens)
        self.grounding = grounding_of(self, self._config)
        return reply

    def health(self) -> tuple[ServerHealth, ...]:
        """Return nothing, because no server is involved."""
        return ()

    def memory(self) -> MemoryUse:
        """Return what the model holds beside its weights, and what the GPU has."""
        batch, device = self._batch, torch.device(self.info.device)
        use = MemoryUse()
        if batch is not None:
            cache, rows = batch.vision.cache, batch.memory
            use = MemoryUse(
                cache=cache.bytes, cache_needed=cache.needed, keys_values=rows.bytes,
                keys_values_budget=rows.budget, preempted=batch.shortage.count)
        if device.type == 'cuda':
            use = replace(use, device=torch.cuda.memory_reserved(device),
                          device_total=torch.cuda.get_device_properties(device).total_memory)
        return use

    def close(self) -> None:
        """Complete the answers in progress and free the weights."""
        with self._closing:
            batch, self._batch, self._model = self._batch, None, None
            if batch is None:
                return
            batch.close()
            del batch
            check_device(self.info.device)

    def _explain(self, error: Exception) -> Exception:
        """Convert an exception of the model into the one that the caller gets."""
        name = self.info.name
        if isinstance(error, MimoError):
            return error
        if is_out_of_memory(error):
            return OutOfMemoryError(
                f'{self.info.device} ran out of memory while {name} answered '
                f'({first_line(error)}); send fewer or smaller images (max_pixels) or allow '
                'fewer tokens'
            )
        if is_device_failure(error):
            self._failed = True
            failure: MimoError = ModelNotReadyError(
                f'{self.info.device} failed permanently ({first_line(error)}); load {name} again, '
                'and restart this program if that fails, too'
            )
        else:
            failure = BackendError(
                f'{name} failed while it answered ({type(error).__name__}: {error})')
        failure.__cause__ = error
        return failure
