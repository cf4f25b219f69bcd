"""Settings of the node ``mimo_embodied``: the table of its parameters, and their checked values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.prompts import THINKING_TOKENS, read_system
from mimo_embodied_ros.core.skills import MAX_STEPS
from mimo_embodied_ros.core.tasks import known_tasks
from mimo_embodied_ros.engine import EngineConfig
from mimo_embodied_ros.engine.config import PICTURES
from mimo_embodied_ros.geometry.extrinsics import Extrinsics, load_extrinsics
from mimo_embodied_ros.pictures import Levels
from mimo_embodied_ros.ros.parameters import (
    COUNT,
    Parameter,
    check_topic,
    fault,
    read_table,
    read_value,
)
from mimo_embodied_ros.share import embedded_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rclpy.node import Node

    from mimo_embodied_ros.core.skills import Skill
    from mimo_embodied_ros.core.tasks import Task

# Checked by EngineConfig, whose errors name the allowed values.
MODEL = (
    Parameter('model', '', 'Folder or hub name of the model; empty: the embedded one. With '
              'openai: the name by which the servers know it.'),
    Parameter('backend', 'transformers',
              "What runs the model: transformers in this process, or openai, servers with OpenAI's "
              'interface.'),
    Parameter('device', 'auto', 'Where the model runs: auto, cpu, cuda or cuda:N.'),
    Parameter('dtype', 'auto', 'Number format of the weights: bfloat16, float32, or auto: by the '
              'device.'),
    Parameter('attention', 'sdpa', 'Implementation of attention: sdpa, eager or '
              'flash_attention_2.'),
    Parameter('adapter', '', 'Folder or hub name of a LoRA adapter; empty: none.'),
    Parameter('quantization', 'none', "Quantization of the language model's weights: none, 8bit "
              'or 4bit (bitsandbytes), int8 or fp8 (torchao).'),
    Parameter('min_pixels', 0, "Area to which smaller images are enlarged; 0: the model's own, "
              'with openai 3136.', COUNT, unit='px'),
    Parameter('max_pixels', 0, "Area to which larger images are reduced; 0: the model's own, with "
              'openai 3211264.', COUNT, unit='px'),
    Parameter('profile', '', 'Profile of the model, which says how it is asked and what its '
              'positions mean, see docs/profiles.md; empty: found by the name of the model.'),
    Parameter('profiles_file', '', 'YAML file with further profiles, in the form of '
              'core/profiles.yaml; empty: none.', path=True),
    Parameter('threads', 0, "CPU threads of the model at most; 0: the library's choice. The "
              'tokens of a small model are written by one.', (0, 1024)),
    Parameter('max_batch', 8, 'Number of requests that are answered at once; more wait.',
              (1, 256)),
    Parameter('cache_mb', 512, 'Megabytes for the cache of image features and prompt prefixes, '
              'which serves further questions about the same images. What the requests in '
              'progress use is kept beyond it, until they end.', (0, 1_000_000), unit='MB'),
    Parameter('kv_cache_mb', 0, 'Megabytes for the keys and values of the answers that are being '
              'written; answers wait until theirs fit. 0: what the largest request leaves of the '
              "GPU's memory, or half of what machine or container have free.", (0, 1_000_000),
              unit='MB'),
    Parameter('stop_early', True, 'End an answer that is held to its grammar (structured) when '
              'nothing can follow, before the model ends it.'),
    Parameter('prefill_chunk', 2048, 'Tokens of prompts, or of images, that are read at once. '
              'Answers in progress get their next token after each chunk, and cancel and deadline '
              'are heard then; larger chunks are read faster.', (16, 1_000_000), unit='tokens'),
    Parameter('draft_tokens', 8, 'Tokens that are guessed from earlier answers and checked in one '
              'step (speculative decoding); 0: none.', (0, 64), unit='tokens'),
    Parameter('decode_shapes', 'auto', 'Shapes of the steps that write tokens: static (few of '
              'them, which CUDA graphs launch), dynamic (no larger than needed), or auto: static '
              'on a GPU.'),
    Parameter('compile', False, 'Fuse small operations by torch.compile, which takes a minute or '
              'more at the first answers.'),
    Parameter('deterministic', False, 'Answer one request at a time, without guessed tokens, so '
              'that an answer does not depend on other requests. In float32 it does not anyway; in '
              'bfloat16 rounding changes a few in a hundred.'),
    # with openai only
    Parameter('servers', ['http://127.0.0.1:8000/v1'],
              'URLs of the servers, the preferred one first; the others are asked where it fails.'),
    Parameter('api_key_env', '',
              "Name of the environment variable with the servers' key; empty: no key."),
    Parameter('startup_timeout', 0.0, 'Seconds for which a node that is configured waits for a '
              'server that does not answer yet, since it is being started; 0: it is not configured '
              'then.', (0.0, 86400.0), unit='s'),
    Parameter('connect_timeout', 2.0, 'Seconds until a server must have taken a connection.',
              (0.001, 3600.0), unit='s'),
    Parameter('first_token_timeout', 20.0, "Seconds until a server's first token; its queue "
              'counts.', (0.001, 3600.0), unit='s'),
    Parameter('token_timeout', 10.0, 'Seconds between two tokens of a server.', (0.001, 3600.0),
              unit='s'),
    Parameter('structured_style', 'auto', 'How the servers take the form of an answer: vllm, '
              'guided (vLLM before 0.12), llama (llama-server with llguidance), openai (JSON '
              'schemas), none, or auto: each server is tried.'),
    Parameter('video_style', 'auto', 'How the servers take videos: vllm (their frames), mp4 (a '
              'file, which needs PyAV), none, or auto: each server is tried.'),
    Parameter('ask_again', True, 'Ask again, as long as the request has time, where a server was '
              'lost in the middle of an answer.'),
    Parameter('session', '', 'Name that is sent to servers as X-Session-ID, by which routers keep '
              "a robot's images on one of them; empty: the node's name with its namespace."),
    # with both
    Parameter('grounding_test', 'refuse', 'What follows where the model does not find marks in '
              'drawn pictures, asked when it is loaded and when a server comes back: refuse '
              '(MODEL_NOT_READY), warn, or off: it is not tested.',
              choices=('off', 'warn', 'refuse')),
    Parameter('grounding_pictures', list(PICTURES), 'What the grounding test asks about: one '
              'image, two images, wide and tall ones, one larger than max_pixels, a video if the '
              'model takes videos.'),
)
REQUESTS = (
    Parameter('max_queue', 8, 'Number of requests that may wait; more fail with QUEUE_FULL.',
              (1, 1000)),
    Parameter('timeout', 30.0, 'Seconds from arrival to result for a request that gives no '
              'timeout.',
              (0.001, 86400.0), unit='s', live=True),
    Parameter('max_image_age', 1.0, 'Age of the oldest image to answer on, seconds; 0: any age.',
              (0.0, 86400.0), unit='s', live=True),
    Parameter('wait_for_image', 1.0, 'Seconds to wait for an image when none has arrived yet.',
              (0.0, 3600.0), unit='s', live=True),
    Parameter('wait_for_transform', 5.0, 'Seconds to wait, of the time of the request, for a '
              "transform of the image's time that is late.", (0.0, 3600.0), unit='s', live=True),
    Parameter('driving_valid_for', 1.0, "Seconds from the image's stamp for which driving "
              'advice is valid.',
              (0.0, 60.0), unit='s', live=True),
    Parameter('structured', False, 'Constrain points, boxes, numbers and choices to a grammar '
              'while they are written; INVALID_REQUEST where the model cannot.', live=True),
    Parameter('retry_structured', True, 'Where an answer cannot be read, ask once more with the '
              'answer constrained so, if there is time for it.', live=True),
    Parameter('tasks_file', '', 'YAML file with further tasks, in the form of '
              'core/tasks.yaml; empty: none.', path=True),
    Parameter('skills_file', '', 'YAML file with the skills of the robot, see docs/skills.md; '
              'empty: plans are in words.', path=True),
    Parameter('max_steps', 10, 'Longest plan of skills, in steps, for a request that gives no '
              'max_steps.',
              (1, MAX_STEPS), live=True),
    Parameter('max_new_tokens', 0, 'Longest answer in tokens; 0: the default of each task.', COUNT,
              unit='tokens', live=True),
    Parameter('system_prompt', '', 'System prompt for requests that give none and whose task has '
              "none; empty: the one of the model's chat template.", live=True, check=read_system),
    Parameter('thinking_tokens', 0, 'Most tokens of reasoning, after which the answer must follow, '
              'for a request that gives none; 0: no limit but that of the whole answer.', COUNT,
              unit='tokens', live=True),
)
SENSORS = (
    Parameter('cameras', ['camera'], 'Names of the cameras; a request that names none gets the '
              'first.'),
    Parameter('odometry_topic', 'odom', 'nav_msgs/Odometry of the base; empty: none.'),
    Parameter('extrinsics_file', '', 'YAML list of fixed frames, each with parent, child, '
              'translation (metres) and rotation (quaternion x, y, z, w); used where tf2 does not '
              'know a transform or is not installed. Empty: none.', path=True),
    Parameter('tf_buffer', 30.0, 'Seconds for which transforms of tf2 are kept, longer than '
              'the model needs for an answer; 0: tf2 is not used.', (0.0, 3600.0), unit='s'),
)
RECORDING = (
    Parameter('record_to', '', 'Folder in which answers are recorded, as answers.jsonl and '
              'images; empty: no recording.', path=True),
    Parameter('record_max_mb', 1000, 'Megabytes that this folder may hold; while it is full, '
              'answers are not recorded.', (1, 100_000_000), unit='MB'),
)
LIFE = (
    Parameter('autostart', True, 'Configure and activate at once when started as a program.',
              read_only=True),
    Parameter('bond_heartbeat_period', 0.1, 'Seconds between two heartbeats of the bond with the '
              'lifecycle manager of nav2, where bondpy is installed; 0: no bond.',
              (0.0, 3600.0), unit='s'),
)
# The parameters of each camera; before their names stand the camera's name and a dot.
CAMERA = (
    Parameter('image_topic', '', 'Topic of sensor_msgs/Image or CompressedImage; empty: '
              'NAME/image_raw.'),
    Parameter('image_transport', 'raw', 'raw: sensor_msgs/Image; compressed: CompressedImage.',
              choices=('raw', 'compressed')),
    Parameter('black_level', 0, 'Value of 16-bit grey and colours (mono16, bayer_*16, rgb16, '
              'PNG of mono16) that is shown black.', (0, 65534)),
    Parameter('white_level', 65535, 'Value of 16-bit grey and colours that is shown white: 1023, '
              '4095 or 16383 of a sensor that uses the lower 10, 12 or 14 bits.', (1, 65535)),
    Parameter('camera_info_topic', '', 'Topic of CameraInfo; empty: camera_info beside the image.'),
    Parameter('rectified', False, 'The image is rectified: p of its CameraInfo holds, and no lens '
              'distortion.'),
    Parameter('depth_topic', '', 'Topic of depth images; empty: none.'),
    Parameter('depth_transport', 'raw', 'raw: sensor_msgs/Image, 16UC1 or 32FC1; compressed and '
              'compressedDepth: CompressedImage, PNG.',
              choices=('raw', 'compressed', 'compressedDepth')),
    Parameter('depth_registered', False, 'The depth image is registered to the image, whatever its '
              'frame_id. Without it, depth counts as registered where both have one frame_id.'),
    Parameter('depth_info_topic', '', 'Topic of the CameraInfo of depth that is not registered; '
              'empty: camera_info beside the depth.'),
    Parameter('reliable', False, 'Subscribe to all topics of the camera with reliable delivery. '
              'For one topic: qos_overrides.TOPIC.subscription.reliability.'),
    Parameter('on_demand', False, 'Subscribe when a request comes, and unsubscribe some seconds '
              'after the last one, so that the camera costs nothing in between.'),
    Parameter('clip_frames', 0, 'Number of images for a task about a clip; 0: the newest image '
              'only.',
              (0, 1000)),
    Parameter('clip_rate', 2.0, 'Images of a clip per second.', (0.01, 60.0), unit='Hz'),
    Parameter('clip_mb', 256, 'Megabytes that the images kept for clips may take.', (1, 1_000_000),
              unit='MB'),
)
NODE = (*MODEL, *REQUESTS, *SENSORS, *RECORDING, *LIFE)


@dataclass(frozen=True)
class CameraSettings:
    """The topics of one camera, empty where it has none, and how they are subscribed."""

    name: str
    image_topic: str
    compressed: bool
    levels: Levels
    camera_info_topic: str
    depth_topic: str
    depth_compressed: bool
    depth_info_topic: str
    depth_registered: bool
    rectified: bool
    reliable: bool
    on_demand: bool
    clip_frames: int
    clip_rate: float
    clip_mb: int


@dataclass(frozen=True)
class Settings:
    """The checked values of the parameters; times in seconds."""

    engine: EngineConfig
    cameras: tuple[CameraSettings, ...]
    odometry_topic: str
    extrinsics: Extrinsics
    tf_buffer: float
    max_queue: int
    timeout: float
    max_image_age: float
    wait_for_image: float
    wait_for_transform: float
    driving_valid_for: float
    max_new_tokens: int
    system_prompt: str
    thinking_tokens: int
    max_steps: int
    structured: bool
    retry_structured: bool
    record_to: str
    record_max_mb: int
    autostart: bool
    bond_heartbeat_period: float
    tasks: Mapping[str, Task]
    skills: Mapping[str, Skill]


def by_name(cameras: Iterable[str]) -> dict[str, Parameter]:
    """All parameters of a node that has these cameras, by their full names."""
    return {p.name: p for p in NODE} | {f'{c}.{p.name}': p for c in cameras for p in CAMERA}


def parameter_refusal(
    changed: Mapping[str, Any], cameras: Iterable[str], *, configured: bool
) -> str:
    """The reason why parameters cannot be changed now; empty where they can.

    Args:
        changed: new values of the right type and range, by name.
        cameras: names of the node's cameras.
        configured: whether the node has read its parameters and holds a model.

    """
    table = by_name(cameras)
    ours = {name: table[name] for name in changed if name in table}  # without use_sim_time etc.
    if configured and (fixed := sorted(name for name, p in ours.items() if not p.live)):
        return f'{", ".join(fixed)} is read when the node is configured; clean it up first'
    return '; '.join(filter(None, (fault(name, p, changed[name]) for name, p in ours.items())))


def _camera(node: Node, name: str) -> CameraSettings:
    values = {p.name: read_value(node, p, f'{name}.') for p in CAMERA}
    compressed = values['image_transport'] == 'compressed'
    image = values['image_topic'] or f'{name}/image_raw' + '/compressed' * compressed
    info = values['camera_info_topic'] or _info_beside(image)
    depth_info = values['depth_info_topic']
    if values['depth_topic'] and not depth_info and not values['depth_registered']:
        depth_info = _info_beside(values['depth_topic'])
    if values['on_demand'] and values['clip_frames']:
        msg = (f'{name}.on_demand and {name}.clip_frames exclude each other, since a clip is what '
               'came before the request; leave one of the two out')
        raise InvalidRequestError(msg)
    levels = Levels(values['black_level'], values['white_level'])
    if levels.black >= levels.white:
        msg = (f'{name}.black_level is {levels.black} and {name}.white_level is {levels.white}; '
               'give a black level below the white one')
        raise InvalidRequestError(msg)
    for origin, topic in (('image_topic', image), ('camera_info_topic', info),
                          ('depth_topic', values['depth_topic']), ('depth_info_topic', depth_info)):
        check_topic(node, topic, f'parameter {name}.{origin}, or the name of the camera,')
    others = {p: values[p] for p in (
        'depth_topic', 'depth_registered', 'rectified', 'reliable', 'on_demand', 'clip_frames',
        'clip_rate', 'clip_mb')}
    return CameraSettings(
        name, image, compressed, levels, info, depth_compressed=values['depth_transport'] != 'raw',
        depth_info_topic=depth_info, **others)


def _info_beside(topic: str) -> str:
    """The topic of the CameraInfo that belongs to images on a topic."""
    for transport in ('/compressed', '/compressedDepth'):
        topic = topic.removesuffix(transport)
    folder, slash, _ = topic.rpartition('/')
    return f'{folder}{slash}camera_info'


def read_settings(node: Node) -> Settings:
    """Read all parameters, and declare those that are not declared yet.

    Raises:
        InvalidRequestError: a value that is not allowed, with the allowed ones.

    """
    # the tables of parameters are read where the interfaces are not built, too
    from mimo_embodied_ros.ros.skill_interfaces import load_checked_skills

    engine, requests, sensors, recording, life = (
        read_table(node, table) for table in (MODEL, REQUESTS, SENSORS, RECORDING, LIFE))
    if engine['backend'] == 'transformers':
        engine['model'] = engine['model'] or embedded_model()
    engine['session'] = engine['session'] or node.get_fully_qualified_name()
    for name in 'servers', 'grounding_pictures':
        engine[name] = tuple(engine[name])
    names = list(sensors['cameras'])
    if not names or len(set(names)) < len(names) or any(name.split() != [name] for name in names):
        msg = (f'parameter cameras is {names}; give one or more, each with a name of its own, '
               'without spaces')
        raise InvalidRequestError(msg)
    check_topic(node, sensors['odometry_topic'], 'parameter odometry_topic')
    tasks = known_tasks(requests.pop('tasks_file'))
    extrinsics, skills = sensors['extrinsics_file'], requests.pop('skills_file')
    cameras = tuple(_camera(node, name) for name in names)
    # the largest request: all cameras with their clips, and the longest answer
    images = sum(max(1, camera.clip_frames) for camera in cameras)
    reasoning = max(requests['thinking_tokens'], THINKING_TOKENS)
    longest = requests['max_new_tokens'] or reasoning + max(t.tokens for t in tasks.values())
    return Settings(EngineConfig(**engine, most_images=images, longest_answer=longest), cameras,
                    sensors['odometry_topic'],
                    load_extrinsics(extrinsics) if extrinsics else Extrinsics(),
                    sensors['tf_buffer'], **requests, **recording, **life, tasks=tasks,
                    skills=load_checked_skills(skills, on_absent=partial(
                        node.get_logger().info, once=True)) if skills else {})
