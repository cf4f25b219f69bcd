"""The engine: runs the model. torch and transformers are imported when a model is loaded."""

from __future__ import annotations

from .interface import (
    Cancelled,
    Engine,
    EngineConfig,
    GenerationStats,
    ModelInfo,
    OnText,
    Reply,
)

__all__ = [
    'Cancelled',
    'Engine',
    'EngineConfig',
    'GenerationStats',
    'ModelInfo',
    'OnText',
    'Reply',
    'load_engine',
]


def load_engine(config: EngineConfig) -> Engine:
    """Load a model and return the engine that answers with it.

    Raises:
        InvalidRequestError: the smallest image area is above the largest.
        ModelNotReadyError: the model cannot be found, read or run here.
        OutOfMemoryError: the device has too little memory for the weights.

    """
    from .transformers_engine import TransformersEngine

    return TransformersEngine(config)
