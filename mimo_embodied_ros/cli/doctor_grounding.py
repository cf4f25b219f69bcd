"""What ``doctor`` finds of a model that it asks: whether points are where things are."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import MimoError, ModelNotReadyError
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.engine.grounding_test import check_grounding
from mimo_embodied_ros.engine.grounding_verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mimo_embodied_ros.engine import Engine


def ask_model(
    model: str, url: str = '', api_key_env: str = '', min_pixels: int = 0, max_pixels: int = 0
) -> Iterator[tuple[str, bool, str]]:
    """Load a model, or find it on a server, and do the grounding test.

    Args:
        model: folder or hub name; of a server its name there, '': the only one that it has.
        url: of a server; '': the model runs in this process.
        api_key_env: name of the environment variable with the key of the server.
        min_pixels: area to which smaller images are enlarged; 0: the model's own.
        max_pixels: area to which larger images are reduced; 0: the model's own.

    Yields:
        What was checked, whether it is right, and what was found.

    """
    try:
        config = EngineConfig(
            model or 'unknown', min_pixels=min_pixels, max_pixels=max_pixels)
        if url:
            config = replace(config, backend='openai', servers=(url,), api_key_env=api_key_env)
            if not model:
                model = _only_model(url, os.environ.get(api_key_env, ''))
                config = replace(config, model=model)
        engine = load_engine(config)
    except MimoError as error:
        yield f'server {url}' if url else 'engine', False, str(error)
        return
    try:
        engine.warm_up()
        if url:
            yield f'server {url}', True, f'answers as {model}'
        yield from _ground(engine)
    except MimoError as error:
        yield f'server {url}' if url else 'grounding', False, str(error)
    finally:
        engine.close()


def _ground(engine: Engine) -> Iterator[tuple[str, bool, str]]:
    report = check_grounding(engine)
    for finding in report.findings:
        right = finding.verdict is Verdict.RIGHT
        yield f'grounding {finding.picture}', right, str(finding)
    yield 'grounding', report.right, report.sentence


def _only_model(url: str, key: str) -> str:
    """Return the name of the only model of a server.

    Raises:
        ModelNotReadyError: it cannot be asked, or does not have exactly one.

    """
    import httpx2  # which a robot with a model of its own need not have

    from mimo_embodied_ros.engine.openai_engine import base_url

    base = base_url(url)
    headers = {'Authorization': f'Bearer {key}'} if key else {}
    names: Any = None
    try:
        answer = httpx2.get(f'{base}/models', headers=headers, timeout=10.0, trust_env=False)
        names = [str(model['id']) for model in answer.json()['data']]
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError) as error:
        msg = (f'{base}/models does not say which model it has ({type(error).__name__}); see '
               'that the server runs and the URL ends as it says, mostly in /v1, or give --model')
        raise ModelNotReadyError(msg) from error
    if len(names) != 1:
        msg = f'{url} has {len(names)} models ({", ".join(names)}); name one of them with --model'
        raise ModelNotReadyError(msg)
    return str(names[0])
