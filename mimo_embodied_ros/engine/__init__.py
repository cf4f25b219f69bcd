"""Run the model, in this process or on servers.

torch and transformers, or httpx2, are imported only when a model is loaded.
"""

from __future__ import annotations

from mimo_embodied_ros.core.errors import ModelNotReadyError
from mimo_embodied_ros.share import install_command

from .config import EngineConfig
from .early_end import Cancelled
from .interface import (
    DeviceLostError,
    Engine,
    GenerationStats,
    Grounding,
    GroundingError,
    GroundingState,
    MemoryUse,
    ModelInfo,
    OnProgress,
    OnText,
    Reply,
    ServerHealth,
)
from .libraries import hide_notes

__all__ = [
    'Cancelled',
    'DeviceLostError',
    'Engine',
    'EngineConfig',
    'GenerationStats',
    'Grounding',
    'GroundingError',
    'GroundingState',
    'MemoryUse',
    'ModelInfo',
    'OnProgress',
    'OnText',
    'Reply',
    'ServerHealth',
    'load_engine',
]


def load_engine(
    config: EngineConfig,
    on_progress: OnProgress | None = None,
    cancelled: Cancelled | None = None,
) -> Engine:
    """Load a model, or take the settings of its servers, and return the engine.

    Args:
        config: the model and how to load it.
        on_progress: called with the share of the weights that are loaded.
        cancelled: asked before each weight is loaded; transformers 4 does not ask.

    Raises:
        CancelledError: ``cancelled`` said so.
        InvalidRequestError: the smallest image area is above the largest.
        ModelNotReadyError: the model cannot be found, read or run here.
        OutOfMemoryError: the device has too little memory for the weights, or for the largest
            request.

    """
    if config.backend == 'openai':
        try:
            from .openai_engine import OpenAIEngine
        except ImportError as error:
            raise ModelNotReadyError(
                f'a model on servers needs httpx2, and it cannot be imported ({error}); '
                f'run `{install_command("remote")}`'
            ) from error
        return OpenAIEngine(config)

    hide_notes()  # some come as soon as transformers is imported
    try:
        from .transformers_engine import TransformersEngine
    except ImportError as error:
        raise ModelNotReadyError(
            'a model in this process needs torch and transformers, and they cannot be imported '
            f'({error}); run `{install_command("model")}`'
        ) from error

    return TransformersEngine(config, on_progress, cancelled)
