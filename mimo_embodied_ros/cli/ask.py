"""``ask``, ``point`` and ``plan``: questions about a picture or a video, without ROS."""

from __future__ import annotations

import dataclasses
import sys
from enum import Enum
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.annotate import Canvas
from mimo_embodied_ros.core.answers import Affordances, SpatialAnswer, TaskPlan, TextAnswer
from mimo_embodied_ros.core.errors import InvalidRequestError, PlanRefusedError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.core.skills import select_skills
from mimo_embodied_ros.core.tasks import Media
from mimo_embodied_ros.engine import load_engine
from mimo_embodied_ros.engine.grounding import answer_grounded
from mimo_embodied_ros.pictures import read_picture, write_picture
from mimo_embodied_ros.videos import RATE, VideoFile, is_video

from .model_options import add_model_options, engine_config, prepare
from .output import add_prompt_options, path_argument, print_json

if TYPE_CHECKING:
    import argparse

    from mimo_embodied_ros.core.answers import Content, TaskStep


def add_commands(commands: Any) -> None:
    """Add the three commands."""
    command_table = (
        ('ask', Task.ASK, 'question', 'ask anything about a picture or a video',
         'mimo-embodied ask table.png "Is the red cube left of the blue bowl?"'),
        ('point', Task.POINTS, 'description', 'find where something is, in pixels',
         'mimo-embodied point table.png "the red cube" --out where.png'),
        ('plan', Task.PLAN, 'instruction', 'break an instruction down into steps',
         'mimo-embodied plan table.png "put the red cube in the blue bowl" --json'),
    )
    for name, task, text, summary, example in command_table:
        command = commands.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:] + '.',
            epilog=f'example: {example}')
        command.add_argument(
            'image', type=path_argument, metavar='IMAGE_OR_VIDEO' if task is Task.ASK else 'IMAGE',
            help='a picture file' + (', or a video file' if task is Task.ASK else ''))
        command.add_argument('text', metavar=text.upper(), help=f'the {text}, in plain words')
        if task is Task.ASK:
            command.add_argument(
                '--spatial', dest='task', action='store_const', const=Task.SPATIAL,
                help='answer typed: yes or no, a choice, a number')
            command.add_argument(
                '--rate', type=float, default=RATE, metavar='HZ',
                help=f'frames of a video a second that the model sees (default: {RATE:g})')
        elif task is Task.POINTS:
            command.add_argument('--boxes', dest='task', action='store_const', const=Task.BOXES,
                                 help='answer with boxes instead of points')
        elif task is Task.PLAN:
            command.add_argument('--skills', type=path_argument, metavar='FILE',
                                 help='YAML file with the skills of the robot: plan with them only')
            command.add_argument('--open-ended', action='store_true',
                                 help='with --skills: not only skills that the instruction names')
        add_model_options(command)
        command.add_argument('--thinking', action='store_const', const=True,
                             help='reason aloud first')
        add_prompt_options(command, 'reason aloud first, with at most so many tokens')
        command.add_argument('--no-retry', dest='retry', action='store_false',
                             help='do not ask once more, with the form of the answer held, where '
                                  'an answer cannot be read')
        command.add_argument('--json', action='store_true', help='the whole answer as JSON')
        command.add_argument('--out', type=path_argument, metavar='PNG',
                             help='draw the answer in this file')
        command.set_defaults(run=run, task=task)


def run(options: argparse.Namespace) -> int:
    """Print the answer to one question."""
    video = _video(options) if is_video(options.image) else None
    frames: tuple[Frame, ...] = () if video else (Frame(read_picture(options.image)),)
    task = options.task if video is None else dataclasses.replace(options.task, media=Media.VIDEO)
    query = Query(task, options.text, frames,
                  thinking=True if options.thinking_tokens else options.thinking,
                  thinking_tokens=options.thinking_tokens, system=options.system,
                  retry=options.retry)
    if options.task is Task.PLAN and options.skills:
        rules = select_skills(load_skills(options.skills), open_ended=options.open_ended)
        query = dataclasses.replace(query, skills=rules)
    engine = load_engine(engine_config(options), say_progress)
    try:
        prepare(engine, options)
        if video is not None:  # at the sizes that this model sees
            frames = video.frames(engine.limits, rate=options.rate)
            query = dataclasses.replace(query, frames=frames)
        if query.skills is not None:
            query = dataclasses.replace(query, structured=engine.holds_grammars)
        answer, reply = answer_grounded(engine, query)
    finally:
        engine.close()
    if options.json:
        print_json({
            'question': query.text, 'task': query.task.name, 'model': engine.info.name,
            'image': {'width': frames[-1].width, 'height': frames[-1].height},
            **({} if video is None else {'times': [f.stamp_ns / 1e9 for f in frames]}),
            'answer': _plain(answer.content), 'outside': _plain(answer.outside),
            'reasoning': answer.reasoning, 'raw_text': answer.raw_text,
            'attempts': reply.attempts, 'unread': reply.unread,
            'seconds': round(reply.stats.total_s, 3),
        })
    else:
        print(_words(answer.content))
    if options.out is not None:
        canvas = Canvas((frames if video is None else video.frames(count=1))[-1].pixels)
        canvas.answer(query.text, answer.content)
        write_picture(options.out, canvas.picture())
    if answer.outside:
        print('some points or boxes lie outside of the picture', file=sys.stderr)
    if isinstance(answer.content, TaskPlan) and answer.content.problem:
        raise PlanRefusedError(answer.content.problem)
    return 0


def _video(options: argparse.Namespace) -> VideoFile:
    """Open the video that a question is about.

    Raises:
        InvalidRequestError: the command takes no videos, or as `VideoFile` does.
        BadEncodingError: as `VideoFile` does.

    """
    if 'rate' not in options:
        msg = f'{options.image} is a video; give a picture, or use `mimo-embodied ask`'
        raise InvalidRequestError(msg)
    if not 0 < options.rate < float('inf'):
        msg = f'--rate is {options.rate:g}; give a positive number of frames a second'
        raise InvalidRequestError(msg)
    return VideoFile(options.image)


def say_progress(share: float) -> None:
    """Print on stderr how much of the weights is loaded."""
    print(f'loading the weights: {share:.0%}', file=sys.stderr)


def _plain(value: Any) -> Any:
    """Dataclasses and enums as JSON can hold them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value


def _step_words(step: TaskStep) -> str:
    arguments = (f'{a.name} {a.value}' + (f' at {a.point.x:.0f} {a.point.y:.0f}' if a.point else '')
                 for a in step.arguments)
    words = f'{step.skill}: {", ".join(arguments)}' if step.skill else step.text
    return words + (f' (refused: {step.problem})' if step.problem else '')


def _words(content: Content) -> str:
    if isinstance(content, TaskPlan):
        steps = (f'{i}. {_step_words(step)}' for i, step in enumerate(content.steps, 1))
        return '\n'.join(steps) or 'cannot be done'
    if isinstance(content, Affordances):
        points = (f'{p.x:.1f} {p.y:.1f} {p.label}'.rstrip() for p in content.points)
        boxes = (f'{b.x_min:.1f} {b.y_min:.1f} {b.x_max:.1f} {b.y_max:.1f} {b.label}'.rstrip()
                 for b in content.boxes)
        return '\n'.join((*points, *boxes)) or 'not there'
    assert isinstance(content, (SpatialAnswer, TextAnswer))
    return content.text
