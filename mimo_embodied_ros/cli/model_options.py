"""Options of the commands that load a model or ask one on servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.engine import EngineConfig
from mimo_embodied_ros.share import embedded_model

from .output import model_argument

if TYPE_CHECKING:
    import argparse

    from mimo_embodied_ros.engine import Engine


def add_model_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the model: which one, where it is, and how it is asked."""
    command.add_argument(
        '--model', type=model_argument, default='', metavar='FOLDER_OR_NAME',
        help='folder or hub name of a model (default: the embedded one); with --url the name by '
             'which the servers know it')
    command.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    command.add_argument(
        '--url', nargs='+', default=[], metavar='URL',
        help="ask servers with OpenAI's interface, such as http://127.0.0.1:8000/v1")
    command.add_argument('--api-key-env', default='', metavar='VARIABLE',
                         help="environment variable that holds the servers' key")
    for edge, meaning in (('min', 'smaller images are enlarged'),
                          ('max', 'larger ones are reduced')):
        command.add_argument(f'--{edge}-pixels', type=int, default=0, metavar='N',
                             help=f"area to which {meaning} (default: the model's own; with --url "
                                  "MiMo-Embodied's)")
    command.add_argument('--profile', default='', metavar='NAME',
                         help='how the model is asked and what its positions mean, see '
                              "docs/profiles.md (default: by the model's name)")
    command.add_argument('--profiles', dest='profiles_file', type=model_argument, default='',
                         metavar='FILE', help='YAML file with profiles of your own')


def add_quantization(command: argparse.ArgumentParser) -> None:
    """Add the option of commands that run a model in this process, also a large one."""
    command.add_argument('--quantization', default='none', metavar='BITS',
                         help='weights: none, 8bit, 4bit, int8 or fp8')


def engine_config(options: argparse.Namespace, **settings: Any) -> EngineConfig:
    """Return the configuration that the options ask for.

    Args:
        options: of a command with `add_model_options`.
        settings: others of the configuration, of models in this process only where they are;
            areas of images that the options give are used in their place.

    Raises:
        InvalidRequestError: servers are given without the name of the model, or a setting is
            wrong.

    """
    profile = {'profile': options.profile, 'profiles_file': options.profiles_file}
    areas = {'min_pixels': options.min_pixels, 'max_pixels': options.max_pixels}
    settings |= {name: area for name, area in areas.items() if area}
    if not options.url:
        return EngineConfig(
            model=options.model or embedded_model(), device=options.device, **profile,
            **settings)
    if not options.model:
        msg = '--url needs --model, the name by which the servers know the model'
        raise InvalidRequestError(msg)
    shared = {name: settings[name] for name in ('min_pixels', 'max_pixels', 'first_token_timeout')
              if name in settings}
    return EngineConfig(model=options.model, backend='openai', servers=tuple(options.url),
                        api_key_env=options.api_key_env, **profile, **shared)


def prepare(engine: Engine, options: argparse.Namespace) -> None:
    """Find out what servers can do, and that they take images as they are.

    Raises:
        MimoError: as ``Engine.warm_up`` does.

    """
    if options.url:
        engine.warm_up()
