"""What a server says about its models, at ``/v1/models``."""

from __future__ import annotations

from typing import Any


def model_names(models: Any) -> tuple[str, ...]:
    """Return the names of the models; none where the list cannot be read.

    Args:
        models: what ``/v1/models`` answers; None where it answers nothing that can be read.

    """
    return tuple(_by_name(models))


def context_length(models: Any, name: str) -> int:
    """Return the most tokens of prompt and answer together; 0 where the server does not say.

    vLLM and SGLang say it as ``max_model_len``; of a LoRA adapter vLLM says it at its parent.

    Args:
        models: as in `model_names`.
        name: of the model that is asked.

    """
    known = _by_name(models)
    model = known.get(name, {})
    for said in (model, known.get(str(model.get('parent')), {})):
        length = said.get('max_model_len')
        if type(length) is int and length > 0:
            return length
    return 0


def _by_name(models: Any) -> dict[str, dict[str, Any]]:
    try:
        return {str(model['id']): model for model in models['data'] if isinstance(model, dict)}
    except (KeyError, TypeError):
        return {}
