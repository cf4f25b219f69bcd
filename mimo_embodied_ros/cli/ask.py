"""``ask``, ``point`` and ``plan``: questions about a picture, without ROS."""

from __future__ import annotations

import dataclasses
import sys
from enum import Enum
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.annotate import Canvas
from mimo_embodied_ros.core.answers import Affordances, SpatialAnswer, TaskPlan, TextAnswer
from mimo_embodied_ros.core.errors import PlanRefusedError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.core.skills import select_skills
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.engine.grounding import answer_grounded
from mimo_embodied_ros.pictures import read_picture, write_picture
from mimo_embodied_ros.share import embedded_model

from .output import add_profile_arguments, model_argument, path_argument, print_json

if TYPE_CHECKING:
    import argparse

    from mimo_embodied_ros.core.answers import Content, TaskStep


def add_commands(commands: Any) -> None:
    """Add the three commands."""
    command_table = (
        ('ask', Task.ASK, 'question', 'ask anything about a picture',
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
        command.add_argument('image', type=path_argument, metavar='IMAGE', help='a picture file')
        command.add_argument('text', metavar=text.upper(), help=f'the {text}, in plain words')
        if task is Task.ASK:
            command.add_argument(
                '--spatial', dest='task', action='store_const', const=Task.SPATIAL,
                help='answer typed: yes or no, a choice, a number')
        elif task is Task.POINTS:
            command.add_argument('--boxes', dest='task', action='store_const', const=Task.BOXES,
                                 help='answer with boxes instead of points')
        elif task is Task.PLAN:
            command.add_argument('--skills', type=path_argument, metavar='FILE',
                                 help='YAML file with the skills of the robot: plan with them only')
            command.add_argument('--open-ended', action='store_true',
                                 help='with --skills: not only skills that the instruction names')
        command.add_argument('--model', type=model_argument, default='', metavar='FOLDER_OR_NAME',
                             help='folder or hub name of a model (default: the embedded one)')
        command.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
        add_profile_arguments(command)
        command.add_argument('--thinking', action='store_const', const=True,
                             help='reason aloud first')
        command.add_argument('--no-retry', dest='retry', action='store_false',
                             help='do not ask once more, with the form of the answer held, where '
                                  'an answer cannot be read')
        command.add_argument('--json', action='store_true', help='the whole answer as JSON')
        command.add_argument('--out', type=path_argument, metavar='PNG',
                             help='draw the answer in this file')
        command.set_defaults(run=run, task=task)


def run(options: argparse.Namespace) -> int:
    """Print the answer to one question."""
    pixels = read_picture(options.image)
    query = Query(options.task, options.text, (Frame(pixels),), thinking=options.thinking,
                  retry=options.retry)
    if options.task is Task.PLAN and options.skills:
        rules = select_skills(load_skills(options.skills), open_ended=options.open_ended)
        query = dataclasses.replace(query, skills=rules)
    model = options.model or embedded_model()
    config = EngineConfig(model=model, device=options.device, profile=options.profile,
                          profiles_file=options.profiles_file)
    engine = load_engine(config, say_progress)
    try:
        if query.skills is not None:
            query = dataclasses.replace(query, structured=engine.holds_grammars)
        answer, reply = answer_grounded(engine, query)
    finally:
        engine.close()
    if options.json:
        print_json({
            'question': query.text, 'task': query.task.name, 'model': engine.info.name,
            'image': {'width': pixels.shape[1], 'height': pixels.shape[0]},
            'answer': _plain(answer.content), 'outside': _plain(answer.outside),
            'reasoning': answer.reasoning, 'raw_text': answer.raw_text,
            'attempts': reply.attempts, 'unread': reply.unread,
            'seconds': round(reply.stats.total_s, 3),
        })
    else:
        print(_words(answer.content))
    if options.out is not None:
        canvas = Canvas(pixels)
        canvas.answer(query.text, answer.content)
        write_picture(options.out, canvas.picture())
    if answer.outside:
        print('some points or boxes lie outside of the picture', file=sys.stderr)
    if isinstance(answer.content, TaskPlan) and answer.content.problem:
        raise PlanRefusedError(answer.content.problem)
    return 0


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
