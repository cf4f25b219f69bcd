"""The parameter page of the docs: ``python -m mimo_embodied_ros.nodes.parameter_page``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from . import parameters

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .parameters import Parameter

_INTRODUCTION = """\
# Parameters

All of the nodes `mimo_embodied`, `mimo_executor` and `mimo_viewer`, made by `make docs` from
[nodes/parameters.py](../mimo_embodied_ros/nodes/parameters.py), where they are declared.
`ros2 param describe /mimo_embodied NAME` tells the same. [config/](../config) has files with them,
and each launch file takes such a file.

*changes* says when a new value holds: **live**, for the next request; **configure**, when the node
is configured the next time, and until it is cleaned up a change is refused; **start**, only when
the program starts. A value out of its range or choices is refused with what is allowed. Names of
topics are relative to the node's namespace and can be remapped.
"""
_SECTIONS = (
    ('Sensors', '', parameters.SENSORS),
    ('Each camera', "After the camera's name and a dot, as in `camera.image_topic`.",
     parameters.CAMERA),
    ('Requests', '', parameters.REQUESTS),
    ('Model', 'Those from `servers` on are for the backend `openai`.', parameters.MODEL),
    ('Recording', '', parameters.RECORDING),
    ('Life', 'Every node has `use_sim_time` besides: `true` with a bag or a simulator.',
     parameters.LIFE),
    ('Executor', 'Of the node `mimo_executor`.', parameters.EXECUTOR),
    ('Viewer', 'Of the node `mimo_viewer`.', parameters.VIEWER),
)


def page() -> str:
    """The page, Markdown."""
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
    return f'{low} or more' if p.range == parameters.COUNT else f'{low} to {high}'


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('docs/parameters.md'))
    parser.parse_args().out.write_text(page(), 'utf-8')


if __name__ == '__main__':
    main()
