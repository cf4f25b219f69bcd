"""A new, untrained embedded model, and its folder in the layout of the published checkpoints."""

from __future__ import annotations

import functools
import itertools
import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from mimo_embodied_ros.core.resize import FACTOR, PixelLimits
from mimo_embodied_ros.worlds import road_scene, table_clip, table_scene
from mimo_embodied_ros.worlds.room_scene import RoomScene
from mimo_embodied_ros.worlds.things import MOVABLE, ROOM_SHAPES, SHAPES

from . import clip_questions, plan_questions, road_questions, room_questions, table_questions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMITS = PixelLimits(min_pixels=25 * FACTOR**2, max_pixels=49 * FACTOR**2)
SYSTEM = 'You are MiMo, an AI assistant developed by Xiaomi.'
CONTEXT = 4096
TOKENS_PER_SECOND = 2  # positions of a video in a second
IMAGE_MEAN = [0.48145466, 0.4578275, 0.40821073]  # Qwen2.5-VL's, red, green, blue
IMAGE_STD = [0.26862954, 0.26130258, 0.27577711]
_VOCABULARY = 744  # with the control tokens a multiple of 64, nearly
_PAD, _END = '<|endoftext|>', '<|im_end|>'
# The control tokens of Qwen2.5 in the order of their ids; those in _ADDED are not special there.
_SPECIAL = (
    _PAD, '<|im_start|>', _END, '<|object_ref_start|>', '<|object_ref_end|>', '<|box_start|>',
    '<|box_end|>', '<|quad_start|>', '<|quad_end|>', '<|vision_start|>', '<|vision_end|>',
    '<|vision_pad|>', '<|image_pad|>', '<|video_pad|>',
)
_ADDED = (
    '<tool_call>', '</tool_call>', '<|fim_prefix|>', '<|fim_middle|>', '<|fim_suffix|>',
    '<|fim_pad|>', '<|repo_name|>', '<|file_sep|>',
)
# How Qwen2 splits text before merges: single digits, words with their space, runs of other signs.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r'|\s*[\r\n]+|\s+(?!\S)|\s+'
)
# Renders ChatML with images and videos in their places, as Qwen2.5-VL's template does.
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    '<|im_start|>system\n' + SYSTEM + '<|im_end|>\n{% endif %}'
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' or 'image_url' in part %}"
    '<|vision_start|><|image_pad|><|vision_end|>'
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    '{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
)


def _corpus(seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    for number in range(1200):
        if number % 6 == 0:
            road = road_scene.draw_road(rng, 112, 112)
            questions = [*road_questions.about_road(rng, road), road_questions.drive(rng, road),
                     road_questions.critical_objects(road)]
            if number % 12 == 0:
                moment = road_scene.draw_surround(rng, 28, 28)
                questions += [*road_questions.about_surround(rng, moment),
                              road_questions.drive(rng, moment)]
        elif number % 12 == 2:
            room = _as_room(table_scene.draw_table(rng, 112, 112))
            questions = room_questions.questions(rng, room, 2, 'any')
            questions += room_questions.questions(rng, room, 1, 'plan')
        else:
            table = table_scene.draw_table(rng, 112, 112)
            if number % 6 == 1:
                table = _as_rendered(rng, table)
            stream = table_questions.about_table(rng, table)
            questions = [next(stream) for _ in range(8)]
            if number % 24 == 1:
                clip = table_clip.draw_clip(rng, 112, 112)
                questions += [q for ask in 4 * clip_questions.MAKERS if (q := ask(rng, clip))]
            questions += [p for p in (plan_questions.plan(rng, table),) if p]
        for question in questions:
            yield question.prompt(thinking=rng.random() < 0.5)
            yield question.reply(thinking=True)
            yield question.text
            yield question.short
    for _ in range(200):
        yield f'system\n{SYSTEM}'
        yield 'user\n'
        yield 'assistant\n'


def _as_rendered(rng: random.Random, table: table_scene.Table) -> table_scene.Table:
    """Return a drawn table as if it were rendered, for the words of questions about such."""
    things = [table_scene.SeenThing(t.colour, t.shape, t.x, t.y, t.radius, '', t.box,
                                    (t.x / 100, t.y / 100, 0.03)) for t in table.things]
    holders = [f'{SHAPES[t.shape].holds} the {t.name}' for t in things if SHAPES[t.shape].holds]
    place = rng.choice(['held', *holders])
    things = [replace(t, place=place if t.shape in MOVABLE and i == 0 else '')
              for i, t in enumerate(things)]
    return replace(table, things=tuple(things), rendered=True, gripper=True, free=(56.0, 56.0))


def _as_room(table: table_scene.Table) -> RoomScene:
    """Return a drawn table as if it were a rendered room, for the words of questions about such."""
    shapes = itertools.cycle(ROOM_SHAPES)
    things = {t.name: t for t in (
        table_scene.SeenThing(t.colour, next(shapes), t.x, t.y, t.radius, '', t.box,
                              (t.y / 30, 0.0, 0.2)) for t in table.things)}
    return RoomScene(table.pixels, tuple(things.values()), 0.0, rendered=True)


@functools.cache
def new_tokenizer(seed: int = 0) -> Tokenizer:
    """Train a byte-level BPE on the questions and answers; any text survives the round trip."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_SPLIT), 'isolated', invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(seed), trainer)
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.add_tokens(list(_ADDED))
    return tokenizer


def _config(tokenizer: Tokenizer) -> dict[str, Any]:
    """config.json in the flat layout of the published checkpoints, which all versions read."""
    ids = {t: tokenizer.token_to_id(t) for t in _SPECIAL}
    return {
        'architectures': ['Qwen2_5_VLForConditionalGeneration'],
        'model_type': 'qwen2_5_vl',
        'vocab_size': -(-tokenizer.get_vocab_size() // 64) * 64,
        'hidden_size': 192,
        'intermediate_size': 512,
        'num_hidden_layers': 4,
        'num_attention_heads': 6,
        'num_key_value_heads': 2,
        'max_window_layers': 4,
        'max_position_embeddings': CONTEXT,
        'use_sliding_window': False,
        'sliding_window': CONTEXT,
        'hidden_act': 'silu',
        'attention_dropout': 0.0,
        'initializer_range': 0.02,
        'rms_norm_eps': 1e-6,
        'use_cache': True,
        'tie_word_embeddings': True,
        # An answer finds a name some sixty tokens back by its content: low frequencies are needed.
        'rope_theta': 1000.0,
        'rope_scaling': {'type': 'mrope', 'mrope_section': [4, 6, 6]},
        'bos_token_id': ids[_PAD],
        'eos_token_id': ids[_END],
        'pad_token_id': ids[_PAD],
        'image_token_id': ids['<|image_pad|>'],
        'video_token_id': ids['<|video_pad|>'],
        'vision_start_token_id': ids['<|vision_start|>'],
        'vision_end_token_id': ids['<|vision_end|>'],
        'vision_token_id': ids['<|vision_pad|>'],
        'torch_dtype': 'bfloat16',
        'vision_config': {
            'model_type': 'qwen2_5_vl',
            'depth': 4,
            'hidden_size': 128,
            'intermediate_size': 384,
            'num_heads': 4,
            'in_chans': 3,
            'in_channels': 3,
            'patch_size': 14,
            'spatial_patch_size': 14,
            'spatial_merge_size': 2,
            'temporal_patch_size': 2,
            'tokens_per_second': TOKENS_PER_SECOND,
            'window_size': 112,
            'fullatt_block_indexes': [0, 1, 2, 3],
            'out_hidden_size': 192,
            'hidden_act': 'silu',
        },
    }


def new_model(tokenizer: Tokenizer, seed: int = 0) -> Qwen2_5_VLForConditionalGeneration:
    """Make the untrained network, float32."""
    torch.manual_seed(seed)
    config = Qwen2_5_VLConfig(**_config(tokenizer))
    return Qwen2_5_VLForConditionalGeneration(config).float()


def save(model: Qwen2_5_VLForConditionalGeneration, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a folder for ``from_pretrained``: bfloat16 safetensors and the published file set."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.to(torch.bfloat16) for k, v in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=weights)
    (folder / 'model.safetensors').chmod(0o644)  # readable by others, as the other files
    config = _config(tokenizer)
    added = {
        str(tokenizer.token_to_id(t)): {
            'content': t, 'lstrip': False, 'normalized': False, 'rstrip': False,
            'single_word': False, 'special': t in _SPECIAL,
        }
        for t in (*_SPECIAL, *_ADDED)
    }
    files: dict[str, Any] = {
        'config.json': config,
        'generation_config.json': {
            'bos_token_id': config['bos_token_id'],
            'eos_token_id': [config['eos_token_id'], config['pad_token_id']],
            'pad_token_id': config['pad_token_id'],
            'do_sample': False,
        },
        'preprocessor_config.json': {
            'image_processor_type': 'Qwen2VLImageProcessor',
            'processor_class': 'Qwen2_5_VLProcessor',
            'min_pixels': LIMITS.min_pixels,
            'max_pixels': LIMITS.max_pixels,
            'size': {'shortest_edge': LIMITS.min_pixels, 'longest_edge': LIMITS.max_pixels},
            'patch_size': 14,
            'temporal_patch_size': 2,
            'merge_size': 2,
            'image_mean': IMAGE_MEAN,
            'image_std': IMAGE_STD,
        },
        'chat_template.json': {'chat_template': CHAT_TEMPLATE},
        'tokenizer_config.json': {
            'tokenizer_class': 'Qwen2Tokenizer',
            'processor_class': 'Qwen2_5_VLProcessor',
            'add_bos_token': False,
            'add_prefix_space': False,
            'added_tokens_decoder': added,
            'additional_special_tokens': list(_SPECIAL[1:]),
            'bos_token': None,
            'chat_template': CHAT_TEMPLATE,
            'clean_up_tokenization_spaces': False,
            'eos_token': _END,
            'errors': 'replace',
            'model_max_length': CONTEXT,
            'pad_token': _PAD,
            'split_special_tokens': False,
            'unk_token': None,
        },
    }
    tokenizer.save(str(folder / 'tokenizer.json'))
    model_part = json.loads(tokenizer.to_str())['model']
    files['vocab.json'] = model_part['vocab']
    merges = [m if isinstance(m, str) else ' '.join(m) for m in model_part['merges']]
    (folder / 'merges.txt').write_text('#version: 0.2\n' + '\n'.join(merges) + '\n', 'utf-8')
    for name, content in files.items():
        text = json.dumps(content, indent=2, ensure_ascii=False)
        (folder / name).write_text(text + '\n', 'utf-8')
