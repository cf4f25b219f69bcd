"""``serve-openai``: the package's own engine behind OpenAI's chat interface."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.share import embedded_model, import_extra

from .model_options import add_quantization
from .output import model_argument

if TYPE_CHECKING:
    import argparse


def add_commands(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        'serve-openai', help="serve the model with OpenAI's interface",
        description="Serve the model with OpenAI's chat interface at /v1, for nodes with "
                    'backend: openai. /health says whether it can answer, /metrics has figures '
                    'for Prometheus. docs/fleet.md tells more.',
        epilog='example: mimo-embodied serve-openai --port 8001')
    command.add_argument('--model', type=model_argument, default='', metavar='FOLDER_OR_NAME',
                         help='folder or hub name of a model (default: the embedded one)')
    command.add_argument('--served-model-name', default='', metavar='NAME',
                         help='name that clients use (default: that of the model)')
    command.add_argument('--host', default='127.0.0.1',
                         help='address to listen on; 0.0.0.0 for robots on other machines')
    command.add_argument('--port', type=int, default=8000, help='port to listen on')
    command.add_argument('--api-key-env', default='', metavar='VARIABLE',
                         help='environment variable with a key that requests must have')
    command.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    command.add_argument('--dtype', default='auto', help='auto, bfloat16 or float32')
    add_quantization(command)
    command.add_argument('--min-pixels', type=int, default=0, metavar='N',
                         help="smallest image area (default: the model's own)")
    command.add_argument('--max-pixels', type=int, default=0, metavar='N',
                         help="largest image area (default: the model's own)")
    command.add_argument('--max-batch', type=int, default=8, metavar='N',
                         help='answers that are written at once; more wait')
    command.add_argument('--max-requests', type=int, default=64, metavar='N',
                         help='requests that are answered or wait; more are refused')
    command.add_argument('--cache-mb', type=int, default=512, metavar='MB',
                         help='memory for images and prefixes that are kept')
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load the model, and serve until the program is ended."""
    need = "a server with OpenAI's interface needs starlette, uvicorn and prometheus_client"
    uvicorn = import_extra('uvicorn', need, 'serving')
    endpoint = import_extra('mimo_embodied_ros.serving.endpoint', need, 'serving')
    if options.max_requests < 1:
        msg = f'--max-requests is {options.max_requests}; it is 1 or more'
        raise InvalidRequestError(msg)
    key, listener = _key(options.api_key_env), _bound(options.host, options.port)
    engine = load_engine(EngineConfig(
        options.model or embedded_model(), device=options.device, dtype=options.dtype,
        quantization=options.quantization, min_pixels=options.min_pixels,
        max_pixels=options.max_pixels, max_batch=options.max_batch, cache_mb=options.cache_mb))
    engine.warm_up()
    app = endpoint.make_app(endpoint.Endpoint(
        engine, options.served_model_name or engine.info.name,
        most_requests=options.max_requests, key=key))
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(app, access_log=False)).run(sockets=[listener])
    return 0


def _bound(host: str, port: int) -> socket.socket:
    """Take the address before the model is loaded; who connects is refused until it is.

    Raises:
        InvalidRequestError: it cannot be taken.

    """
    listener = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        msg = (f'cannot listen at {host}, port {port} ({error}); give another --host or --port, or '
               'end the program that listens there')
        raise InvalidRequestError(msg) from error
    return listener


def _key(variable: str) -> str:
    key = os.environ.get(variable, '').strip() if variable else ''
    if variable and not key:
        msg = (f'the environment variable {variable}, which --api-key-env names, is not set; put '
               'a key into it')
        raise InvalidRequestError(msg)
    return key
