"""The engine: runs the model, in this process or on servers.

torch and transformers, or openai, are imported when a model is loaded.
"""

from __future__ import annotations

from mimo_embodied_ros.core.errors import ModelNotReadyError

from .interface import (
    Cancelled,
    Engine,
    EngineConfig,
    GenerationStats,
    MemoryUse,
    ModelInfo,
    OnProgress,
    OnText,
    Reply,
    ServerHealth,
)

__all__ = [
    'Cancelled',
    'Engine',
    'EngineConfig',
    'GenerationStats',
    'MemoryUse',
    'ModelInfo',
    'OnProgress',
    'OnText',
    'Reply',
    'ServerHealth',
    'load_engine',
]


def load_engine(config: EngineConfig, on_progress: OnProgress | None = None) -> Engine:
    """Load a model, or find its servers' settings, and return the engine that answers with it.

    Args:
        config: the model and how to load it.
        on_progress: told now and then how far the weights are.

    Raises:
        InvalidRequestError: the smallest image area is above the largest.
        ModelNotReadyError: the model cannot be found, read or run here.
        OutOfMemoryError: the device has too little memory for the weights.

    """
    if config.backend == 'openai':
        try:
            from .openai_engine import OpenAIEngine
        except ImportError as error:
            raise ModelNotReadyError(
                f'a model on servers needs the openai client, and it cannot be imported ({error}); '
                'run `pip install "mimo_embodied_ros[remote]"`'
            ) from error
        return OpenAIEngine(config)

    try:
        from .transformers_engine import TransformersEngine
    except ImportError as error:
        raise ModelNotReadyError(
            'a model in this process needs torch and transformers, and they cannot be imported '
            f'({error}); run `pip install "mimo_embodied_ros[model]"`'
        ) from error

    return TransformersEngine(config, on_progress)
