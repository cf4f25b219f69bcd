"""The console program ``mimo-embodied``.

The commands are imported when it has begun, so that an interrupt ends it quietly at any time.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import MimoError
from mimo_embodied_ros.core.files import reason
from mimo_embodied_ros.program import interrupted, run

from .output import close_output, flush_output, open_output

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

_COMMANDS = (
    'ask', 'eval_dataset', 'serve', 'serve_openai', 'simulate', 'play', 'demo', 'demo_pick',
    'demo_arm', 'demo_base', 'demo_drive', 'demo_memory', 'doctor')
# Ctrl-C is the way to end them
_UNTIL_INTERRUPTED = (
    'serve', 'serve-openai', 'view', 'remember', 'execute', 'simulate', 'play')
_INTERRUPTED, _PIPE_CLOSED = 130, 141  # as the shell says for SIGINT and SIGPIPE


def parser() -> argparse.ArgumentParser:
    """Make the parser with all commands."""
    top = argparse.ArgumentParser(
        prog='mimo-embodied',
        description='Ask MiMo-Embodied about what a robot sees: in a picture, or as a ROS 2 node.',
        epilog='"mimo-embodied COMMAND --help" explains a command. Exit code: 1 when a command '
               'failed, with the reason on stderr; 2 after wrong arguments; after Ctrl-C 0 of '
               f'{", ".join(_UNTIL_INTERRUPTED)}, and 130 of the others.',
    )
    commands = top.add_subparsers(title='commands', metavar='COMMAND', required=True)
    for name in _COMMANDS:
        importlib.import_module(f'.{name}', __package__).add_commands(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 1 when it failed, with one sentence on stderr."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        open_output()
        try:
            options = parser().parse_args(arguments)
        except SystemExit:  # after --help, or wrong arguments
            flush_output()
            raise
        code = int(options.run(options))
        flush_output()
    except MimoError as error:
        return _failed(f'{error.code.name}: {error}')
    except KeyboardInterrupt:
        return _interrupted(words)
    except BrokenPipeError:  # as with `| head -1`, which has what it wants
        return close_output(_PIPE_CLOSED)
    except OSError as error:
        return _failed(reason(error))
    except ImportError as error:
        if interrupted():
            return _interrupted(words)
        text = ' '.join(str(error).split())
        return _failed(f'{text}; `mimo-embodied doctor` says what to install')
    return code


def _interrupted(words: Sequence[str]) -> int:
    return close_output(0 if words and words[0] in _UNTIL_INTERRUPTED else _INTERRUPTED)


def _failed(sentence: str) -> int:
    print(f'mimo-embodied: {sentence}', file=sys.stderr)
    return close_output(1)


def program() -> NoReturn:
    """Run the command of the command line, and end the process with its exit code."""
    run(main)


if __name__ == '__main__':
    program()
