"""What is sent to a server: the fields of a request, with its images."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mimo_embodied_ros.core.prompts import Prompt


def chat_request(model: str, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
    """Return the fields of a request without videos: the images without loss, then the text."""
    images = [{'type': 'image_url', 'image_url': {'url': f'data:image/png;base64,{png(pixels)}'}}
              for pixels in prompt.images]
    messages: list[dict[str, Any]] = [
        {'role': 'system', 'content': prompt.system}] if prompt.system else []
    messages.append({'role': 'user', 'content': [*images, {'type': 'text', 'text': prompt.text}]})
    begun: dict[str, Any] = {}
    if prompt.mode.prefill:  # vLLM and SGLang then let the model go on with its turn
        messages.append({'role': 'assistant', 'content': prompt.mode.prefill})
        begun = {'add_generation_prompt': False, 'continue_final_message': True}
    return {
        'model': model,
        'messages': messages,
        **begun,
        **prompt.mode.request,
        'max_tokens': max_tokens,
        'temperature': 0,
        'stream': True,
        'stream_options': {'include_usage': True},
    }


def png(pixels: NDArray[np.uint8]) -> str:
    """Encode an image without loss, in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'PNG', compress_level=1)
    return b64encode(file.getvalue()).decode('ascii')
