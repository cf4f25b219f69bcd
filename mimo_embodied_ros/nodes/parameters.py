"""The node's parameters: one table with defaults, ranges and meanings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.tasks import TASKS, load_tasks
from mimo_embodied_ros.engine import EngineConfig
from mimo_embodied_ros.share import embedded_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rclpy.node import Node

    from mimo_embodied_ros.core.tasks import Task

_COUNT = (0, 2**31 - 1)


@dataclass(frozen=True)
class Parameter:
    """One parameter; ``range`` is inclusive, ``choices`` all that are allowed."""

    name: str
    default: Any
    description: str
    range: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()


# Checked by EngineConfig, which names what is allowed.
MODEL = (
    Parameter('model', '', 'Folder or hub name of the model; empty: the embedded one. With '
              'openai: the name by which the servers know it.'),
    Parameter('backend', 'transformers',
              "What runs the model: transformers in this process, or openai, servers with OpenAI's "
              'interface.'),
    Parameter('device', 'auto', 'Where the model runs: auto, cpu, cuda or cuda:N.'),
    Parameter('dtype', 'auto', 'Of the weights: bfloat16, float32, or auto by the device.'),
    Parameter('attention', 'sdpa', 'Of the model: sdpa, eager or flash_attention_2.'),
    Parameter('adapter', '', 'Folder or hub name of a LoRA adapter; empty: none.'),
    Parameter('quantization', 'none', 'Of the language model: none, 8bit or 4bit.'),
    Parameter('min_pixels', 0, "Area to which smaller images are enlarged; 0: the model's own, "
              'with openai 3136.', _COUNT),
    Parameter('max_pixels', 0, "Area to which larger images are reduced; 0: the model's own, with "
              'openai 3211264.', _COUNT),
    Parameter('threads', 0, "CPU threads of the model; 0: one for a small model, else the "
              "library's choice.", (0, 1024)),
    Parameter('max_batch', 8, 'How many requests are answered at once; more wait.', (1, 256)),
    Parameter('cache_mb', 512, 'Megabytes for what was computed of images, for the next question '
              'on them.', (0, 1_000_000)),
    Parameter('stop_early', True, 'End an answer when it is whole, before the model ends it.'),
    # with openai only
    Parameter('servers', ['http://127.0.0.1:8000/v1'],
              'URLs of the servers, the preferred one first; the others stand in for it.'),
    Parameter('api_key_env', '',
              "Name of the environment variable with the servers' key; empty: no key."),
    Parameter('connect_timeout', 2.0, 'Seconds until a server must have taken a connection.',
              (0.001, 3600.0)),
    Parameter('first_token_timeout', 20.0, "Seconds until a server's first token; its queue "
              'counts.', (0.001, 3600.0)),
    Parameter('token_timeout', 10.0, 'Seconds between two tokens of a server.', (0.001, 3600.0)),
)
REQUESTS = (
    Parameter('max_queue', 8, 'How many requests may wait; more fail with QUEUE_FULL.', (1, 1000)),
    Parameter('timeout', 30.0, 'Seconds from arrival to result where a request gives none.',
              (0.001, 86400.0)),
    Parameter('max_image_age', 1.0, 'Oldest image to answer on, seconds; 0: any age.',
              (0.0, 86400.0)),
    Parameter('wait_for_image', 1.0, 'Seconds to wait for an image when there is none yet.',
              (0.0, 3600.0)),
    Parameter('driving_valid_for', 1.0, 'Seconds after its image for which driving advice is good.',
              (0.0, 60.0)),
    Parameter('structured', False, 'Hold points, boxes and choices to a grammar while they are '
              'written; not with openai.'),
    Parameter('tasks_file', '', 'YAML file with more tasks, as core/tasks.yaml; empty: none.'),
    Parameter('max_new_tokens', 0, 'Longest answer, tokens; 0: the default of each task.', _COUNT),
)
SENSORS = (
    Parameter('cameras', ['camera'], 'Names of the cameras; the first is the default of requests.'),
    Parameter('odometry_topic', 'odom', 'nav_msgs/Odometry of the base; empty: none.'),
)
LIFE = (
    Parameter('autostart', True, 'Configure and activate at once when started as a program.'),
)
# Of each camera; the name in front and a dot.
CAMERA = (
    Parameter('image_topic', '', 'Image, or CompressedImage; empty: NAME/image_raw.'),
    Parameter('image_transport', 'raw', 'raw: sensor_msgs/Image; compressed: CompressedImage.',
              choices=('raw', 'compressed')),
    Parameter('camera_info_topic', '', 'CameraInfo; empty: camera_info beside the image.'),
    Parameter('depth_topic', '', 'Image with depth, registered to the image; empty: none.'),
    Parameter('depth_transport', 'raw', 'raw: sensor_msgs/Image, 16UC1 or 32FC1; compressed and '
              'compressedDepth: CompressedImage, PNG.',
              choices=('raw', 'compressed', 'compressedDepth')),
    Parameter('reliable', False, 'Ask for reliable delivery of all these topics; without it, for '
              'one by qos_overrides.TOPIC.subscription.reliability.'),
    Parameter('on_demand', False, 'Subscribe when a request comes, and unsubscribe some seconds '
              'after the last one; costs nothing in between.'),
    Parameter('clip_frames', 0, 'How many images a task about a clip gets; 0: the newest one only.',
              (0, 1000)),
    Parameter('clip_rate', 2.0, 'Images a second of a clip.', (0.01, 60.0)),
    Parameter('clip_mb', 256, 'Megabytes that the images kept for clips may take.', (1, 1_000_000)),
)


@dataclass(frozen=True)
class CameraSettings:
    """One camera's topics; empty where none is used."""

    name: str
    image_topic: str
    compressed: bool
    camera_info_topic: str
    depth_topic: str
    depth_compressed: bool
    reliable: bool
    on_demand: bool
    clip_frames: int
    clip_rate: float
    clip_mb: int


@dataclass(frozen=True)
class Settings:
    """The checked values; times in seconds."""

    engine: EngineConfig
    cameras: tuple[CameraSettings, ...]
    odometry_topic: str
    max_queue: int
    timeout: float
    max_image_age: float
    wait_for_image: float
    driving_valid_for: float
    max_new_tokens: int
    structured: bool
    autostart: bool
    tasks: Mapping[str, Task]


def _value(node: Node, parameter: Parameter, prefix: str = '') -> Any:
    """The value, declared at first use; rclpy checks type and range, this the choices."""
    name = prefix + parameter.name
    if not node.has_parameter(name):
        descriptor = ParameterDescriptor(description=parameter.description)
        if parameter.range is not None:
            low, high = parameter.range
            if isinstance(parameter.default, float):
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=float(low), to_value=float(high))]
            else:
                descriptor.integer_range = [
                    IntegerRange(from_value=int(low), to_value=int(high), step=1)]
        node.declare_parameter(name, parameter.default, descriptor)
    value = node.get_parameter(name).value
    if parameter.choices and value not in parameter.choices:
        msg = f'parameter {name} is {value!r}; give one of {", ".join(parameter.choices)}'
        raise InvalidRequestError(msg)
    return value


def _camera(node: Node, name: str) -> CameraSettings:
    values = {p.name: _value(node, p, f'{name}.') for p in CAMERA}
    compressed = values['image_transport'] == 'compressed'
    image = values['image_topic'] or f'{name}/image_raw' + '/compressed' * compressed
    folder, slash, _ = image.removesuffix('/compressed').rpartition('/')
    info = values['camera_info_topic'] or f'{folder}{slash}camera_info'
    if values['on_demand'] and values['clip_frames']:
        msg = (f'{name}.on_demand and {name}.clip_frames exclude each other, since a clip is what '
               'came before the request; leave one of the two out')
        raise InvalidRequestError(msg)
    others = {p: values[p] for p in (
        'depth_topic', 'reliable', 'on_demand', 'clip_frames', 'clip_rate', 'clip_mb')}
    return CameraSettings(name, image, compressed, info, **others,
                          depth_compressed=values['depth_transport'] != 'raw')


def read(node: Node) -> Settings:
    """Declare what is not declared yet and read all parameters.

    Raises:
        InvalidRequestError: a value that is not allowed, with the allowed ones.

    """
    engine, requests, sensors, life = (
        {p.name: _value(node, p) for p in table} for table in (MODEL, REQUESTS, SENSORS, LIFE))
    if engine['backend'] == 'transformers':
        engine['model'] = engine['model'] or embedded_model()
    engine['servers'] = tuple(engine['servers'])
    names = list(sensors['cameras'])
    if not names or not all(names) or len(set(names)) < len(names):
        msg = f'parameter cameras is {names}; give one or more, each with a name of its own'
        raise InvalidRequestError(msg)
    file = requests.pop('tasks_file')
    tasks = {**TASKS, **load_tasks(file)} if file else TASKS
    return Settings(EngineConfig(**engine), tuple(_camera(node, name) for name in names),
                    sensors['odometry_topic'], **requests, **life, tasks=tasks)
