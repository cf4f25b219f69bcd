"""The console program ``mimo-embodied``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import MimoError

from . import ask, demo, demo_pick, doctor, eval_dataset, play, serve

if TYPE_CHECKING:
    from collections.abc import Sequence


def parser() -> argparse.ArgumentParser:
    """Make the parser with all commands."""
    top = argparse.ArgumentParser(
        prog='mimo-embodied',
        description='Ask MiMo-Embodied about what a robot sees: in a picture, or as a ROS 2 node.',
        epilog='"mimo-embodied COMMAND --help" explains a command.',
    )
    commands = top.add_subparsers(title='commands', metavar='COMMAND', required=True)
    for module in (ask, eval_dataset, serve, play, demo, demo_pick, doctor):
        module.add_commands(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 1 when it failed, with the reason on stderr."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except MimoError as error:
        print(f'mimo-embodied: {error.code.name}: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    raise SystemExit(main())
