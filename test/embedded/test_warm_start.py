"""A training that begins with the weights of a trained model."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from tokenizers import Tokenizer
from transformers import Qwen2_5_VLForConditionalGeneration

from mimo_embodied_ros.core.errors import InvalidRequestError, ModelNotReadyError
from mimo_embodied_ros.embedded import curriculum, train, untrained_model, warm_start
from support.paths import EMBEDDED_MODEL

if TYPE_CHECKING:
    from pathlib import Path


def test_weights_are_taken_and_tokens_are_matched_by_their_text(tmp_path: Path) -> None:
    tokenizer = untrained_model.new_tokenizer(1)
    trained = untrained_model.new_model(tokenizer, seed=5)
    untrained_model.save(trained, tokenizer, tmp_path)
    trained = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32)
    old = Tokenizer.from_file(str(tmp_path / 'tokenizer.json'))
    other = untrained_model.new_tokenizer(2)
    model = untrained_model.new_model(other)
    warm_start.take_weights(model, other, tmp_path)
    rows, own = trained.lm_head.weight, model.lm_head.weight
    new = 0
    for token, place in other.get_vocab().items():
        known = old.token_to_id(token)
        if known is None:
            new += 1
            parts = old.encode(other.decode([place])).ids
            torch.testing.assert_close(own[place], rows[parts].mean(0))
        else:
            assert torch.equal(own[place], rows[known])
    assert new
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight
    for name, weights in trained.model.visual.state_dict().items():
        assert torch.equal(model.model.visual.state_dict()[name], weights), name


def test_what_is_no_model_or_another_one_is_refused(tmp_path: Path) -> None:
    tokenizer = untrained_model.new_tokenizer(1)
    model = untrained_model.new_model(tokenizer)
    with pytest.raises(ModelNotReadyError, match='there is no model directory'):
        warm_start.take_weights(model, tokenizer, tmp_path / 'none')
    config = model.config.get_text_config()
    config.intermediate_size //= 2
    Qwen2_5_VLForConditionalGeneration(model.config).save_pretrained(tmp_path)
    for file in ('tokenizer.json', 'tokenizer_config.json', 'preprocessor_config.json'):
        shutil.copy(EMBEDDED_MODEL / file, tmp_path)
    with pytest.raises(InvalidRequestError, match='another shape'):
        warm_start.take_weights(model, tokenizer, tmp_path)
    (tmp_path / 'tokenizer.json').unlink()
    with pytest.raises(ModelNotReadyError, match=r'tokenizer\.json'):
        warm_start.take_weights(model, tokenizer, tmp_path)


def test_the_heads_learn_first_while_the_model_stays_as_it_is(tmp_path: Path) -> None:
    training = train.Training(tmp_path, seed=1, stages=curriculum.STAGES_OF_TRAINED)
    heads = training.stages[0]
    before = {n: v.clone() for n, v in training.learnt.state_dict().items()}
    training.train_step(heads, {})
    after = training.learnt.state_dict()
    changed = {n for n, v in before.items() if not torch.equal(v, after[n])}
    assert changed
    assert all(name.startswith('1.') for name in changed), changed  # the heads
