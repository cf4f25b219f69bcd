"""``demo``: play a bag, and ask the node questions about it."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError, ResultCode

from .output import model_argument, path_argument, write_json
from .processes import keep_apart, node_command, running, tail

if TYPE_CHECKING:
    import argparse
    import contextlib
    import subprocess
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from rclpy.node import Node

    from mimo_embodied_ros.bags import BagInfo

_IMAGES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
_START_S = 120.0  # to load the model on a busy machine
_ANSWER_S = 60.0
_DOMAIN = '77'  # so that a robot on the same network does not hear the demo


@dataclass(frozen=True)
class DemoQuestion:
    """A question of the demo, and what its answer must name; empty: not checked."""

    kind: str
    text: str
    objects: tuple[str, ...] = ()
    answer: str = ''


# The shipped bag shows a red cube, a green ball, a blue bowl, a yellow cup and a purple plate.
_TABLETOP = (
    DemoQuestion('plan', 'put the red cube in the blue bowl', ('red cube', 'blue bowl')),
    DemoQuestion('affordance', 'the green ball', ('green ball',)),
    DemoQuestion('affordance', 'the red plate', ()),
    DemoQuestion('spatial', 'Is the red cube left of the blue bowl?', answer='yes'),
    DemoQuestion('free', 'Is the green ball in the top or in the bottom half?', ('bottom',)),
)
_ANY = (
    DemoQuestion('plan', 'pick up the nearest object'),
    DemoQuestion('affordance', 'the nearest object'),
    DemoQuestion('spatial', 'Is there a person?'),
    DemoQuestion('free', 'What do you see?'),
)


def add_commands(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        'demo', help='play a bag and answer questions about it',
        description='Start the node in a process of its own, play a bag, ask for a plan, an '
                    'affordance, a spatial and a free answer through DDS, and write annotated.png '
                    'and report.json.',
        epilog='exit code: 0 when all answers agree with what the shipped bag shows; on another '
               'bag, when all requests were answered.')
    command.add_argument('--bag', type=path_argument, metavar='BAG',
                         help='another bag (default: the shipped tabletop)')
    command.add_argument('--out', type=path_argument, default=Path('demo_out'), metavar='FOLDER',
                         help='where to write (default: %(default)s)')
    command.add_argument('--model', type=model_argument, default='', metavar='FOLDER_OR_NAME',
                         help='folder or hub name of a model (default: the embedded one)')
    command.add_argument('--thinking', action='store_true', help='reason aloud first')
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Play the bag, ask the questions, report the answers."""
    from mimo_embodied_ros.share import share_folder

    keep_apart(_DOMAIN)
    import rclpy

    from mimo_embodied_ros.bags import BagPlayer, describe
    from mimo_embodied_ros.ros import process

    shipped = options.bag is None
    bag = describe(options.bag or share_folder() / 'bags' / 'tabletop')
    topics = _topics(bag)
    print(f'bag {bag.path}: {topics["image"]}, {bag.duration_s:.1f} s, in a loop')
    options.out.mkdir(parents=True, exist_ok=True)
    process.init([])
    node = rclpy.create_node('mimo_embodied_demo')
    log = options.out / 'node.log'
    try:
        with _server(options.model, topics, log) as server, BagPlayer(
                bag.path, node, loop=True, clock=True) as player:
            thread = threading.Thread(target=player.play, daemon=True)
            asker = Asker(node, server, log)
            asker.wait_until_active()
            player.wait_for_subscribers(5.0, [topics['image']])
            thread.start()
            replies = [(question, asker.ask(question, thinking=options.thinking))
                       for question in (_TABLETOP if shipped else _ANY)]
            player.stop()
            thread.join()
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    truth = _truth(bag.path) if shipped else {}
    reports = [_report(question, reply, truth) for question, reply in replies]
    _table(reports)
    write_json(options.out / 'report.json', reports)
    _annotate(bag, topics, replies, options.out / 'annotated.png')
    print(f'written: {options.out}/report.json, {options.out}/annotated.png')
    if shipped:
        good = all(r['correct'] for r in reports)
        print('all answers are right' if good else 'NOT ALL ANSWERS ARE RIGHT')
    else:
        # on an unknown scene a wrong form of the answer is no failure of the node
        good = all(r['error_code'] == 0 or r['error_code'] >= ResultCode.OUTPUT_TRUNCATED
                   for r in reports)
        print('all requests were answered' if good else 'NOT ALL REQUESTS WERE ANSWERED')
    return 0 if good else 1


def _topics(bag: BagInfo) -> dict[str, str]:
    """Choose the topics to subscribe to: the image with most messages, and what belongs to it."""
    images = bag.of_type(*_IMAGES)
    pictures = [t for t in images if 'depth' not in t.name.lower()] or list(images)
    if not pictures:
        msg = f'{bag.path} has no Image or CompressedImage; it has {[t.type for t in bag.topics]}'
        raise InvalidRequestError(msg)
    topics = {'image': pictures[0].name, 'type': pictures[0].type}
    kinds = {'info': 'sensor_msgs/msg/CameraInfo', 'odometry': 'nav_msgs/msg/Odometry'}
    for key, kind in kinds.items():
        topics[key] = next((t.name for t in bag.of_type(kind)), '')
    topics['depth'] = next((t.name for t in bag.of_type('sensor_msgs/msg/Image')
                            if 'depth' in t.name.lower()), '')
    return topics


def _server(
    model: str, topics: dict[str, str], log: Path
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Run the node in a process of its own."""
    compressed = topics['type'].endswith('CompressedImage')
    if model and Path(model).exists():
        model = str(Path(model).resolve())
    return running(node_command({
        'model': model, 'use_sim_time': 'true', 'max_image_age': '5.0', 'wait_for_image': '10.0',
        'camera.image_topic': topics['image'], 'camera.camera_info_topic': topics['info'],
        'camera.image_transport': 'compressed' if compressed else 'raw',
        'camera.depth_topic': topics['depth'], 'camera.reliable': 'true',
        'odometry_topic': topics['odometry'],
    }), log)


class Asker:
    """Sends goals to the node and waits for their results."""

    def __init__(self, node: Node, server: subprocess.Popen[bytes], log: Path) -> None:
        """Make the clients of the node's actions."""
        from lifecycle_msgs.srv import GetState
        from rclpy.action import ActionClient

        from mimo_embodied_ros import action
        from mimo_embodied_ros.ros.executor import Executor

        self._server, self._log = server, log
        self._executor = Executor()
        self._executor.add_node(node)
        self._state = node.create_client(GetState, '/mimo_embodied/get_state')
        kinds = {
            'plan': ('plan_task', action.PlanTask, 'instruction', 'plan'),
            'affordance': ('find_affordances', action.FindAffordances, 'query', 'affordances'),
            'spatial': ('answer_spatial', action.AnswerSpatial, 'question', 'answer'),
            'free': ('ask', action.Ask, 'question', 'answer'),
        }
        self._kinds = {
            kind: (ActionClient(node, type_, f'/mimo_embodied/{name}'), type_, *fields)
            for kind, (name, type_, *fields) in kinds.items()
        }

    def _wait(self, future: Any, seconds: float, awaited: str) -> Any:
        self._executor.spin_until_future_complete(future, seconds)
        if not future.done():
            msg = (f'{awaited} did not arrive within {seconds:.0f} s; the log of the node ends '
                   f'with:\n{tail(self._log)}')
            raise InvalidRequestError(msg)
        return future.result()

    def wait_until_active(self) -> None:
        """Wait until the node has loaded its model and is active."""
        from lifecycle_msgs.msg import State
        from lifecycle_msgs.srv import GetState

        end = time.monotonic() + _START_S
        while time.monotonic() < end and self._server.poll() is None:
            if self._state.service_is_ready():
                state = self._state.call_async(GetState.Request())
                self._executor.spin_until_future_complete(state, 1.0)
                if state.done() and state.result().current_state.id == (
                        State.PRIMARY_STATE_ACTIVE):
                    return
            time.sleep(0.05)
        msg = f'the node did not become active; its log ends with:\n{tail(self._log)}'
        raise InvalidRequestError(msg)

    def ask(self, question: DemoQuestion, *, thinking: bool) -> dict[str, Any]:
        """Send one goal; return its result, its latency and the age of its frame."""
        client, type_, request_field, answer_field = self._kinds[question.kind]
        client.wait_for_server(10.0)
        begin = time.monotonic()
        goal = type_.Goal(
            thinking=type_.Goal.THINK_ON if thinking else type_.Goal.THINK_DEFAULT,
            **{request_field: question.text})
        handle = self._wait(client.send_goal_async(goal), _ANSWER_S, 'the acceptance of the goal')
        result = self._wait(handle.get_result_async(), _ANSWER_S, 'the result').result
        age = result.stats.image_age
        return {
            'message': getattr(result, answer_field), 'error_code': result.error_code,
            'error_msg': result.error_msg, 'raw_text': result.raw_text,
            'latency_ms': (time.monotonic() - begin) * 1e3,
            'frame_age_ms': age.sec * 1e3 + age.nanosec / 1e6,
        }


def _words(kind: str, message: Any) -> str:
    if kind == 'plan':
        return '; '.join(step.description for step in message.steps) or 'cannot be done'
    if kind == 'affordance':
        return ', '.join(f'({p.x:.0f}, {p.y:.0f})' for p in message.points) or 'not there'
    return str(message.answer)


def _truth(bag: Path) -> dict[int, dict[str, Any]]:
    """The things in each picture of the shipped bag, by the picture's stamp."""
    scene = json.loads((bag / 'scene.json').read_text('utf-8'))
    return {p['stamp_ns']: {t['name']: t for t in p['things']} for p in scene['pictures']}


def _stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def _correct(
    question: DemoQuestion, reply: dict[str, Any], truth: dict[int, dict[str, Any]]
) -> bool:
    """Whether an answer agrees with the picture that it is about."""
    message = reply['message']
    things = truth.get(_stamp_ns(message))
    if reply['error_code'] != ResultCode.NONE or things is None:
        return False

    def inside(name: str, points: Sequence[Any]) -> bool:
        x_min, y_min, x_max, y_max = things[name]['box']
        return bool(points) and all(
            x_min <= p.x <= x_max and y_min <= p.y <= y_max for p in points)

    if question.kind == 'spatial':
        return bool(message.yes) == (question.answer == 'yes')
    if question.kind == 'free':
        return all(name in message.answer for name in question.objects)
    if question.kind == 'affordance':
        if not question.objects:
            return not message.points
        return inside(question.objects[0], message.points)
    steps = message.steps
    return (
        len(steps) == 2
        and [s.object for s in steps] == [question.objects[0]] * 2
        and steps[1].target == question.objects[1]
        and all(inside(name, step.points) for name, step in zip(question.objects, steps))
    )


def _report(
    question: DemoQuestion, reply: dict[str, Any], truth: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    failed = reply['error_code'] != ResultCode.NONE
    return {
        'kind': question.kind, 'question': question.text,
        'answer': reply['error_msg'] if failed else _words(question.kind, reply['message']),
        'raw_text': reply['raw_text'], 'error_code': int(reply['error_code']),
        'latency_ms': round(reply['latency_ms'], 1),
        'frame_age_ms': round(reply['frame_age_ms'], 1),
        'correct': _correct(question, reply, truth) if truth else None,
    }


def _table(reports: list[dict[str, Any]]) -> None:
    marks = {True: 'right', False: 'WRONG', None: '-'}
    rows = [('question', 'answer', 'latency', 'frame age', '')]
    rows += [(r['question'], r['answer'], f'{r["latency_ms"]:.0f} ms',
              f'{r["frame_age_ms"]:.0f} ms', marks[r['correct']]) for r in reports]
    widths = [min(64, max(len(row[i]) for row in rows)) for i in range(5)]
    for row in rows:
        print('  '.join(cell.replace('\n', ' ')[:w].ljust(w)
                        for cell, w in zip(row, widths)).rstrip())


def _annotate(
    bag: BagInfo, topics: Mapping[str, str], replies: list[tuple[DemoQuestion, dict[str, Any]]],
    path: Path,
) -> None:
    """Draw each answer on the picture that it is about."""
    from mimo_embodied_ros.annotate import Canvas, tile
    from mimo_embodied_ros.core.answers import TextAnswer
    from mimo_embodied_ros.pictures import write_picture
    from mimo_embodied_ros.ros.messages import content_of

    drawn = []
    for question, reply in replies:
        message = reply['message']
        pixels = _picture(bag.path, topics, _stamp_ns(message))
        if pixels is None:
            continue
        code = ResultCode(reply['error_code'])
        content = TextAnswer(code.name) if code else content_of(message)
        canvas = Canvas(pixels)
        canvas.answer(question.text, content)
        drawn.append(canvas.picture())
    if drawn:
        write_picture(path, tile(drawn))


def _picture(bag: Path, topics: Mapping[str, str], stamp_ns: int) -> NDArray[np.uint8] | None:
    """The picture with this stamp, or the first one where no picture has it."""
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import CompressedImage, Image

    from mimo_embodied_ros.bags import read_messages
    from mimo_embodied_ros.ros.images import decode_compressed, decode_image

    compressed = topics['type'].endswith('CompressedImage')
    first = None
    for _, _, data in read_messages(bag, {(topics['image'], topics['type'])}):
        message = deserialize_message(data, CompressedImage if compressed else Image)
        first = first or message
        if _stamp_ns(message) == stamp_ns:
            first = message
            break
    if first is None:
        return None
    return decode_compressed(first) if compressed else decode_image(first)
