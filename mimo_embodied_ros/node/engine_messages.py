"""Messages about the engine: which model is loaded, and what an answer cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros import msg as interfaces
from mimo_embodied_ros.ros.messages import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mimo_embodied_ros.engine import ModelInfo, Reply


def fill_stats(
    message: interfaces.GenerationStats, model: ModelInfo, replies: Sequence[Reply]
) -> None:
    """Note what an answer cost, as far as the engine knows; the node adds its own times.

    A request that became several questions counts them all; its first token is the first one's.
    """
    stats = [reply.stats for reply in replies]
    message.model, message.backend = model.name, model.backend
    for name in ('prompt_tokens', 'image_tokens', 'reused_tokens', 'completion_tokens'):
        setattr(message, name, sum(getattr(s, name) for s in stats))
    message.preprocess_time = duration(sum(s.preprocess_s for s in stats))
    message.first_token_time = duration(max(0.0, stats[0].first_token_s - stats[0].preprocess_s))
    message.generation_time = duration(sum(s.total_s for s in stats))
    message.finish_reason = replies[-1].finish_reason


def model_message(model: ModelInfo) -> Any:
    """What is loaded."""
    return interfaces.ModelInfo(
        name=model.name, architecture=model.architecture, backend=model.backend,
        device=model.device, dtype=model.dtype, parameters=model.parameters,
        min_pixels=model.min_pixels, max_pixels=model.max_pixels,
        context_length=model.context_length)
