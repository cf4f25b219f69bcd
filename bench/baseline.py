"""The baseline of benchmarks and tests: plain ``generate`` of transformers for each question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import BatchFeature

    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.engine.processor import ImageTextProcessor


def plain_inputs(processor: ImageTextProcessor, prompt: Prompt) -> BatchFeature:
    """Return the inputs that the model's own processor makes from a prompt."""
    content = [*({'type': 'image'} for _ in prompt.images), {'type': 'text', 'text': prompt.text}]
    turn: Any = {'role': 'user', 'content': content}
    text = processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
    return processor(
        text=[text], images=list(prompt.images) or None, do_resize=False,
        input_data_format='channels_last', return_tensors='pt')


@torch.inference_mode()
def plain_generate(
    model: Any, processor: ImageTextProcessor, prompt: Prompt, max_new_tokens: int, **options: Any
) -> list[int]:
    """Return the tokens of a greedy answer; ``options`` are of ``generate``."""
    inputs = plain_inputs(processor, prompt).to(model.device)
    written = model.generate(
        **inputs, max_new_tokens=max_new_tokens, do_sample=False,
        pad_token_id=processor.tokenizer.pad_token_id, **options)
    return written[0, inputs['input_ids'].shape[1] :].tolist()  # type: ignore[no-any-return]
