"""Checkpoints with random weights, for shapes without a trained model."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from mimo_embodied_ros.core.resize import FACTOR
from mimo_embodied_ros.share import embedded_model

_SHARD_BYTES = 4 * 10**9
_MAX_TOKENS = 4096  # most tokens of an image, as in MiMo-Embodied
_OTHERS = ('generation_config.json', 'tokenizer.json', 'vocab.json', 'merges.txt',
           'chat_template.json')
_CHANGED = 'config.json', 'preprocessor_config.json', 'tokenizer_config.json'

Shape = dict[str, Any]


def write_checkpoint(
    folder: Path, shape: Shape, vision: Shape, *, dtype: torch.dtype = torch.bfloat16,
    device: str = 'cpu',
) -> None:
    """Write a model of another shape with the embedded model's tokenizer and processor.

    Its answers mean nothing, but they differ from token to token and from image to image.

    Args:
        folder: the model's folder; it is created.
        shape: entries of config.json that replace the embedded model's.
        vision: entries of its ``vision_config`` that replace the embedded model's.
        dtype: type of the weights.
        device: device on which the weights are drawn.

    Raises:
        OSError: the disk has too little space.

    """
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(embedded_model())
    for name in _OTHERS:
        shutil.copy(source / name, folder / name)
    config, images, tokens = (
        json.loads((source / name).read_text('utf-8')) for name in _CHANGED)
    config |= {'tie_word_embeddings': False, **shape}
    config['vision_config'] |= vision
    least, most = 4 * FACTOR**2, _MAX_TOKENS * FACTOR**2
    images |= {'min_pixels': least, 'max_pixels': most,
               'size': {'shortest_edge': least, 'longest_edge': most}}
    tokens['model_max_length'] = config['max_position_embeddings']
    for name, content in zip(_CHANGED, (config, images, tokens), strict=True):
        (folder / name).write_text(json.dumps(content), 'utf-8')
    with torch.device('meta'):
        shapes = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**config)).state_dict()
    needed = dtype.itemsize * sum(tensor.numel() for tensor in shapes.values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        msg = f'{needed / 1e9:.0f} GB of weights do not fit into {folder}: {free / 1e9:.0f} GB free'
        raise OSError(msg)
    _write_weights(folder, shapes, dtype, device, [config['eos_token_id'], config['pad_token_id']])


def _write_weights(
    folder: Path, shapes: dict[str, torch.Tensor], dtype: torch.dtype, device: str, ends: list[int]
) -> None:
    torch.manual_seed(0)
    files: dict[str, str] = {}
    part: dict[str, torch.Tensor] = {}
    total = 0
    for number, (name, shape) in enumerate(shapes.items(), 1):
        part[name] = _draw(name, shape.shape, dtype, device).cpu()
        if name == 'lm_head.weight':
            part[name][ends] = 0  # so that no answer ends by chance
        total += part[name].nbytes
        if number == len(shapes) or sum(w.nbytes for w in part.values()) > _SHARD_BYTES:
            file = f'model-{number:05d}.safetensors'
            save_file(part, folder / file, {'format': 'pt'})
            files |= dict.fromkeys(part, file)
            part = {}
    index = {'metadata': {'total_size': total}, 'weight_map': files}
    (folder / 'model.safetensors.index.json').write_text(json.dumps(index), 'utf-8')


def _draw(name: str, shape: torch.Size, dtype: torch.dtype, device: str) -> torch.Tensor:
    """Draw weights that keep the scale of a layer's input; norms are the identity."""
    if len(shape) == 1:
        value = 1.0 if name.endswith('weight') else 0.0
        return torch.full(shape, value, dtype=dtype, device=device)
    width = 1.0 if 'embed_tokens' in name else 1 / math.sqrt(math.prod(shape[1:]))
    return torch.empty(shape, dtype=dtype, device=device).normal_(std=width)
