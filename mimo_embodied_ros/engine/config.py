"""The configuration of engines."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.profiles import MIMO_EMBODIED, Profile, find_profile

_logger = logging.getLogger(__name__)
_ALLOWED = {
    'backend': ('transformers', 'openai'),
    'dtype': ('auto', 'bfloat16', 'float32'),
    'attention': ('sdpa', 'eager', 'flash_attention_2'),
    'quantization': ('none', '8bit', '4bit', 'int8', 'fp8'),
    'decode_shapes': ('auto', 'static', 'dynamic'),
    'structured_style': ('auto', 'vllm', 'guided', 'llama', 'openai', 'none'),
    'video_style': ('auto', 'vllm', 'mp4', 'none'),
    'grounding_test': ('off', 'warn', 'refuse'),
}
PICTURES = ('one', 'two', 'wide', 'tall', 'large', 'video')
_MINIMUM = {'min_pixels': 0, 'max_pixels': 0, 'threads': 0, 'max_batch': 1, 'cache_mb': 0,
            'prefill_chunk': 1, 'draft_tokens': 0, 'kv_cache_mb': 0, 'most_images': 1,
            'longest_answer': 1}


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
        attention: 'sdpa', 'eager' or 'flash_attention_2', in the vision tower and in the language
            model, where the last one is PyTorch's own kernel, as in sdpa.
        adapter: directory of a LoRA adapter, or its name on the hub; empty is none.
        quantization: of the language model's weights: 'none'; '8bit' or '4bit' by bitsandbytes;
            'int8' or 'fp8' by torchao, where only the weights are quantized, each row with a scale
            of its own. Keys, values and what is computed keep ``dtype``.
        threads: CPU threads of the model at most; 0 is PyTorch's choice. The tokens of a small
            model are written by one, which more would slow down.
        max_batch: answers that are decoded at once; more wait.
        cache_mb: megabytes for image features and prompt prefixes, which the next question about
            the same images reuses. What requests in flight use is kept beyond it.
        kv_cache_mb: megabytes for keys and values; answers wait until theirs fit. 0: measured.
        most_images: images of the largest request for which there must be memory.
        longest_answer: tokens of its answer; a request may ask for more if that fits.
        stop_early: end an answer that is held to a grammar when nothing can follow, without
            waiting for the model to end it.
        prefill_chunk: tokens of prompts that are read at once, or of images, of which a larger one
            is read whole. Between two chunks answers in progress get their next token, and cancel
            and deadline are heard; a chunk also bounds the memory of a pass.
        draft_tokens: tokens that are drafted from earlier answers and checked in one step. 0 is
            none. In float32 the answers stay the same; in bfloat16 drafts, like other answers in
            the batch, change how sums are rounded, and so a few answers in a hundred.
        decode_shapes: 'static': a token's step has one of few shapes, so that a CUDA graph launches
            it, and the next one begins before the last one's tokens are looked at; rows of keys and
            values are of few lengths then. 'dynamic': it computes only what is needed. 'auto':
            static on a GPU, dynamic on a CPU.
        compile: fuse norms, rotary embedding and activation by ``torch.compile``, which takes a
            minute or more at the first answers.
        deterministic: answer one prompt at a time, without drafts, so that the same prompt gets
            the same answer in bfloat16, too, whatever was asked before or is asked beside it.
        min_pixels: smallest image area, pixels; 0 is the checkpoint's. Servers do not report
            theirs: 0 is then 3136, and the value must be the one that the server uses.
        max_pixels: largest image area, pixels; 0 is the checkpoint's, with servers 3211264,
            MiMo-Embodied's 4096 tokens. It may be smaller than the server's.
        profile: name of the profile that says how the model is asked and what its answers mean, see
            ``core.profiles``; empty: the one that fits the model's name, or else MiMo-Embodied's.
        profiles_file: YAML file with further profiles; empty is none.
        servers: base URLs, the preferred one first; ``/v1`` is added to one without a path.
        api_key_env: name of the environment variable that holds the servers' key; empty is none.
        startup_timeout: seconds for which `Loader` waits for a server that does not answer yet; 0:
            it fails at once.
        connect_timeout: seconds until a server must have taken the connection.
        first_token_timeout: seconds from then until its first token; its queue counts.
        token_timeout: seconds between two tokens.
        structured_style: how servers take the form of an answer: 'vllm' (structured_outputs),
            'guided' (guided_grammar of vLLM before 0.12), 'llama' (llama-server with llguidance),
            'openai' (response_format with a JSON schema), 'none', or 'auto': each server is tried,
            by what it says of itself, and takes none where it holds no answer.
        video_style: how servers take videos: 'vllm' (their frames), 'mp4' (a file, which PyAV
            makes), 'none', or 'auto': each server is tried, and takes none where it does not count
            all tokens of a video.
        ask_again: ask again where a server was lost in the middle of an answer.
        session: name of the robot, by which routers keep its requests on one server; empty is none.
        grounding_test: what follows where the model does not find marks in drawn pictures: 'off'
            (it is not tested), 'warn' or 'refuse'.
        grounding_pictures: what is asked about, of ``PICTURES``.

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
    profile: str = ''
    profiles_file: str = ''
    threads: int = 0
    max_batch: int = 8
    cache_mb: int = 512
    kv_cache_mb: int = 0
    most_images: int = 1
    longest_answer: int = 4096
    stop_early: bool = True
    prefill_chunk: int = 2048
    draft_tokens: int = 8
    decode_shapes: str = 'auto'
    compile: bool = False
    deterministic: bool = False
    servers: tuple[str, ...] = ('http://127.0.0.1:8000/v1',)
    api_key_env: str = ''
    startup_timeout: float = 0.0
    connect_timeout: float = 2.0
    first_token_timeout: float = 20.0
    token_timeout: float = 10.0
    structured_style: str = 'auto'
    video_style: str = 'auto'
    ask_again: bool = True
    session: str = ''
    grounding_test: str = 'off'
    grounding_pictures: tuple[str, ...] = PICTURES

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
        if not self.grounding_pictures or not set(self.grounding_pictures) <= set(PICTURES):
            raise InvalidRequestError(
                f'grounding_pictures is {list(self.grounding_pictures)}; give one or more of '
                f'{", ".join(PICTURES)}, or set grounding_test to off')
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
        if self.profile or self.profiles_file:
            find_profile(self.profile, self.model, self.profiles_file)
        self._check_servers()

    def profile_of(self, model: str) -> Profile:
        """Return the profile of a model; the log says so where none is known by its name.

        Args:
            model: name on the hub, the name of a folder, or the server's name for it.

        Raises:
            InvalidRequestError: the file of profiles can no longer be read.

        """
        profile = find_profile(self.profile, model, self.profiles_file)
        if profile is None:
            _logger.warning(
                'no profile is known for %s: it is asked as %s is, and its positions count as '
                'pixels of the resized image; set profile if it is another model', model,
                MIMO_EMBODIED.name)
        return profile or MIMO_EMBODIED

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
        if not (self.session.isascii() and self.session.isprintable()
                and self.session == self.session.strip()):
            raise InvalidRequestError(
                f'session is {self.session!r}, which no HTTP header can hold; give a name of ASCII '
                'characters without spaces around it')
        for name in ('connect_timeout', 'first_token_timeout', 'token_timeout'):
            if not getattr(self, name) > 0:
                raise InvalidRequestError(f'{name} is {getattr(self, name)} s; it is above 0')
        if not self.startup_timeout >= 0:
            raise InvalidRequestError(
                f'startup_timeout is {self.startup_timeout} s; it is 0 or more')
