"""Makes docs/parameters.md: ``python -m mimo_embodied_ros.cli.parameter_page``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mimo_embodied_ros.execution import executor_parameters
from mimo_embodied_ros.memory_node import memory_parameters
from mimo_embodied_ros.node import settings
from mimo_embodied_ros.ros.parameters import COUNT
from mimo_embodied_ros.simulation import simulation_parameters
from mimo_embodied_ros.viewer import viewer_parameters

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mimo_embodied_ros.ros.parameters import Parameter

_INTRODUCTION = """\
# Parameters

The parameters of the nodes `mimo_embodied`, `mimo_executor`, `mimo_memory`, `mimo_viewer` and
`simulation`. `make docs` makes this page from the tables in the code; `ros2 param describe
/mimo_embodied NAME` says the same.
[config/](../config) has files with parameters, and each launch file takes such a file.

*changes* says when a new value takes effect: **live**: with the next request; **configure**: when
the node is configured the next time (while it is configured, changes are refused); **start**: only
when the program starts. A value of another type or outside of its range or choices is refused, and
the error says what is allowed; `60` is taken for `60.0`, and `[]` is a list of texts. In paths, `~`
is the user's home. Names of topics are relative to the node's namespace and can be remapped.

A node does not start with a parameter that it does not have, nor with a file or argument that is
for nodes of other names only: it ends with exit code 1 and says which name may be meant, and the
launch files here end with it. What a file gives to nodes of all names (`/**`) is told in the log
and passed over. A file is compared with its own `cameras`, so a `robot_file` may replace those of a
`params_file`.
"""
_SECTIONS = (
    ('Sensors', '', settings.SENSORS),
    ('Each camera', "Names begin with the camera's name and a dot, as in `camera.image_topic`.",
     settings.CAMERA),
    ('Requests', '', settings.REQUESTS),
    ('Model', 'The parameters from `servers` on are for the backend `openai`.', settings.MODEL),
    ('Recording', '', settings.RECORDING),
    ('Life', 'Every node also has `use_sim_time`: `true` with a bag or a simulator.',
     settings.LIFE),
    ('Executor', 'Parameters of the node `mimo_executor`.', executor_parameters.PARAMETERS),
    ('Memory', 'Parameters of the node `mimo_memory`; see [memory.md](memory.md).',
     memory_parameters.PARAMETERS),
    ('Viewer', 'Parameters of the node `mimo_viewer`.', viewer_parameters.PARAMETERS),
    ('Simulation', 'Parameters of the node `simulation`; see [simulation.md](simulation.md).',
     simulation_parameters.PARAMETERS),
)


def page() -> str:
    """Return the page as Markdown."""
    parts = [_INTRODUCTION]
    for title, text, table in _SECTIONS:
        parts += [f'\n## {title}\n', f'\n{text}\n' * bool(text), '\n', *_rows(table)]
    return ''.join(parts)


def _rows(table: Iterable[Parameter]) -> Iterable[str]:
    yield '| parameter | default | range | unit | changes | meaning |\n|---|---|---|---|---|---|\n'
    for p in table:
        changes = 'live' if p.live else 'start' if p.read_only else 'configure'
        cells = (f'`{p.name}`', f'`{json.dumps(p.default)}`', _range(p), p.unit, changes,
                 p.description)
        yield f'| {" | ".join(cells)} |\n'


def _range(p: Parameter) -> str:
    if p.choices:
        return ', '.join(p.choices)
    if p.range is None:
        return 'true, false' if isinstance(p.default, bool) else ''
    low, high = p.range
    return f'{low} or more' if p.range == COUNT else f'{low} to {high}'


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('docs/parameters.md'))
    parser.parse_args().out.write_text(page(), 'utf-8')


if __name__ == '__main__':
    main()
