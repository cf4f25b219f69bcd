"""``eval``: measure a model on a dataset of your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.tasks import known_tasks
from mimo_embodied_ros.engine import load_engine
from mimo_embodied_ros.evaluation.layouts import read_dataset
from mimo_embodied_ros.evaluation.report import contact_sheet, summary, table
from mimo_embodied_ros.evaluation.run import evaluate
from mimo_embodied_ros.pictures import write_picture

from . import eval_suite
from .ask import say_progress
from .eval_suite import add_suite_options
from .model_options import add_model_options, add_quantization, engine_config, prepare
from .output import add_prompt_options, model_argument, path_argument, print_json, write_json

if TYPE_CHECKING:
    import argparse


def add_commands(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        'eval', help='measure a model on a dataset of your own',
        description='Ask a model the questions of a dataset and measure its answers with the '
                    "benchmarks' metrics. A run that was stopped continues where it was.",
        epilog='example: mimo-embodied eval my_robot.jsonl --model /models/MiMo-Embodied-7B')
    command.add_argument(
        'dataset', type=path_argument, metavar='DATASET', nargs='?',
        help='a file of JSON lines such as {"image": "a.png", "question": "the red cup", '
             '"answer": {"mask": "a_mask.png"}}, or the folder of RoboAfford-Eval, '
             'RefSpatial-Bench or Where2Place; see docs/evaluation.md')
    add_model_options(command)
    command.add_argument('--adapter', type=model_argument, default='', metavar='FOLDER_OR_NAME',
                         help='folder or hub name of a LoRA adapter to put on the model')
    add_quantization(command)
    command.add_argument('--out', type=path_argument, default=Path('eval_out'), metavar='FOLDER',
                         help='for replies.jsonl, report.json and worst.png (default: eval_out)')
    command.add_argument('--tasks', type=path_argument, metavar='FILE',
                         help="YAML file with tasks of your own, as the node's tasks_file")
    thinking = command.add_mutually_exclusive_group()
    thinking.add_argument('--thinking', action='store_const', const=True,
                          help='reason aloud first, whatever the records say')
    thinking.add_argument('--no-thinking', dest='thinking', action='store_const', const=False,
                          help='never reason aloud')
    add_prompt_options(command, 'most tokens of reasoning, where there is any (default: no limit)')
    command.add_argument('--retry', action='store_true',
                         help='where an answer cannot be read, ask once more with the form of the '
                              "answer held; the benchmarks' scores take the first answer")
    command.add_argument('--no-stop-early', dest='stop_early', action='store_false',
                         help='let the model end its answers itself')
    command.add_argument('--limit', type=int, default=0, metavar='N',
                         help='only the first N questions; with --suite, of each part')
    command.add_argument('--timeout', type=float, default=0.0, metavar='SECONDS',
                         help='for each answer (default: none)')
    command.add_argument('--parallel', type=int, default=1, metavar='N',
                         help='with --url: questions that are asked at once, so that the servers '
                              'can batch them (default: 1)')
    command.add_argument('--worst', type=int, default=12, metavar='N',
                         help='how many of the worst answers to draw (default: 12)')
    command.add_argument('--json', action='store_true', help='print the figures as JSON')
    add_suite_options(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure; print the figures, and write them and the worst answers to files."""
    for name in ('limit', 'timeout', 'worst', 'thinking_tokens'):
        if not getattr(options, name) >= 0:  # nor is it nan
            msg = f'--{name.replace("_", "-")} is {getattr(options, name)}; give 0 or more'
            raise InvalidRequestError(msg)
    if options.parallel < 1:
        msg = f'--parallel is {options.parallel}; give 1 or more'
        raise InvalidRequestError(msg)
    if options.parallel > 1 and not options.url:
        msg = ('--parallel is for servers: a model in this process, or a node, is asked one '
               'question at a time; give --url, or leave it out')
        raise InvalidRequestError(msg)
    if options.suite:
        return eval_suite.run(options)
    if options.dataset is None:
        msg = 'no dataset is given; give DATASET, or --suite mimo-embodied with --data FOLDER'
        raise InvalidRequestError(msg)
    records = read_dataset(
        options.dataset, thinking=options.thinking, tasks=known_tasks(options.tasks or ''))
    records = records[: options.limit or None]
    engine = load_engine(
        engine_config(options, adapter=options.adapter, quantization=options.quantization,
                      stop_early=options.stop_early, deterministic=True),
        say_progress)
    try:
        prepare(engine, options)
        outcomes = evaluate(
            engine, records, options.out, timeout=options.timeout, retry=options.retry,
            stop_early=options.stop_early, system=options.system,
            thinking_tokens=options.thinking_tokens, parallel=options.parallel)
    finally:
        engine.close()
    figures = {'dataset': str(options.dataset), 'model': engine.info.name, **summary(outcomes)}
    scores = [{'id': o.record.id, 'category': o.record.category, 'metric': o.record.truth.metric,
               'score': o.score, 'failure': o.code} for o in outcomes]
    write_json(options.out / 'report.json', {**figures, 'questions': scores})
    sheet = contact_sheet(outcomes, options.worst)
    picture = options.out / 'worst.png'
    picture.unlink(missing_ok=True)
    if sheet is not None:
        write_picture(picture, sheet)
    if options.json:
        print_json(figures)
    else:
        print(table(figures))
        print(f'{options.out}/report.json' + (f', {picture}' if sheet is not None else ''))
    return 0
