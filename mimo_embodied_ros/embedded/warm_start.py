"""Begin with the weights of a trained embedded model, whose tokens may be other ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.engine.checkpoint import open_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

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

    Raises:
        ModelNotReadyError: it is not there, or incomplete.
        InvalidRequestError: its model has another shape.

    """
    directory = open_checkpoint(str(folder), download=False).directory
    trained = Qwen2_5_VLForConditionalGeneration.from_pretrained(directory, dtype=torch.float32)
    weights = trained.state_dict()
    shapes, others = ({name: value.shape[1:] if name in _TIED else value.shape
                       for name, value in state.items()} for state in (model.state_dict(), weights))
    if shapes != others:
        raise InvalidRequestError(
            f'the model in {folder} has another shape than the embedded model; give one that '
            'embedded.train has written')
    old = AutoTokenizer.from_pretrained(directory).backend_tokenizer
    rows = trained.lm_head.weight.detach()
    own = model.lm_head.weight.detach().clone()
    for token, place in tokenizer.get_vocab().items():
        known = old.token_to_id(token)
        parts = [known] if known is not None else old.encode(
            tokenizer.decode([place], skip_special_tokens=False), add_special_tokens=False).ids
        own[place] = rows[parts].mean(0)
    model.load_state_dict(weights | dict.fromkeys(_TIED, own))
