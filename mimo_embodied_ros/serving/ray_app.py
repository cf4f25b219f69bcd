"""Replicas of the package's own engine on Ray Serve: ``serve run ray_serve.yaml``.

Ray starts replicas, starts them anew where one dies, and leads requests to them by the header
``X-Session-ID``; config/ray_serve.yaml has the settings.
"""

# FastAPI reads the annotations, and those that are strings are lost where Ray copies the methods
import dataclasses
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from ray import serve
from ray.serve import Application
from starlette.responses import Response

from mimo_embodied_ros.core.errors import InvalidRequestError, ModelNotReadyError
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.share import embedded_model

from .endpoint import Endpoint

_SETTINGS = {field.name for field in dataclasses.fields(EngineConfig)}
_api = FastAPI(openapi_url=None)


@serve.deployment
@serve.ingress(_api)
class Replica:
    """One engine with its endpoint, in a process of its own."""

    def __init__(self, model: str, settings: dict[str, Any]) -> None:
        """Load the model.

        Args:
            model: the name under which it is served; empty: its own.
            settings: fields of ``EngineConfig``.

        """
        self._engine = load_engine(EngineConfig(**settings))
        self._engine.warm_up()
        self._endpoint = Endpoint(self._engine, model or self._engine.info.name)

    def check_health(self) -> None:
        """Let Ray start another replica where this one can never answer again.

        Raises:
            ModelNotReadyError: it cannot.

        """
        if self._engine.lost:
            msg = 'the device of this replica failed permanently'
            raise ModelNotReadyError(msg)

    @_api.get('/health')
    async def health(self, request: Request) -> Response:
        """Say whether it can answer."""
        return await self._endpoint.health(request)

    @_api.get('/metrics')
    async def metrics(self, request: Request) -> Response:
        """Return the figures of the replica that was asked."""
        return await self._endpoint.metrics(request)

    @_api.get('/v1/models')
    async def models(self, request: Request) -> Response:
        """Return the list of the one model."""
        return await self._endpoint.models(request)

    @_api.post('/v1/chat/completions')
    async def complete(self, request: Request) -> Response:
        """Answer a chat completion request."""
        return await self._endpoint.complete(request)


def build(arguments: Mapping[str, Any]) -> Application:
    """Return the application, with the ``args`` of Ray's configuration.

    Args:
        arguments: fields of ``EngineConfig``, without ``model`` the embedded one, and
            ``served_model_name``.

    Raises:
        InvalidRequestError: there is no such field.

    """
    settings = dict(arguments)
    name = str(settings.pop('served_model_name', ''))
    if unknown := sorted(settings.keys() - _SETTINGS):
        msg = f'args has {", ".join(unknown)}; give fields of EngineConfig, or served_model_name'
        raise InvalidRequestError(msg)
    settings['model'] = settings.get('model') or embedded_model()
    EngineConfig(**settings)  # wrong values are found before Ray tries them again and again
    return Replica.bind(name, settings)  # type: ignore[attr-defined]
