"""What ``doctor`` finds of a model that it asks: whether points are where things are."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import MimoError, ModelNotReadyError
from mimo_embodied_ros.engine import load_engine
from mimo_embodied_ros.engine.grounding_test import check_grounding
from mimo_embodied_ros.engine.grounding_verdict import Verdict

from .model_options import engine_config

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mimo_embodied_ros.engine import Engine, EngineConfig


def ask_models(options: argparse.Namespace) -> Iterator[tuple[str, bool, str]]:
    """Load a model, or find it on each server, and do the grounding test.

    Args:
        options: of ``doctor``.

    Yields:
        What was checked, whether it is right, and what was found.

    """
    for url in options.url or ('',):
        name = f'server {url}' if url else 'engine'
        try:
            engine = load_engine(_config(options, url))
        except MimoError as error:
            yield name, False, str(error)
            continue
        try:
            engine.warm_up()
            if url:
                yield name, True, f'answers as {engine.info.name}'
            yield from _ground(engine)
        except MimoError as error:
            yield name, False, str(error)
        finally:
            engine.close()


def _config(options: argparse.Namespace, url: str) -> EngineConfig:
    """Return the configuration of a model in this process, or on a server with this URL."""
    one = copy.copy(options)
    one.url = [url] if url else []
    if url and not options.model:
        one.model = _only_model(url, options.api_key_env)
    return engine_config(one)


def _ground(engine: Engine) -> Iterator[tuple[str, bool, str]]:
    report = check_grounding(engine)
    for finding in report.findings:
        right = finding.verdict is Verdict.RIGHT
        yield f'grounding {finding.picture}', right, str(finding)
    yield 'grounding', report.right, report.sentence


def _only_model(url: str, api_key_env: str) -> str:
    """Return the name of the only model of a server.

    Raises:
        MimoError: it cannot be asked, or does not have exactly one.

    """
    # httpx2, which a robot with a model of its own need not have
    from mimo_embodied_ros.engine.openai_engine import served_models

    names = served_models(url, api_key_env)
    if len(names) != 1:
        listed = f' ({", ".join(names)})' * bool(names)
        msg = f'{url} lists {len(names)} models{listed}; name one with --model'
        raise ModelNotReadyError(msg)
    return names[0]
