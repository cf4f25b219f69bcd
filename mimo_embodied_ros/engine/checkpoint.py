"""Find a checkpoint and check its files, before the slow part of loading begins."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimo_embodied_ros.core.errors import ModelNotReadyError, OutOfMemoryError
from mimo_embodied_ros.core.files import expand, parse_json

ARCHITECTURE = 'Qwen2_5_VLForConditionalGeneration'
PUBLISHED_MODEL = 'XiaomiMiMo/MiMo-Embodied-7B'

_FLOATS = ('F64', 'F32', 'F16', 'BF16')
_HUB_NAME = re.compile(r'\w[\w.-]*/\w[\w.-]*')
_CGROUP = Path('/sys/fs/cgroup')


@dataclass(frozen=True)
class Checkpoint:
    """A model directory whose files are complete and readable.

    Attributes:
        name: name on the hub, or the name of the directory.
        directory: of its files.
        floats: number of weights that are floating point numbers of any width.
        other_bytes: size of all other tensors.

    """

    name: str
    directory: Path
    floats: int
    other_bytes: int

    def weight_bytes(self, float_bytes: float) -> int:
        """Return the size of the weights in memory if a float takes ``float_bytes`` bytes."""
        return int(self.floats * float_bytes) + self.other_bytes


def open_checkpoint(model: str, *, download: bool = True) -> Checkpoint:
    """Find a model and check its files.

    Args:
        model: a directory, or ``owner/name`` on the Hugging Face hub. A model in the hub's cache is
            used without access to the network; otherwise it is downloaded, unless the environment
            sets ``HF_HUB_OFFLINE``.
        download: False uses only the cache.

    Raises:
        ModelNotReadyError: the model does not exist, is incomplete or damaged, or is of another
            kind.

    """
    local = expand(model)
    if local.is_dir():
        name = local.resolve().name
        return _check(name, _Folder(local, PUBLISHED_MODEL, f' --local-dir {local}'))
    if local.exists():
        raise ModelNotReadyError(f'model {model} is a file; give the directory that it is in')
    if not _HUB_NAME.fullmatch(model):
        raise ModelNotReadyError(
            f'there is no model directory {local}; download one, for example with '
            f'`hf download {PUBLISHED_MODEL} --local-dir {local}`'
        )
    return _check(model, _Folder(_fetch(model, download=download), model))


def open_adapter(adapter: str) -> Path:
    """Find a LoRA adapter and check its files.

    Args:
        adapter: a directory, or ``owner/name`` on the hub, as for ``open_checkpoint``.

    Raises:
        ModelNotReadyError: the adapter does not exist, is incomplete or damaged, or is not LoRA.

    """
    local = expand(adapter)
    if not local.is_dir() and not _HUB_NAME.fullmatch(adapter):
        raise ModelNotReadyError(
            f'there is no adapter directory {local}; give the directory in which peft saved it'
        )
    path = local if local.is_dir() else _fetch(adapter, download=True)
    folder = _Folder(path, adapter)
    kind = folder.read_json('adapter_config.json').get('peft_type')
    if kind != 'LORA':
        raise ModelNotReadyError(f'{folder} is an adapter of kind {kind}; only LORA is supported')
    weights = 'adapter_model.safetensors'
    if not folder.has(weights):
        raise ModelNotReadyError(
            f'{folder} has no {weights}; other files of weights can run code and are not loaded. '
            'Where you trust them, load the adapter with peft and call save_pretrained'
        )
    _measure(folder, weights)
    return path


@dataclass(frozen=True)
class _Folder:
    """A model directory, and the command that downloads its files."""

    path: Path
    source: str
    option: str = ''

    def __str__(self) -> str:
        return str(self.path)

    def has(self, *files: str) -> bool:
        return all((self.path / file).is_file() for file in files)

    def command(self, *files: str) -> str:
        return f'`{" ".join(["hf download", self.source, *files])}{self.option}`'

    def read_json(self, file: str) -> dict[str, Any]:
        path = self.path / file
        try:
            content = parse_json(path.read_text(encoding='utf-8'))
        except FileNotFoundError:
            raise ModelNotReadyError(
                f'{self} has no {file}; get it with {self.command(file)}'
            ) from None
        except (OSError, ValueError) as error:
            raise ModelNotReadyError(
                f'{path} cannot be read ({first_line(error)}); get it again with '
                f'{self.command(file)}'
            ) from error
        if not isinstance(content, dict):
            raise ModelNotReadyError(
                f'{path} holds no JSON object; get it again with {self.command(file)}'
            )
        return content


def _fetch(model: str, *, download: bool) -> Path:
    """Return the directory of a hub model, from the cache or else from the network."""
    import huggingface_hub as hub

    try:
        return Path(hub.snapshot_download(model, local_files_only=True))
    except (hub.errors.LocalEntryNotFoundError, hub.errors.HFValidationError) as error:
        # not in the cache; a wrong name fails in the next call, too
        if not download:
            raise ModelNotReadyError(
                f"model '{model}' is no directory here and not in the hub's cache; get it with "
                f'`hf download {model}`'
            ) from error
    except RuntimeError as error:
        raise ModelNotReadyError(
            f"model '{model}' is no directory here, and the hub's cache is in the home folder of "
            'this user, which is not known; set HF_HOME, or give the directory'
        ) from error
    try:
        # No pickles: only safetensors are loaded.
        return Path(hub.snapshot_download(model, ignore_patterns=['*.bin', '*.pt', '*.pth']))
    except (hub.errors.HfHubHTTPError, OSError, ValueError) as error:
        raise ModelNotReadyError(
            f"model '{model}' is no directory here and not in the hub's cache, and could not be "
            f'downloaded ({first_line(error)}); where there is a network, run '
            f'`hf download {model} --local-dir DIRECTORY`, copy it here and give the directory'
        ) from error


def _check(name: str, folder: _Folder) -> Checkpoint:
    """Check the files of a model directory in the order in which loading reads them."""
    config = folder.read_json('config.json')
    architectures = config.get('architectures') or ['none named']
    if ARCHITECTURE not in architectures:
        raise ModelNotReadyError(
            f'{folder} is a model of class {", ".join(map(str, architectures))} '
            f'(model_type {config.get("model_type", "none")}); this engine runs {ARCHITECTURE}, '
            f'the class of {PUBLISHED_MODEL}'
        )

    if not folder.has('preprocessor_config.json'):
        raise ModelNotReadyError(
            f'{folder} has no preprocessor_config.json, which says how images are prepared. It '
            f'was missing from {PUBLISHED_MODEL} until April 2026, so copies made earlier lack '
            f'it; get it with {folder.command("preprocessor_config.json")}'
        )
    folder.read_json('preprocessor_config.json')

    tokenizer = folder.read_json('tokenizer_config.json')
    if not folder.has('tokenizer.json') and not folder.has('vocab.json', 'merges.txt'):
        raise ModelNotReadyError(
            f'{folder} has neither tokenizer.json nor vocab.json with merges.txt; get them with '
            f'{folder.command("tokenizer.json", "vocab.json", "merges.txt")}'
        )
    jinja, legacy = 'chat_template.jinja', 'chat_template.json'
    if not (tokenizer.get('chat_template') or folder.has(jinja) or folder.has(legacy)):
        raise ModelNotReadyError(
            f'{folder} has no chat template, neither in tokenizer_config.json nor as {jinja} or '
            f'{legacy}; get it with {folder.command(legacy)}'
        )

    sizes = [_measure(folder, file) for file in _weight_files(folder)]
    return Checkpoint(
        name, folder.path, sum(floats for floats, _ in sizes), sum(other for _, other in sizes)
    )


def _weight_files(folder: _Folder) -> list[str]:
    """Return the names of the safetensors files, all of which exist."""
    single, index = 'model.safetensors', 'model.safetensors.index.json'
    if folder.has(single):
        return [single]
    if folder.has(index):
        weight_map = folder.read_json(index).get('weight_map')
        if not isinstance(weight_map, dict) or not weight_map:
            raise ModelNotReadyError(
                f'{folder.path / index} names no weights; get it again with '
                f'{folder.command(index)}'
            )
        files = sorted({str(file) for file in weight_map.values()})
        missing = [file for file in files if not folder.has(file)]
        if missing:
            raise ModelNotReadyError(
                f'{folder} lacks {len(missing)} of its {len(files)} weight files, '
                f'{", ".join(missing)}; get them with {folder.command(*missing)}'
            )
        return files
    pickles = sorted(path.name for path in folder.path.glob('*.bin'))
    if pickles:
        raise ModelNotReadyError(
            f'{folder} has its weights as {", ".join(pickles)} only. Such files can run code and '
            'are not loaded; get the safetensors version, or make it: where you trust the file, '
            'load it with transformers and call save_pretrained'
        )
    raise ModelNotReadyError(
        f'{folder} has neither {single} nor {index}; get the weights with {folder.command()}'
    )


def _measure(folder: _Folder, name: str) -> tuple[int, int]:
    """Read a safetensors header; return the number of floats, and the bytes of other tensors."""
    from safetensors import SafetensorError, safe_open

    floats = other_bytes = 0
    try:
        # opening compares the header with the size of the file and reads no weights
        with safe_open(folder.path / name, framework='np') as file:
            for key in file.keys():
                part = file.get_slice(key)
                dtype, count = part.get_dtype(), math.prod(part.get_shape())
                if dtype in _FLOATS:
                    floats += count
                else:
                    bits = re.search(r'\d+', dtype)  # U8, I32, F8_E4M3; BOOL takes a byte
                    other_bytes += count * (int(bits.group()) if bits else 8) // 8
    except (SafetensorError, OSError) as error:
        path = folder.path / name
        raise ModelNotReadyError(
            f'{path} ({path.stat().st_size} bytes) is damaged or was not downloaded to its end '
            f'({first_line(error)}); delete it and get it again with {folder.command(name)}'
        ) from error
    return floats, other_bytes


def check_memory(checkpoint: Checkpoint, float_bytes: float, free: int, where: str) -> None:
    """Refuse a model whose weights do not fit into memory; answers need some more.

    Raises:
        OutOfMemoryError: the message has the needed and the free bytes.

    """
    needed = checkpoint.weight_bytes(float_bytes)
    if needed > free:
        raise OutOfMemoryError(
            f'the weights of {checkpoint.name} need {needed / 1e9:.1f} GB and {where} has '
            f'{free / 1e9:.1f} GB free; end other programs that use it, choose a device with more '
            "memory, or use dtype 'bfloat16' if it is 'float32' now"
        )


def free_host_memory() -> int:
    """Return the bytes that machine and container leave for this process."""
    meminfo = Path('/proc/meminfo').read_text(encoding='ascii')
    available = re.search(r'^MemAvailable:\s+(\d+) kB$', meminfo, re.MULTILINE)
    if available is None:
        raise OutOfMemoryError('/proc/meminfo has no MemAvailable; use Linux 3.14 or newer')
    free = int(available.group(1)) * 1024
    try:
        limit = int((_CGROUP / 'memory.max').read_text())
        used = int((_CGROUP / 'memory.current').read_text())
        stat = (_CGROUP / 'memory.stat').read_text()
    except (OSError, ValueError):  # no container, or one without a limit ('max')
        return free
    # the page cache is freed when memory is short
    cache = re.search(r'^inactive_file (\d+)$', stat, re.MULTILINE)
    return min(free, limit - used + (int(cache.group(1)) if cache else 0))


def first_line(error: BaseException) -> str:
    """Return the first line of an error, without the C++ stack trace that PyTorch adds."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
