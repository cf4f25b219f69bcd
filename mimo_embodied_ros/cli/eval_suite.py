"""``eval --suite``: the paper's table by one command."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.engine import load_engine
from mimo_embodied_ros.evaluation.judges import ChatJudge, Embeddings, Judges, LingoJudge
from mimo_embodied_ros.evaluation.suite import load_suite
from mimo_embodied_ros.evaluation.suite_report import suite_table
from mimo_embodied_ros.evaluation.suite_run import (
    FAILED,
    MAX_NEW_TOKENS,
    MAX_PIXELS,
    SYSTEM,
    EngineAsker,
    Row,
    run_suite,
)

from .ask import say_progress
from .model_options import engine_config, prepare
from .output import model_argument, path_argument, print_json, write_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from mimo_embodied_ros.evaluation.suite_run import Asker

SUITES = ('mimo-embodied',)
_INTERRUPTED = 130


def add_suite_options(command: argparse.ArgumentParser) -> None:
    """Add the options that only ``--suite`` has."""
    suite = command.add_argument_group('the benchmarks of the report')
    suite.add_argument('--suite', choices=SUITES,
                       help="all 29 benchmarks, in the vendor's settings")
    suite.add_argument('--data', type=path_argument, metavar='FOLDER',
                       help='with a folder for each benchmark, as docs/evaluation.md lists them')
    suite.add_argument('--only', nargs='+', default=[], metavar='NAME',
                       help='only these benchmarks')
    suite.add_argument('--node', default='', metavar='NAME',
                       help='ask a running node, in place of a model of its own')
    suite.add_argument('--lingo-judge', type=model_argument, default='', metavar='FOLDER_OR_NAME',
                       help='the judge of LingoQA: wayveai/Lingo-Judge or its folder')
    suite.add_argument('--judge-url', default='', metavar='URL',
                       help="server with OpenAI's interface of the judge of CODA-LM and DriveLM")
    suite.add_argument('--judge-model', default='', metavar='NAME', help='the judge there')
    suite.add_argument('--embeddings-url', default='', metavar='URL',
                       help="server with OpenAI's interface of the embeddings of IDKB's SemScore")
    suite.add_argument('--embeddings-model', default='', metavar='NAME',
                       help="the model there; the vendor's is all-MiniLM-L6-v2")
    suite.add_argument('--judge-key-env', default='', metavar='VARIABLE',
                       help="environment variable that holds the judges' key")


def run(options: argparse.Namespace) -> int:
    """Measure; print the table, and write it to ``report.json``."""
    benchmarks = load_suite()
    names = [benchmark.name for benchmark in benchmarks]
    if unknown := sorted(set(options.only) - set(names)):
        msg = f'--only {" ".join(unknown)} is not known; use {", ".join(names)}'
        raise InvalidRequestError(msg)
    if options.data is None or not options.data.is_dir():
        msg = f'--data {options.data or ""} is no folder; give one with a folder a benchmark'
        raise InvalidRequestError(msg)
    judges = _judges(options)
    rows: list[Row] = []
    with _asker(options) as asker:
        about = {**asker.about, 'suite': options.suite, 'system': SYSTEM, 'decoding': 'greedy',
                 'max_new_tokens': MAX_NEW_TOKENS}
        for row in run_suite(benchmarks, options.data, options.out, asker, judges,
                             limit=options.limit, only=options.only,
                             parallel=options.parallel):
            rows.append(row)
            options.out.mkdir(parents=True, exist_ok=True)
            write_json(options.out / 'report.json',
                       {**about, 'benchmarks': [done.as_json() for done in rows]})
    if options.json:
        print_json({**about, 'benchmarks': [row.as_json() for row in rows]})
    else:
        print(suite_table(rows))
        print(f'{options.out}/report.json')
    if any('interrupted' in row.reason for row in rows):
        return _INTERRUPTED
    return int(any(row.state == FAILED for row in rows))


@contextlib.contextmanager
def _asker(options: argparse.Namespace) -> Iterator[Asker]:
    """Give what answers the questions, and close it at the end."""
    if options.node:
        from .node_asker import open_node_asker

        with open_node_asker(options.node, options.timeout, options.profiles_file) as asker:
            yield asker
        return
    engine = load_engine(_config(options), say_progress)
    try:
        prepare(engine, options)
        yield EngineAsker(engine, options.timeout)
    finally:
        engine.close()


def _config(options: argparse.Namespace) -> Any:
    """Return the vendor's settings: 4096 tokens of an image, one answer at a time, no drafts."""
    # the embedded model keeps the limit that it was trained with
    area = {'max_pixels': MAX_PIXELS} if options.model else {}
    return engine_config(
        options, adapter=options.adapter, quantization=options.quantization, deterministic=True,
        stop_early=options.stop_early, **area)


def _judges(options: argparse.Namespace) -> Judges:
    kept: Path = options.out / 'judgements.jsonl'
    key = options.judge_key_env
    return Judges(
        LingoJudge(options.lingo_judge) if options.lingo_judge else None,
        ChatJudge(options.judge_url, options.judge_model, key, kept,
                  options.data / 'codalm' / 'evaluation') if options.judge_url else None,
        Embeddings(options.embeddings_url, options.embeddings_model, key, kept)
        if options.embeddings_url else None)
