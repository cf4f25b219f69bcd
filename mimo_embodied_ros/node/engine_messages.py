"""Messages about the engine: which model is loaded, and what an answer cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros import msg as interfaces
from mimo_embodied_ros.ros.messages import duration, sendable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mimo_embodied_ros.engine import Grounding, ModelInfo, Reply

    from .settings import Settings


def fill_stats(
    message: interfaces.GenerationStats, model: ModelInfo, replies: Sequence[Reply]
) -> None:
    """Fill in what the engine knows of an answer's cost; the node adds its own times.

    A request that became several questions has the sum of their costs, and the time of the first
    question's first token.
    """
    message.model, message.backend = model.name, model.backend
    preprocess_s = total_s = 0.0
    for reply in replies:
        stats = reply.stats
        message.prompt_tokens += stats.prompt_tokens
        message.image_tokens += stats.image_tokens
        message.reused_tokens += stats.reused_tokens
        message.completion_tokens += stats.completion_tokens
        preprocess_s += stats.preprocess_s
        total_s += stats.total_s
        message.attempts = max(message.attempts, reply.attempts)
    first = replies[0].stats
    message.preprocess_time = duration(preprocess_s)
    message.first_token_time = duration(max(0.0, first.first_token_s - first.preprocess_s))
    message.generation_time = duration(total_s)
    message.finish_reason = replies[-1].finish_reason


def model_message(model: ModelInfo, grounding: Grounding) -> Any:
    """The message about the model that is loaded, and what its grounding test found."""
    return sendable(interfaces.ModelInfo(
        name=model.name, architecture=model.architecture, backend=model.backend,
        device=model.device, dtype=model.dtype, parameters=model.parameters,
        min_pixels=model.min_pixels, max_pixels=model.max_pixels,
        context_length=model.context_length, deterministic=model.deterministic,
        profile=model.profile, takes_video=model.takes_video,
        grounding=int(grounding.state), grounding_report=grounding.report))


def videos_refused(model: ModelInfo, settings: Settings) -> str:
    """Which tasks cannot be asked since the model takes no videos; empty where no camera cares."""
    if model.takes_video or not any(camera.clip_frames for camera in settings.cameras):
        return ''
    tasks = ', '.join(name for name, task in settings.tasks.items() if task.media.is_video)
    why = f' ({model.video_problem})' if model.video_problem else ''
    return (f'the model takes no videos{why}: {tasks} are refused; serve a model that takes them '
            'as docs/remote.md says')
