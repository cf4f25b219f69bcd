"""Begin with the weights of a trained embedded model, whose tokens may be other ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer
from transformers import Qwen2_5_VLForConditionalGeneration

if TYPE_CHECKING:
    from pathlib import Path

_TIED = 'lm_head.weight', 'model.language_model.embed_tokens.weight'


def take_weights(
    model: Qwen2_5_VLForConditionalGeneration, tokenizer: Tokenizer, folder: Path
) -> None:
    """Copy the weights of the model in ``folder``, token by token where both know a token.

    A token that only the new tokenizer knows begins as the mean of those that the old one splits
    its text into.

    Args:
        model: model of the same shape; its weights are replaced.
        tokenizer: the tokenizer of ``model``.
        folder: folder of a trained model, as `untrained_model.save` writes it.

    """
    trained = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    old = Tokenizer.from_file(str(folder / 'tokenizer.json'))
    rows = trained.lm_head.weight.detach()
    own = model.lm_head.weight.detach().clone()
    for token, place in tokenizer.get_vocab().items():
        known = old.token_to_id(token)
        parts = [known] if known is not None else old.encode(
            tokenizer.decode([place], skip_special_tokens=False), add_special_tokens=False).ids
        own[place] = rows[parts].mean(0)
    model.load_state_dict(trained.state_dict() | dict.fromkeys(_TIED, own))
