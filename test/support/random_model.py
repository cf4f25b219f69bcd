"""A small model of the real class with random weights, in a folder as the published one's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from support.prompts import LIMITS

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = 512  # tokens
CONTROL_TOKENS = (
    '<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|vision_start|>', '<|vision_end|>',
    '<|vision_pad|>', '<|image_pad|>', '<|video_pad|>',
)
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    '<|im_start|>system\nYou are a test.<|im_end|>\n{% endif %}'
    "<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
)


def make_tokenizer() -> Qwen2Tokenizer:
    """Byte-level BPE, so that a random model writes half characters too."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(['the red cube, the blue bowl: où est la tasse ? 机器人'] * 9, trainer)
    names = {
        'eos_token': CONTROL_TOKENS[2],
        'pad_token': CONTROL_TOKENS[0],
        'additional_special_tokens': list(CONTROL_TOKENS),
    }
    if transformers.__version__ < '5':
        return transformers.Qwen2TokenizerFast(tokenizer_object=bpe, **names)
    learnt = json.loads(bpe.to_str())['model']
    merges = [tuple(merge) for merge in learnt['merges']]
    return Qwen2Tokenizer(vocab=learnt['vocab'], merges=merges, **names)


def control_ids(tokenizer: Qwen2Tokenizer) -> dict[str, int]:
    """Return the ids of the control tokens as a configuration names them."""
    names = {
        'image_token_id': '<|image_pad|>', 'video_token_id': '<|video_pad|>',
        'vision_start_token_id': '<|vision_start|>', 'vision_end_token_id': '<|vision_end|>',
    }
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}


def make_model(tokenizer: Qwen2Tokenizer, seed: int) -> Qwen2_5_VLForConditionalGeneration:
    """A network whose answers vary from token to token and from image to image."""
    torch.manual_seed(seed)
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config={
                'vocab_size': len(tokenizer),
                'hidden_size': 64,
                'intermediate_size': 128,
                'num_hidden_layers': 2,
                'num_attention_heads': 4,
                'num_key_value_heads': 2,
                'max_position_embeddings': CONTEXT,
                'rope_theta': 100.0,
                'rope_scaling': {'type': 'mrope', 'mrope_section': [2, 3, 3]},
                'initializer_range': 0.3,
                'eos_token_id': tokenizer.convert_tokens_to_ids('<|im_end|>'),
                'pad_token_id': tokenizer.convert_tokens_to_ids('<|endoftext|>'),
            },
            vision_config={
                'depth': 2,
                'hidden_size': 32,
                'intermediate_size': 64,
                'num_heads': 2,
                'out_hidden_size': 64,
                'fullatt_block_indexes': [1],
                'window_size': 112,
                'tokens_per_second': 2,
                'initializer_range': 0.3,
            },
            **control_ids(tokenizer),
        )
    ).eval()


def save_processor(folder: Path, tokenizer: Qwen2Tokenizer) -> None:
    """Write tokenizer, template and limits to files of their own, as they are published."""
    tokenizer.save_pretrained(folder)
    (folder / 'chat_template.jinja').unlink(missing_ok=True)
    (folder / 'chat_template.json').write_text(json.dumps({'chat_template': CHAT_TEMPLATE}))
    (folder / 'preprocessor_config.json').write_text(json.dumps({
        'image_processor_type': 'Qwen2VLImageProcessor', 'processor_class': 'Qwen2_5_VLProcessor',
        'min_pixels': LIMITS.min_pixels, 'max_pixels': LIMITS.max_pixels, 'patch_size': 14,
        'temporal_patch_size': 2, 'merge_size': 2, 'image_mean': [0.5, 0.5, 0.5],
        'image_std': [0.25, 0.25, 0.25]}))


def save_random_model(folder: Path) -> None:
    """Write a model directory."""
    tokenizer = make_tokenizer()
    make_model(tokenizer, 3).save_pretrained(folder)
    config = json.loads((folder / 'config.json').read_text())
    config['architectures'] = ['Qwen2_5_VLForConditionalGeneration']  # 4.57 leaves it out
    (folder / 'config.json').write_text(json.dumps(config))
    save_processor(folder, tokenizer)
