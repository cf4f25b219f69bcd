"""Load a model's weights: choose device and dtype, quantize, and add a LoRA adapter."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import time
import warnings
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import Qwen2_5_VLForConditionalGeneration

from mimo_embodied_ros.core.errors import (
    CancelledError,
    MimoError,
    ModelNotReadyError,
    OutOfMemoryError,
)

from .checkpoint import Checkpoint, check_memory, first_line, free_host_memory
from .device import check_device, is_device_failure
from .kv_memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from .config import EngineConfig
    from .early_end import Cancelled
    from .interface import OnProgress

# Names of modules in adapters that were trained with transformers before 4.52.
_OLD_NAMES = {
    r'^visual\.': 'model.visual.',
    r'^model\.(?=layers\.|embed_tokens\.|norm\.)': 'model.language_model.',
}
_PROGRESS_S = 2.0  # how often loading reports its progress


def choose_device(name: str) -> torch.device:
    """Return the device of a configuration.

    Raises:
        ModelNotReadyError: there is no such device.

    """
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


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of a configuration; 'auto' depends on the device."""
    if name == 'auto':
        return torch.float32 if device.type == 'cpu' else torch.bfloat16
    return torch.bfloat16 if name == 'bfloat16' else torch.float32


def choose_quantization(name: str, dtype: torch.dtype) -> Any:
    """Return how to quantize the language model's linear layers; None for 'none'.

    The vision tower is not quantized, because 8 bit computes in float16 and the tower's activations
    reach about 50,000.

    Raises:
        ModelNotReadyError: what quantizes is not installed.

    """
    if name == 'none':
        return None
    library = 'torchao' if name in ('int8', 'fp8') else 'bitsandbytes'
    try:
        import accelerate  # noqa: F401 transformers needs it
        importlib.import_module(library)
    except Exception as error:
        raise ModelNotReadyError(
            f"quantization '{name}' needs {library} and accelerate, and they cannot be imported "
            f"({first_line(error)}); run `pip install {library} accelerate`, or use 'none'"
        ) from error
    unchanged = ['model.visual', 'lm_head']
    if library == 'torchao':
        from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

        kind = Int8WeightOnlyConfig if name == 'int8' else Float8WeightOnlyConfig
        return transformers.TorchAoConfig(
            kind(set_inductor_config=False), modules_to_not_convert=unchanged)
    return transformers.BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_8bit=name == '8bit',
        load_in_4bit=name == '4bit',
        llm_int8_skip_modules=unchanged,
        bnb_4bit_quant_type='nf4',
        bnb_4bit_compute_dtype=dtype,
    )


def load_model(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    config: EngineConfig,
    quantization: Any,
    on_progress: OnProgress | None = None,
    cancelled: Cancelled | None = None,
) -> Any:
    """Read the weights onto the device.

    Raises:
        CancelledError: ``cancelled``, which is asked before each weight, said so.
        ModelNotReadyError: the checkpoint cannot be loaded.
        OutOfMemoryError: the weights do not fit into memory.
        DeviceLostError: the device has failed.

    """
    # accelerate reads them directly onto a GPU; without it they are in the host's memory first
    direct = quantization is not None or (
        device.type == 'cuda' and importlib.util.find_spec('accelerate') is not None
    )
    width = {'none': dtype.itemsize, '4bit': 0.5}.get(config.quantization, 1.0)
    if device.type == 'cuda':
        check_memory(checkpoint, width, torch.cuda.mem_get_info(device)[0], f'GPU {device}')
    if device.type == 'cpu' or not direct:
        check_memory(checkpoint, width, free_host_memory(), 'this machine')
    try:
        with _progress(on_progress, cancelled):
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
        model, report = loaded
        if not direct:
            model.to(device)
    except CancelledError:
        raise
    except Exception as error:
        if is_device_failure(error):
            check_device(device)
        raise _loading_failure(error, checkpoint, device, config) from error
    missing = sorted(report['missing_keys'])
    if missing:
        raise ModelNotReadyError(
            f'{checkpoint.directory} lacks {len(missing)} weights, the first is {missing[0]}, and '
            'transformers would have drawn them at random; download the model again'
        )
    return model


def _loading_failure(
    error: Exception, checkpoint: Checkpoint, device: torch.device, config: EngineConfig
) -> MimoError:
    """Convert an exception of transformers into the one that the caller gets."""
    if is_out_of_memory(error):
        return OutOfMemoryError(
            f'{device} ran out of memory while {checkpoint.name} was loaded '
            f'({first_line(error)}); end other programs that use it, or choose a device with more '
            'memory'
        )
    if config.attention != 'sdpa' and isinstance(error, (ImportError, ValueError)):
        return ModelNotReadyError(
            f"attention '{config.attention}' does not work here ({first_line(error)}); use 'sdpa'"
        )
    return ModelNotReadyError(
        f'{checkpoint.directory} cannot be loaded '
        f'({type(error).__name__}: {str(error)[:300]}); '
        'its config.json and weights may be of different versions, download them again'
    )


@contextlib.contextmanager
def _progress(on_progress: OnProgress | None, cancelled: Cancelled | None) -> Iterator[None]:
    """Report progress to ``on_progress`` instead of drawing bars into logs and answers.

    Between two weights ``cancelled`` is asked.
    """
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    set_hook = getattr(transformers.utils.logging, 'set_tqdm_hook', None)
    if set_hook is None:  # transformers 4 has no hook
        yield
        return

    def hook(factory: Callable[..., Any], args: Any, options: Any) -> Any:
        return _counted(args[0], on_progress, cancelled) if args else factory(*args, **options)

    previous = set_hook(hook)
    try:
        yield
    finally:
        set_hook(previous)


def _counted(
    items: Collection[Any], on_progress: OnProgress | None, cancelled: Cancelled | None
) -> Iterator[Any]:
    reported = begin = time.monotonic()
    for number, item in enumerate(items):
        if cancelled is not None and cancelled():
            msg = 'loading the model was stopped'
            raise CancelledError(msg)
        if on_progress is not None and time.monotonic() - reported >= _PROGRESS_S:
            reported = time.monotonic()
            on_progress(number / len(items))
        yield item
    if on_progress is not None and reported > begin:  # a quick load reports nothing
        on_progress(1.0)


def add_adapter(model: Any, adapter: Path, *, merge: bool) -> Any:
    """Add a LoRA adapter to a model.

    With ``merge`` it is added to the weights, so that it costs no time later; else it stays beside
    them, because quantized weights are too coarse to add it to.

    Raises:
        ModelNotReadyError: peft is not installed, or the adapter does not fit the model.
        OutOfMemoryError: there is too little memory.

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
            # what peft calls in transformers and how long that stays is no matter of users
            warnings.simplefilter('ignore', FutureWarning)
            # otherwise peft would ignore an adapter of another model
            warnings.filterwarnings('error', 'Found missing adapter keys')
            wrapped = peft.PeftModel.from_pretrained(
                model, str(adapter), key_mapping=_OLD_NAMES
            )
            if merge:
                return wrapped.merge_and_unload(safe_merge=True).eval()
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                f'there is too little memory for adapter {adapter} ({first_line(error)}); end '
                'other programs that use it'
            ) from error
        raise ModelNotReadyError(
            f'adapter {adapter} cannot be put on this model ({type(error).__name__}: '
            f'{str(error)[:300]}); give the model that it was trained on'
        ) from error
    return wrapped.get_base_model().eval()  # its layers hold the adapter


def read_stop_tokens(
    model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerBase
) -> frozenset[int]:
    """Return the tokens that end an answer: the checkpoint's and the tokenizer's.

    The checkpoint's other generation settings are ignored, because the vendor evaluated the model
    with greedy decoding.
    """
    tokens = model.generation_config.eos_token_id
    tokens = tokens if isinstance(tokens, list) else [tokens]
    return frozenset({*tokens, tokenizer.eos_token_id} - {None})
